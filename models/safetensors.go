package models

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"unicode/utf8"
)

// Bounds of a safetensors header. The reference implementation refuses
// headers over 100 MB; the others keep a hostile header from costing more
// memory than its own size.
const (
	maxHeader  = 100_000_000 // bytes
	maxTensors = 20_000
	maxRank    = 8
)

// dtype is a safetensors element type.
type dtype string

// dtypeSizes are the bytes of an element, of every type the format had before
// the sub-byte ones.
var dtypeSizes = map[dtype]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
	"U16": 2, "I16": 2, "F16": 2, "BF16": 2,
	"U32": 4, "I32": 4, "F32": 4,
	"U64": 8, "I64": 8, "F64": 8,
}

// entry is a tensor of a safetensors file.
type entry struct {
	name   string
	dtype  dtype
	shape  []int
	lo, hi int64 // bytes of the file's data section
}

// header is the parsed head of a safetensors file.
type header struct {
	entries  []entry // in the order of their data
	metadata map[string]string
	data     int64 // where the data section begins in the file
}

// readHeader parses the head of a safetensors file of the given size. It
// reads no further than the header.
//
// Format: https://huggingface.co/docs/safetensors/index#format
func readHeader(r io.ReaderAt, size int64) (*header, error) {
	if size < 8 {
		return nil, fmt.Errorf("file of %d bytes is no safetensors file: it is shorter than the length of a header", size)
	}
	var first [12]byte
	head := first[:min(size, int64(len(first)))]
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("reading the length of the header: %w", err)
	}
	n := binary.LittleEndian.Uint64(head)
	if what := foreign(head); what != "" && n > uint64(size-8) {
		return nil, errors.New(what)
	}
	if n > maxHeader {
		return nil, fmt.Errorf("begins with %q, as a header's length %d bytes, want at most %d: not a safetensors file; %s", head[:8], n, maxHeader, accepted)
	}
	if n > uint64(size-8) {
		return nil, fmt.Errorf("header of %d bytes in a file of %d: the file is truncated", n, size)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, 8, int64(n)), text); err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	return parseHeader(text, size-8-int64(n))
}

// accepted are the files that hold a model.
const accepted = "a model is a .safetensors file, or a folder with model.safetensors and config.json in it"

// beginnings are those of files that are mistaken for safetensors, with what
// they are and what helps. "?" matches any byte.
var beginnings = []struct{ magic, what string }{
	{"PK\x03\x04", aPickle}, {"\x80\x02", aPickle}, {"\x80\x03", aPickle}, {"\x80\x04", aPickle}, {"\x80\x05", aPickle},
	{"version ", "a Git LFS pointer, not the file it stands for: fetch it with `git lfs pull`"},
	{"GGUF", "a GGUF file, not a safetensors file; " + accepted},
	{"\x89HDF", "an HDF5 file, not a safetensors file; " + accepted},
	{"\x93NUMPY", "a NumPy file, not a safetensors file; " + accepted},
	{"????TFL3", "a TensorFlow Lite file, not a safetensors file; " + accepted},
	{"\x08?\x12", "an ONNX graph, not a safetensors file; " + accepted},
	{"<!", "a web page, not a safetensors file: the download went wrong"},
	{"<html", "a web page, not a safetensors file: the download went wrong"},
	{"\xff\xd8\xff", "a JPEG picture, not a model; " + accepted},
	{"\x89PNG", "a PNG picture, not a model; " + accepted},
	{"GIF8", "a GIF picture, not a model; " + accepted},
	{"RIFF????WEBP", "a WebP picture, not a model; " + accepted},
	{"BM????\x00\x00\x00\x00", "a BMP picture, not a model; " + accepted},
	{"II*\x00", "a TIFF picture, not a model; " + accepted},
	{"MM\x00*", "a TIFF picture, not a model; " + accepted},
}

const aPickle = "a PyTorch pickle, not a safetensors file: convert it once with `vitserve convert`"

// foreign says what a file is that begins so, if that is known.
func foreign(head []byte) string {
	for _, b := range beginnings {
		if len(head) < len(b.magic) {
			continue
		}
		same := true
		for i := range len(b.magic) {
			same = same && (b.magic[i] == '?' || b.magic[i] == head[i])
		}
		if same {
			return b.what
		}
	}
	return ""
}

// parseHeader parses the JSON of a header that is followed by size bytes of
// data.
func parseHeader(text []byte, size int64) (*header, error) {
	if len(text) == 0 || text[0] != '{' {
		return nil, errors.New("header does not begin with {: not a safetensors file; " + accepted)
	}
	// The decoder would replace bad UTF-8, and is lenient about some broken
	// structure when asked for tokens.
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, errors.New("header is not valid JSON in UTF-8")
	}
	p := headerParser{dec: json.NewDecoder(bytes.NewReader(text))}
	p.dec.UseNumber()
	h := &header{data: 8 + int64(len(text))}
	if err := p.parse(h); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := h.check(size); err != nil {
		return nil, err
	}
	return h, nil
}

