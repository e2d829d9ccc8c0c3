package oip

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/vitserve/vitserve/api/op"
	"github.com/x448/float16"
)

// Types of tensors that are read or sent.
const (
	bytesType = "BYTES"
	uint8Type = "UINT8"
	fp32      = "FP32"
	fp16      = "FP16"
	bf16      = "BF16" // in binary only: JSON has no such number
)

// input is a tensor of a request.
type input struct {
	name, datatype string
	shape          []int
	data           data
}

// data is the content of a tensor, as its sender wrote it. What is read has
// room from take before it is allocated, and is found to be there before that:
// a shape may say anything.
type data interface {
	// floats reads n numbers of a shape.
	floats(n int, datatype string, shape []int, take room) ([]float32, error)
	// elements reads n elements of BYTES.
	elements(n int, take room) ([][]byte, error)
	// bytes reads n numbers of UINT8, of a shape.
	bytes(n int, shape []int, take room) ([]byte, error)
}

// room grants bytes of memory, as op.Call does.
type room func(n int64) error

// blob is a tensor in binary, little-endian. Each element of BYTES begins with
// its length in four bytes.
type blob []byte

func (b blob) elements(n int, _ room) (all [][]byte, err error) {
	rest := b
	for i := range n {
		if len(rest) < 4 {
			return nil, value("element %d: %d bytes, want a length of 4 bytes and as many bytes as it says", i, len(rest))
		}
		size := binary.LittleEndian.Uint32(rest)
		if rest = rest[4:]; uint64(size) > uint64(len(rest)) {
			return nil, value("element %d says %d bytes, %d follow: elements of BYTES begin with a length of 4 bytes", i, size, len(rest))
		}
		all, rest = append(all, rest[:size:size]), rest[size:]
	}
	if len(rest) > 0 {
		return nil, value("%d bytes behind the %d elements of the shape", len(rest), n)
	}
	return all, nil
}

func (b blob) bytes(n int, _ []int, _ room) ([]byte, error) {
	if len(b) != n {
		return nil, value("%d bytes, the shape has %d", len(b), n)
	}
	return b, nil
}

func (b blob) floats(n int, datatype string, _ []int, take room) ([]float32, error) {
	size := 4
	if datatype != fp32 {
		size = 2
	}
	if len(b) != size*n {
		return nil, value("%d bytes, want %d: %d elements of %s", len(b), size*n, n, datatype)
	}
	if err := take(4 * int64(n)); err != nil {
		return nil, err
	}
	all := make([]float32, n)
	for i := range all {
		switch datatype {
		case fp16:
			all[i] = float16.Frombits(binary.LittleEndian.Uint16(b[2*i:])).Float32()
		case bf16:
			all[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
		default:
			all[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	}
	return all, nil
}

// values is a tensor in JSON.
type values []byte

func (v values) elements(n int, take room) (all [][]byte, err error) {
	if err := take(2 * int64(len(v))); err != nil { // the texts and what they say
		return nil, err
	}
	err = flat(v, []int{n}, func(_ int, quoted string) error {
		var f op.File64 // JSON carries no bytes
		if err := f.UnmarshalJSON([]byte(quoted)); err != nil || f.Address != "" || f.Data == nil {
			return fmt.Errorf("%s, want a file in base64: send binary data where bytes are meant", clip([]byte(quoted)))
		}
		all = append(all, f.Data)
		return nil
	})
	if err != nil {
		return nil, value("data: %w", err)
	}
	return all, nil
}

func (v values) bytes(n int, shape []int, take room) ([]byte, error) {
	if err := v.hold(n, 1, take); err != nil {
		return nil, err
	}
	all := make([]byte, n)
	err := flat(v, shape, func(i int, number string) error {
		x, err := strconv.ParseUint(number, 10, 8)
		if err != nil {
			return fmt.Errorf("%s, want a whole number from 0 to 255", clip([]byte(number)))
		}
		all[i] = byte(x)
		return nil
	})
	if err != nil {
		return nil, value("data: %w", err)
	}
	return all, nil
}

func (v values) floats(n int, datatype string, shape []int, take room) ([]float32, error) {
	if datatype == bf16 {
		return nil, value("data: BF16 as numbers, want it in binary")
	}
	if err := v.hold(n, 4, take); err != nil {
		return nil, err
	}
	all := make([]float32, n)
	err := flat(v, shape, func(i int, number string) error {
		x, err := strconv.ParseFloat(number, 32)
		if err != nil {
			return fmt.Errorf("%s, want a number of FP32", clip([]byte(number)))
		}
		all[i] = float32(x)
		return nil
	})
	if err != nil {
		return nil, value("data: %w", err)
	}
	return all, nil
}

// hold takes room for n elements of size bytes and for the text itself. Each
// element has a comma or a bracket behind it.
func (v values) hold(n, size int, take room) error {
	if len(v) < 2*n+1 {
		return value("data: %d bytes of JSON, too few for %d elements", len(v), n)
	}
	return take(int64(size)*int64(n) + int64(len(v)))
}

// clip quotes what a sender wrote, for an error.
func clip(b []byte) string { return op.Clip(string(b[:min(len(b), 65)])) }

// files are the pictures of an input, of which there are at most most.
func (in *input) files(most int, take room) ([][]byte, error) {
	s := in.shape
	switch in.datatype {
	case bytesType:
		n, ok := 0, false
		switch {
		case len(s) == 1:
			n, ok = s[0], true
		case len(s) == 2 && s[1] == 1:
			n, ok = s[0], true
		case len(s) == 2 && s[0] == 1:
			n, ok = s[1], true
		}
		if !ok {
			return nil, value("shape %v, want [pictures, 1]", s)
		}
		if err := batchOf(n, most); err != nil {
			return nil, err
		}
		return in.data.elements(n, take)
	case uint8Type:
		if len(s) == 1 {
			s = []int{1, s[0]}
		}
		if len(s) != 2 {
			return nil, value("shape %v, want [pictures, bytes] of files, padded to the longest", in.shape)
		}
		if err := batchOf(s[0], most); err != nil {
			return nil, err
		}
		if s[1] < 1 {
			return nil, value("files of %d bytes, want a picture's", s[1])
		}
		all, err := in.data.bytes(s[0]*s[1], in.shape, take)
		if err != nil {
			return nil, err
		}
		return slices.Collect(slices.Chunk(all, max(s[1], 1))), nil
	}
	return nil, value("datatype %s, want BYTES, or UINT8 of a file's bytes", op.Clip(in.datatype))
}

// pixels returns the tensor of a model's inputs (n, 3, H, W), as n of (3, H, W).
func (in *input) pixels(most int, image [2]int, take room) ([][]float32, error) {
	s := in.shape
	if len(s) == 3 {
		s = append([]int{1}, s...)
	}
	if len(s) != 4 || s[1] != 3 || s[2] != image[0] || s[3] != image[1] {
		return nil, value("shape %v, want [pictures, 3, %d, %d]", in.shape, image[0], image[1])
	}
	if err := batchOf(s[0], most); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{fp32, fp16, bf16}, in.datatype) {
		return nil, value("datatype %s, want FP32, FP16 or BF16", op.Clip(in.datatype))
	}
	each := 3 * image[0] * image[1]
	all, err := in.data.floats(s[0]*each, in.datatype, in.shape, take)
	if err != nil {
		return nil, err
	}
	return slices.Collect(slices.Chunk(all, each)), nil
}

// batchOf refuses a number of pictures that no request may hold.
func batchOf(n, most int) error {
	if n < 1 || n > most {
		return value("a batch of %d, want 1 to %d", n, most)
	}
	return nil
}
