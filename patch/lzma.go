package patch

import (
	"context"
	"encoding/binary"
	"errors"
)

// This is a decoder of LZMA2 (The .xz File Format 1.2.1, 5.3.1; LZMA
// Specification, 2015) that gives each byte as soon as its code is there, as
// liblzma does: what is wrong behind the last byte that is asked for does not
// matter.

var (
	errLZMA    = errors.New("corrupt LZMA data")
	errLZMACut = errors.New("truncated LZMA data")
)

// lzmaReader is LZMA2 that is being read.
type lzmaReader struct {
	ctx context.Context
	src []byte
	err error // of what comes next

	window []byte // of the last bytes, a ring
	at     int    // where the next byte goes
	full   int    // bytes that distances may reach

	left   int  // bytes of the chunk
	used   int  // bytes of its code, that are left; less than 0: it has read on behind it
	stored bool // its bytes are there as they are
	reset  bool // the next chunk must begin a dictionary
	unset  bool // and say what literals depend on
	copy   int  // bytes of a match that are still to come

	width, code uint32 // of the range
	state       int
	reps        [4]uint32 // the last distances, less one
	total       uint32    // bytes since the dictionary began
	lc          uint32
	lp, pb      uint32 // masks
	p           lzmaProbs
}

// newLZMA reads code with a window of so many bytes.
func newLZMA(ctx context.Context, code []byte, window int64) *lzmaReader {
	return &lzmaReader{ctx: ctx, src: code, window: make([]byte, window), reset: true, unset: true}
}

// Read fills p, or says why it cannot.
func (r *lzmaReader) Read(p []byte) (n int, err error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	for n < len(p) && r.err == nil {
		switch {
		case r.copy > 0 && r.left > 0:
			r.copy--
			p[n] = r.put(r.back(r.reps[0]))
			n++
		case r.left == 0:
			r.endChunk()
			r.startChunk()
		case r.stored:
			k := min(r.left, len(r.src), len(p)-n)
			if k == 0 {
				r.err = errLZMACut
				break
			}
			for i, b := range r.src[:k] {
				p[n+i] = r.put(b)
			}
			r.src = r.src[k:]
			n += k
		default:
			if b, literal := r.next(); literal {
				p[n] = r.put(b)
				n++
			}
		}
	}
	if n < len(p) {
		return n, r.err
	}
	return n, nil
}

// put makes b the next byte.
func (r *lzmaReader) put(b byte) byte {
	r.window[r.at] = b
	if r.at++; r.at == len(r.window) {
		r.at = 0
	}
	r.full = min(r.full+1, len(r.window))
	r.left--
	r.total++
	return b
}

// back is the byte a distance back, less one.
func (r *lzmaReader) back(distance uint32) byte {
	i := r.at - int(distance) - 1
	if i < 0 {
		i += len(r.window)
	}
	return r.window[i]
}

// endChunk checks that a chunk ended with its code.
func (r *lzmaReader) endChunk() {
	if r.width == 0 { // it was stored, or there is none
		return
	}
	r.normalize()
	if r.copy > 0 || r.code != 0 || r.used != 0 {
		r.fail(errLZMA)
	}
	r.width = 0
}

// startChunk reads a chunk's header.
func (r *lzmaReader) startChunk() {
	if r.err == nil {
		r.err = r.ctx.Err()
	}
	if r.err != nil {
		return
	}
	if len(r.src) == 0 {
		r.err = errLZMACut
		return
	}
	control := r.src[0]
	size := 3 // of the header
	switch {
	case control >= 0xc0:
		size = 6
	case control >= 0x80:
		size = 5
	}
	switch {
	case control == 0:
		r.err = errLZMACut // the end of the stream, of which more is wanted
		return
	case control >= 0xe0 || control == 1:
		r.reset, r.full, r.total, r.unset = false, 0, 0, true
	case r.reset || control > 2 && control < 0x80:
		r.err = errLZMA
		return
	}
	if len(r.src) < size {
		r.err = errLZMACut
		return
	}
	h := r.src[:size]
	r.src = r.src[size:]
	r.left = int(binary.BigEndian.Uint16(h[1:])) + 1
	if r.stored = control < 0x80; r.stored {
		return
	}
	r.left += int(control&0x1f) << 16
	r.used = int(binary.BigEndian.Uint16(h[3:])) + 1
	switch {
	case control >= 0xc0:
		if !r.properties(h[5]) {
			r.err = errLZMA
			return
		}
	case r.unset:
		r.err = errLZMA
		return
	case control >= 0xa0:
		r.begin()
	}
	if len(r.src) < 5 {
		r.err = errLZMACut
		return
	}
	if r.src[0] != 0 {
		r.err = errLZMA
		return
	}
	r.width, r.code = 1<<32-1, binary.BigEndian.Uint32(r.src[1:])
	r.src = r.src[5:]
	r.used -= 5
}

// properties reads what literals and positions depend on.
func (r *lzmaReader) properties(b byte) bool {
	if b >= 9*5*5 {
		return false
	}
	lc, lp, pb := b%9, b/9%5, b/45
	if lc+lp > 4 {
		return false
	}
	r.unset = false
	r.lc, r.lp, r.pb = uint32(lc), 1<<lp-1, 1<<pb-1
	r.p.literals = grow(r.p.literals, 0x300<<(lc+lp))
	r.begin()
	return true
}

// begin begins the state anew.
func (r *lzmaReader) begin() {
	r.state, r.reps, r.copy = 0, [4]uint32{}, 0
	r.p.begin()
}

func (r *lzmaReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// normalize makes sure that the range is wide enough for a bit.
func (r *lzmaReader) normalize() {
	if r.width >= 1<<24 {
		return
	}
	if len(r.src) == 0 {
		r.fail(errLZMACut)
		return
	}
	r.width <<= 8
	r.code = r.code<<8 | uint32(r.src[0])
	r.src = r.src[1:]
	r.used--
}

// bit reads one of a probability.
func (r *lzmaReader) bit(p *prob) uint32 {
	r.normalize()
	bound := r.width >> probBits * uint32(*p)
	if r.code < bound {
		r.width = bound
		*p += (1<<probBits - *p) >> probMoves
		return 0
	}
	r.width -= bound
	r.code -= bound
	*p -= *p >> probMoves
	return 1
}

// direct reads bits that are as likely as not.
func (r *lzmaReader) direct(n int) (v uint32) {
	for range n {
		r.normalize()
		r.width >>= 1
		one := uint32(0)
		if r.code >= r.width {
			r.code -= r.width
			one = 1
		}
		v = v<<1 | one
	}
	return v
}

// tree reads a number of n bits, the highest first.
func (r *lzmaReader) tree(p []prob, n int) uint32 {
	m := uint32(1)
	for range n {
		m = m<<1 | r.bit(&p[m])
	}
	return m - 1<<n
}

// reverse reads a number of n bits, the lowest first.
func (r *lzmaReader) reverse(p []prob, n int) (v uint32) {
	m := uint32(1)
	for i := range n {
		b := r.bit(&p[m])
		m = m<<1 | b
		v |= b << i
	}
	return v
}
