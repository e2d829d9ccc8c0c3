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
	if tall := 8 * r.maxV; len(r.picture) > 0 && (y/c.v+1)*tall <= r.Height {
		size := tall * 4 * r.Width
		if to := at + n; 2*to <= size {
			return samples16(r.picture[y/c.v*size:][:size])[at:to:to]
		}
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