// check proves that the tensors lie side by side and fill the data section.
func (h *header) check(size int64) error {
	for _, e := range h.entries {
		want := dtypeSizes[e.dtype]
		for _, d := range e.shape {
			if d != 0 && want > math.MaxInt64/int64(d) {
				return fmt.Errorf("tensor %q: shape %v is larger than any file", e.name, e.shape)
			}
			want *= int64(d)
		}
		if e.hi-e.lo != want {
			return fmt.Errorf("tensor %q: %s of %v takes %d bytes, its offsets [%d, %d] hold %d", e.name, e.dtype, e.shape, want, e.lo, e.hi, e.hi-e.lo)
		}
		if e.hi > size {
			return fmt.Errorf("tensor %q: offsets [%d, %d] in %d bytes of data: the file is truncated or its header is wrong", e.name, e.lo, e.hi, size)
		}
	}
	sort.Slice(h.entries, func(i, j int) bool {
		a, b := h.entries[i], h.entries[j]
		if a.lo != b.lo {
			return a.lo < b.lo
		}
		if a.hi != b.hi {
			return a.hi < b.hi
		}
		return a.name < b.name
	})
	var end int64
	for i, e := range h.entries {
		switch {
		case e.lo < end:
			return fmt.Errorf("tensors %q and %q overlap", h.entries[i-1].name, e.name)
		case e.lo > end:
			return fmt.Errorf("gap of %d bytes before tensor %q", e.lo-end, e.name)
		}
		end = e.hi
	}
	if end != size {
		return fmt.Errorf("%d bytes of data after the last tensor", size-end)
	}
	return nil
}

// headerParser walks the tokens of a header, because decoding into a map
// takes duplicate keys silently.
type headerParser struct{ dec *json.Decoder }

func (p headerParser) parse(h *header) error {
	names := map[string]bool{}
	return p.object(func(name string) error {
		if names[name] {
			return fmt.Errorf("tensor %q twice", name)
		}
		names[name] = true
		if name == "__metadata__" {
			return p.metadata(h)
		}
		if len(h.entries) == maxTensors {
			return fmt.Errorf("more than %d tensors", maxTensors)
		}
		e := entry{name: name}
		if err := p.tensor(&e); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		h.entries = append(h.entries, e)
		return nil
	})
}

func (p headerParser) metadata(h *header) error {
	h.metadata = map[string]string{}
	return p.object(func(key string) error {
		if _, twice := h.metadata[key]; twice {
			return fmt.Errorf("metadata %q twice", key)
		}
		v, err := p.str()
		h.metadata[key] = v
		return err
	})
}

func (p headerParser) tensor(e *entry) error {
	seen := map[string]bool{}
	err := p.object(func(key string) error {
		if seen[key] {
			return fmt.Errorf("%q twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			s, err := p.str()
			if err != nil {
				return err
			}
			e.dtype = dtype(s)
			if dtypeSizes[e.dtype] == 0 {
				return fmt.Errorf("dtype %q is not known", s)
			}
			return nil
		case "shape":
			return p.array(maxRank, func(v int64) error {
				if v > math.MaxInt {
					return fmt.Errorf("dimension %d", v)
				}
				e.shape = append(e.shape, int(v))
				return nil
			})
		case "data_offsets":
			var offsets []int64
			err := p.array(2, func(v int64) error {
				offsets = append(offsets, v)
				return nil
			})
			if err != nil {
				return err
			}
			if len(offsets) != 2 || offsets[0] > offsets[1] {
				return fmt.Errorf("data_offsets %v, want a begin and an end", offsets)
			}
			e.lo, e.hi = offsets[0], offsets[1]
			return nil
		}
		return fmt.Errorf("key %q is not known", key)
	})
	if err == nil && len(seen) != 3 {
		err = errors.New("want dtype, shape and data_offsets")
	}
	return err
}

// object reads an object, calling value after each key.
func (p headerParser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	for p.dec.More() {
		key, err := p.str()
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

// array reads an array of at most limit whole numbers.
func (p headerParser) array(limit int, value func(int64) error) error {
	if err := p.delim('['); err != nil {
		return err
	}
	for n := 0; p.dec.More(); n++ {
		if n == limit {
			return fmt.Errorf("array of more than %d numbers", limit)
		}
		t, err := p.dec.Token()
		if err != nil {
			return err
		}
		number, ok := t.(json.Number)
		if !ok {
			return fmt.Errorf("found %v, want a number", t)
		}
		v, err := strconv.ParseUint(number.String(), 10, 63)
		if err != nil {
			return fmt.Errorf("found %s, want a whole number of at most 63 bits", number)
		}
		if err := value(int64(v)); err != nil {
			return err
		}
	}
	return p.delim(']')
}

func (p headerParser) str() (string, error) {
	t, err := p.dec.Token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("found %v, want a string", t)
	}
	return s, nil
}

func (p headerParser) delim(want json.Delim) error {
	t, err := p.dec.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("found %v, want %v", t, want)
	}
	return nil
}
