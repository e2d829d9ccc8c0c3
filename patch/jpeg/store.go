package jpeg

import "unsafe"

// Coefficients that come in many scans are kept by rows of blocks, each taken
// when its first block is read, so that memory follows what the scans hold.

const (
	chunkSize  = 1 << 19 // coefficients that are taken at a time, a megabyte
	chunksKept = 32      // for the next file
)

// zeros is a block of a row that no scan has reached.
var zeros [64]int16

// resetStore forgets all coefficients.
func (r *Reader) resetStore() {
	for i := range r.Components {
		c := &r.comps[i]
		c.rows = grow(c.rows, r.down*c.v)
		clear(c.rows)
	}
	r.chunk, r.free = -1, nil
	r.lent = lend(r.Header, r.across, len(r.picture))
}

// lent is how much of a picture's memory is lent to coefficients.
type lent struct {
	n      int // coefficients of a row of MCUs, the first of it
	stride int // bytes from one row of MCUs to the next
	rows   int
}

// lend says what can be lent of size bytes of a picture. Rows of MCUs become
// rows of pixels from the top down, and each lies where those that it becomes
// do, or further down, so that it is read before it is written over.
func lend(h Header, across, size int) lent {
	maxV := 1
	for _, s := range h.Sampling[:h.Components] {
		maxV = max(maxV, s[1])
	}
	pixels := 8 * maxV * 4 * h.Width // bytes of those that a row of MCUs becomes
	l := lent{stride: pixels}
	for _, s := range h.Sampling[:h.Components] {
		for range s[1] {
			n := l.n + 64*across*s[0]
			if 2*n > pixels*9/8 { // what is more than the pixels costs rows at the end
				return l.over(size)
			}
			l.n, l.stride = n, max(l.stride, 2*n)
		}
	}
	return l.over(size)
}

func (l lent) over(size int) lent {
	l.rows = size / l.stride
	return l
}

// block is block (x, y) of a component, to be written to.
func (r *Reader) block(c *component, x, y int) *[64]int16 {
	row := c.rows[y]
	if row == nil {
		row = r.take(c, y)
		c.rows[y] = row
	}
	return (*[64]int16)(row[64*x:])
}

// read is block (x, y) of a component, to be read.
func (c *component) read(x, y int) *[64]int16 {
	if row := c.rows[y]; row != nil {
		return (*[64]int16)(row[64*x:])
	}
	return &zeros
}

// take finds memory for a row of blocks: that of the picture's rows which these
// blocks will become, if there is a picture, as they are read before those are
// written, or else the reader's.
func (r *Reader) take(c *component, y int) []int16 {
	n := 64 * c.blocks
	at := 64 * (c.base + y%c.v*c.blocks) // in a row of MCUs
	if m := y / c.v; m < r.lent.rows && at+n <= r.lent.n {
		return samples16(r.picture[m*r.lent.stride:][:r.lent.stride])[at : at+n : at+n]
	}
	if n > chunkSize {
		return make([]int16, n)
	}
	if len(r.free) < n {
		if r.chunk++; r.chunk == len(r.chunks) {
			r.chunks = append(r.chunks, make([]int16, chunkSize))
		}
		r.free = r.chunks[r.chunk]
	}
	row := r.free[:n:n]
	r.free = r.free[n:]
	clear(row)
	return row
}

// samples16 is memory of bytes as numbers of sixteen bits.
func samples16(b []byte) []int16 {
	return unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}
