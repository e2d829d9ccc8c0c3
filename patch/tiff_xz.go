package patch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// xzBlock is the first block of an .xz stream (The .xz File Format 1.2.1), which
// is what libtiff writes of LZMA: LZMA2, with differences of bytes before it.
type xzBlock struct {
	distance   int // of bytes that are subtracted; 0: none
	dictionary int64
	code       []byte
}

// Filters of the format, and the largest dictionary that is read: xz's own at
// its best.
const (
	xzDelta, xzLZMA2 = 3, 0x21
	xzDictionary     = 64 << 20
)

var errXZ = errors.New("no LZMA data")

func openXZ(code []byte) (b xzBlock, err error) {
	const streamHeader = 12
	if len(code) < streamHeader+1 || string(code[:6]) != "\xfd7zXZ\x00" {
		return b, errXZ
	}
	code = code[streamHeader:]
	size := (int(code[0]) + 1) * 4
	if code[0] == 0 || len(code) < size {
		return b, errXZ
	}
	header := code[1 : size-4]
	b.code = code[size:]
	flags := header[0]
	header = header[1:]
	number := func() uint64 {
		v, n := binary.Uvarint(header)
		if n <= 0 {
			err = errXZ
			return 0
		}
		header = header[n:]
		return v
	}
	for _, bit := range []byte{0x40, 0x80} { // sizes
		if flags&bit != 0 {
			number()
		}
	}
	last := uint64(0)
	for range flags&3 + 1 {
		last = number()
		n := number()
		if err != nil || n != 1 || len(header) < 1 {
			return b, errXZ
		}
		p := header[0]
		header = header[1:]
		switch {
		case last == xzDelta && b.distance == 0:
			b.distance = int(p) + 1
		case last == xzLZMA2 && p <= 40:
			b.dictionary = int64(2|p&1) << (p/2 + 11)
		default:
			return b, fmt.Errorf("LZMA with filter %#x", last)
		}
	}
	if last != xzLZMA2 {
		return b, errXZ
	}
	return b, err
}

// xzMemory is what unpacking a block of so many bytes takes.
func xzMemory(code []byte, size int64) (int64, error) {
	b, err := openXZ(code)
	if err != nil {
		return 0, err
	}
	n := b.window(size)
	if n > xzDictionary {
		return 0, fmt.Errorf("LZMA with a dictionary of %d bytes, want at most %d", n, xzDictionary)
	}
	return n + 64<<10, nil // with the probabilities
}

// window is how much of a dictionary so many bytes need.
func (b xzBlock) window(size int64) int64 { return max(min(b.dictionary, size), 1<<12) }

// xzReader unpacks a block.
type xzReader struct {
	unpack   io.Reader
	distance int
	before   [256]byte
	at       int
}

// newXZ unpacks a block of so many bytes.
func newXZ(ctx context.Context, code []byte, size int64) (io.Reader, error) {
	b, err := openXZ(code)
	if err != nil {
		return nil, err
	}
	n := min(b.window(size), xzDictionary)
	return &xzReader{unpack: newLZMA(ctx, b.code, n), distance: b.distance}, nil
}

// Read undoes the differences, each from the byte so many before.
func (x *xzReader) Read(p []byte) (int, error) {
	n, err := x.unpack.Read(p)
	if x.distance > 0 {
		for i := range p[:n] {
			p[i] += x.before[byte(x.at-x.distance)]
			x.before[byte(x.at)] = p[i]
			x.at++
		}
	}
	return n, err
}
