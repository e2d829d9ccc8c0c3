package op

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// least is the length of the answers that are compressed: shorter ones fit
// into one packet anyway.
const least = 1 << 10

// Fold returns where an answer of some length to r is written to: compressed,
// if its client takes that. Headers and status of the answer are written
// between Fold and the first byte.
func Fold(w http.ResponseWriter, r *http.Request, length int) io.WriteCloser {
	w.Header().Add("Vary", "Accept-Encoding")
	coding := ""
	if length >= least {
		coding = accepted(strings.Join(r.Header.Values("Accept-Encoding"), ","))
	}
	kept := folders[coding]
	if kept == nil {
		w.Header().Set("Content-Length", strconv.Itoa(length))
		return plain{w}
	}
	w.Header().Set("Content-Encoding", coding)
	z := kept.Get().(folder)
	z.Reset(w)
	return &folding{z, kept}
}

// folder compresses. One takes most of a megabyte, and is kept for the next
// answer.
type folder interface {
	io.WriteCloser
	Reset(io.Writer)
}

var folders = map[string]*sync.Pool{
	"gzip": {New: func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
		return z
	}},
	"deflate": {New: func() any { // which is zlib's format: RFC 9110, 8.4.1.2
		z, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed)
		return z
	}},
}

// folding is an answer that is compressed.
type folding struct {
	folder
	kept *sync.Pool
}

// Close ends the answer.
func (f *folding) Close() error {
	err := f.folder.Close()
	f.kept.Put(f.folder)
	return err
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// accepted returns the coding that a client prefers of those that there are; ""
// where it names none of them.
func accepted(header string) (best string) {
	most := 0.0
	for _, part := range strings.Split(strings.ToLower(header), ",") {
		coding, rest, _ := strings.Cut(part, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(rest), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		if coding = strings.TrimSpace(coding); (coding == "gzip" || coding == "deflate") && q > most {
			best, most = coding, q
		}
	}
	return best
}
