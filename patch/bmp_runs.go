package patch

import (
	"context"
	"fmt"
	"image"
)

// readRuns reads run-length code: a number and an index that comes so often, or
// 0 and 0 for the end of a row, 1 for that of the picture, 2 for a step to the
// right and up, n for n indices, which end at an even byte of the file. Indices
// fill rows one after the other; there must be one for each pixel.
func (f *bmpFile) readRuns(ctx context.Context, m *image.NRGBA) error {
	r := bmpRuns{bmpFile: f, m: m, all: f.width * f.height}
	for ops := 0; r.at < r.all && len(r.pix)-r.read >= 2; ops++ {
		if ops%4096 == 0 || r.since > 1<<20 {
			r.since = 0
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		n, v := int(r.pix[r.read]), int(r.pix[r.read+1])
		r.read += 2
		switch {
		case n > 0:
			n = max(0, min(n, f.width-r.x))
			pair := [2]byte{byte(v), byte(v)}
			if f.runs4 {
				pair = [2]byte{byte(v >> 4), byte(v & 15)}
			}
			r.fill(n, pair)
			r.x += n
		case v == 0:
			r.fill((f.width-r.at%f.width)%f.width, [2]byte{})
			r.x = 0
		case v == 1:
			return r.end()
		case v == 2:
			if len(r.pix)-r.read < 2 {
				return r.end()
			}
			right, up := int(r.pix[r.read]), int(r.pix[r.read+1])
			r.read += 2
			r.fill(right+up*f.width, [2]byte{})
			r.x = r.at % f.width
		default:
			if !r.copy(v) {
				return r.end()
			}
		}
	}
	return r.end()
}

// bmpRuns is run-length code that is being read.
type bmpRuns struct {
	*bmpFile
	m     *image.NRGBA
	read  int // bytes of pix
	at    int // pixels that are there, of all
	all   int
	x     int // where runs are in their row, as far as they know
	since int // pixels since the last look at the context
}

// fill sets the next n pixels, two in turn.
func (r *bmpRuns) fill(n int, pair [2]byte) {
	n = min(n, r.all-r.at)
	for i := range n {
		r.set(pair[i&1])
	}
	r.since += n
}

func (r *bmpRuns) set(index byte) {
	c := r.palette[index]
	d := r.m.Pix[r.place(r.at/r.width)*r.m.Stride+4*(r.at%r.width):][:4]
	d[0], d[1], d[2], d[3] = c[0], c[1], c[2], 255
	r.at++
}

// copy takes n indices, and reports whether they are there.
func (r *bmpRuns) copy(n int) bool {
	count := min(n, r.all-r.at)
	size := count
	if r.runs4 {
		size = (count + 1) / 2
	}
	src := r.pix[r.read:]
	src = src[:min(size, len(src))]
	for i := range count {
		switch {
		case !r.runs4 && i < len(src):
			r.set(src[i])
		case r.runs4 && i/2 < len(src):
			r.set(src[i/2] >> (4 * (1 - i&1)) & 15)
		}
	}
	r.since += count
	r.read += len(src)
	if len(src) < size {
		return false
	}
	r.x += n
	r.read += (r.read + r.odd) & 1
	return true
}

// end wants all pixels.
func (r *bmpRuns) end() error {
	if r.at < r.all {
		return fmt.Errorf("truncated BMP: runs of %d pixels, want %d", r.at, r.all)
	}
	return nil
}
