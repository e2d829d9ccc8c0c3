package patch

import (
	"context"
	"errors"
)

// lzwBits is how long a code may get.
const lzwBits = 12

// gifCode reads LZW code in sub-blocks (GIF89a, appendix F), with literals of
// any number of bits up to 12, of which a byte is kept. It goes on where
// compress/lzw, which wants 2 to 8, would end: an empty sub-block is no end.
type gifCode struct {
	ctx     context.Context
	data    []byte // of the sub-blocks that are left
	block   int    // bytes that are left of the one that is being read
	bits    uint32
	have    uint
	literal uint // bits of one

	width       uint // of a code
	clear, next int
	last        int // code; -1: none since the table was cleared
	first       byte
	prefix      [1 << lzwBits]uint16
	suffix      [1 << lzwBits]byte
	buf         [1<<lzwBits + 1]byte // a string, at its end
	todo        []byte
}

var (
	errGIFEnd   = errors.New("the LZW code ends before the pixels")
	errGIFShort = errors.New("truncated GIF: the file ends before the pixels")
	errGIFCode  = errors.New("invalid LZW code")
)

func newGIFCode(ctx context.Context, data []byte, literal int) *gifCode {
	g := &gifCode{ctx: ctx, data: data, literal: uint(literal), clear: 1 << literal}
	g.reset()
	return g
}

func (g *gifCode) reset() { g.width, g.next, g.last = g.literal+1, g.clear+2, -1 }

// read fills row.
func (g *gifCode) read(row []byte) error {
	for {
		n := copy(row, g.todo)
		row, g.todo = row[n:], g.todo[n:]
		if len(row) == 0 {
			return nil
		}
		if err := g.decode(); err != nil {
			return err
		}
	}
}

// code is the next one of width bits.
func (g *gifCode) code() (int, error) {
	for g.have < g.width {
		for g.block == 0 { // a sub-block must be whole
			if len(g.data) == 0 || len(g.data) < 1+int(g.data[0]) {
				return 0, errGIFShort
			}
			if err := g.ctx.Err(); err != nil {
				return 0, err
			}
			g.block, g.data = int(g.data[0]), g.data[1:]
		}
		g.bits |= uint32(g.data[0]) << g.have
		g.data = g.data[1:]
		g.block--
		g.have += 8
	}
	c := int(g.bits & (1<<g.width - 1))
	g.bits >>= g.width
	g.have -= g.width
	return c, nil
}

// decode leaves the bytes of the next codes in todo.
func (g *gifCode) decode() error {
	c, err := g.code()
	if err != nil {
		return err
	}
	switch {
	case c == g.clear:
		g.reset()
		return nil
	case c == g.clear+1:
		return errGIFEnd
	case g.last < 0:
		if c > g.clear {
			return errGIFCode
		}
		g.last, g.first = c, byte(c)
		g.buf[0] = g.first
		g.todo = g.buf[:1]
		return nil
	case c > g.next:
		return errGIFCode
	}
	this, i := c, len(g.buf)
	if c == g.next {
		i--
		g.buf[i] = g.first
		c = g.last
	}
	for c >= g.clear {
		if i == 0 || c >= len(g.prefix) {
			return errGIFCode
		}
		i--
		g.buf[i] = g.suffix[c]
		c = int(g.prefix[c])
	}
	if i == 0 {
		return errGIFCode
	}
	i--
	g.first = byte(c)
	g.buf[i] = g.first
	g.todo = g.buf[i:]
	if g.next < len(g.prefix) {
		g.prefix[g.next], g.suffix[g.next] = uint16(g.last), g.first
		if g.next == 1<<g.width-1 && g.width < lzwBits {
			g.width++
		}
		g.next++
	}
	g.last = this
	return nil
}
