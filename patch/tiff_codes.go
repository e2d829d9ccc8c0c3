package patch

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdWindow is the largest window that is read: libzstd's own limit.
const zstdWindow = 128 << 20

// zstdMemory is what unpacking Zstandard takes: the window that a frame declares
// (RFC 8878, 3.1.1.1.2), and blocks of the format's own.
func zstdMemory(code []byte) (int64, error) {
	var h zstd.Header
	if err := h.Decode(code[:min(len(code), zstd.HeaderMaxSize)]); err != nil {
		return 0, err
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if window > zstdWindow {
		return 0, fmt.Errorf("a Zstandard window of %d bytes, want at most %d", window, zstdWindow)
	}
	return int64(window)*2 + 2<<20, nil
}

// openZstd unpacks a block in Zstandard (RFC 8878).
func (f *tiffReader) openZstd(b tiffBlock, src io.Reader) (io.Reader, error) {
	if f.zstd != nil {
		return f.zstd, f.zstd.Reset(src)
	}
	z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow), zstd.IgnoreChecksum(true))
	f.zstd = z
	return z, err
}

// close gives back what unpackers hold.
func (f *tiffReader) close() {
	if f.zstd != nil {
		f.zstd.Close()
	}
}

// oldLZW reads LZW as the first version of libtiff wrote it: bits from the
// lower end, and codes that grow a code later than TIFF 6.0, section 13, has
// it.
type oldLZW struct {
	ctx    context.Context
	src    []byte
	bits   uint32
	have   uint
	width  uint
	next   int
	last   int // code; -1: none since the table was cleared
	first  byte
	prefix [1 << lzwBits]uint16
	suffix [1 << lzwBits]byte
	buf    [1<<lzwBits + 1]byte
	todo   []byte
}

const lzwClear, lzwEnd = 256, 257

// lzwSpare is how many strings more an old writer may make than there are codes.
const lzwSpare = 1024

func newOldLZW(ctx context.Context, src []byte) *oldLZW {
	return &oldLZW{ctx: ctx, src: src, width: 9, next: lzwEnd + 1, last: -1}
}

func (l *oldLZW) Read(p []byte) (int, error) {
	for len(l.todo) == 0 {
		if err := l.decode(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.todo)
	l.todo = l.todo[n:]
	return n, nil
}

var errOldLZW = errors.New("LZW: invalid code")

func (l *oldLZW) decode() error {
	for l.have < l.width {
		if len(l.src) == 0 {
			return io.EOF
		}
		if len(l.src)%4096 == 0 {
			if err := l.ctx.Err(); err != nil {
				return err
			}
		}
		l.bits |= uint32(l.src[0]) << l.have
		l.src = l.src[1:]
		l.have += 8
	}
	c := int(l.bits & (1<<l.width - 1))
	l.bits >>= l.width
	l.have -= l.width
	switch {
	case c == lzwEnd:
		return io.EOF
	case c == lzwClear:
		l.width, l.next, l.last = 9, lzwEnd+1, -1
		return nil
	case l.last < 0:
		if c > lzwClear {
			return errOldLZW
		}
		l.last, l.first = c, byte(c)
		l.buf[0] = l.first
		l.todo = l.buf[:1]
		return nil
	case c > l.next || l.next >= len(l.prefix)+lzwSpare:
		return errOldLZW
	}
	this, i := c, len(l.buf)
	if c == l.next {
		i--
		l.buf[i] = l.first
		c = l.last
	}
	for ; c > lzwEnd; c = int(l.prefix[c]) {
		i--
		l.buf[i] = l.suffix[c]
	}
	i--
	l.first = byte(c)
	l.buf[i] = l.first
	l.todo = l.buf[i:]
	if l.next < len(l.prefix) {
		l.prefix[l.next], l.suffix[l.next] = uint16(l.last), l.first
	}
	if l.next++; l.next > 1<<l.width-1 && l.width < lzwBits {
		l.width++
	}
	l.last = this
	return nil
}

// thunder reads ThunderScan, four bits a pixel (libtiff, tif_thunder.c): a byte
// whose two highest bits are 0 repeats the last pixel, 1 holds three differences
// of two bits, 2 two of three bits, 3 a pixel. Rows begin at 0 and must be
// filled exactly.
type thunder struct {
	ctx   context.Context
	src   []byte
	width int
}

var errThunder = errors.New("ThunderScan of another number of pixels in a row")

// Read fills one row.
func (t *thunder) Read(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	last, n := 0, 0
	set := func(v int) {
		last = v & 15
		if n < t.width {
			if n&1 == 0 {
				p[n/2] = byte(last << 4)
			} else {
				p[n/2] |= byte(last)
			}
			n++
		}
	}
	two, three := [4]int{0, 1, 0, -1}, [8]int{0, 1, 2, 3, 0, -3, -2, -1}
	for n < t.width && len(t.src) > 0 {
		v := int(t.src[0])
		t.src = t.src[1:]
		switch v >> 6 {
		case 0:
			run := v & 63
			if n+run > t.width {
				return 0, errThunder
			}
			for range run {
				set(last)
			}
		case 1:
			for _, shift := range [3]int{4, 2, 0} {
				if d := v >> shift & 3; d != 2 {
					set(last + two[d])
				}
			}
		case 2:
			for _, shift := range [2]int{3, 0} {
				if d := v >> shift & 7; d != 4 {
					set(last + three[d])
				}
			}
		default:
			set(v)
		}
	}
	if n != t.width {
		return 0, errThunder
	}
	return (t.width + 1) / 2, nil
}
