package op

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strconv"
	"strings"
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
	switch coding {
	case "gzip":
		w.Header().Set("Content-Encoding", coding)
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // a level that there is
		return z
	case "deflate":
		w.Header().Set("Content-Encoding", coding)
		z, _ := zlib.NewWriterLevel(w, zlib.BestSpeed)
		return z
	}
	w.Header().Set("Content-Length", strconv.Itoa(length))
	return plain{w}
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
