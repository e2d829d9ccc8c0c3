package patch

import (
	"context"
	"math"
)

// Torchvision resizes tensors of floats in float32 (ATen/native/cpu/UpSampleKernel.cpp,
// separable_upsample_generic_Nd_kernel_impl), antialiased, the rows first. A sum begins with
// the first product; of the others four at a time are multiplied and then added
// one by one, and what is left is multiplied and added at once. Done in the
// same order the pixels are its own bit for bit, but for sums that lie within
// 2^-29 of the middle between two floats.

// taps are the weights of one axis, of upright samples: output i is the sum
// over j of weight[i][j] · input[first[i]+j].
type taps struct {
	in      int
	first   []int
	weight  [][]float32
	flipped bool // stored samples run the other way
}

// tapsOf computes the weights that bring in samples to out, for outputs
// [from, from+n): HelperInterpBase of that file, filter of a triangle.
func tapsOf(in, out, from, n int, flipped bool) *taps {
	a := &taps{in: in, flipped: flipped}
	scale := float32(in) / float32(out)
	support, inverse := max(scale, 1), float32(1)
	if scale >= 1 {
		inverse = 1 / scale
	}
	for i := from; i < from+n; i++ {
		if in == out {
			a.first, a.weight = append(a.first, i), append(a.weight, []float32{1})
			continue
		}
		center := float32(scale * (float32(i) + 0.5))
		lo := max(int(float32(center-support)+0.5), 0)
		hi := min(int(float32(center+support)+0.5), in)
		w, sum := make([]float32, hi-lo), float32(0)
		for j := range w {
			x := float32((float32(j+lo)-center)+0.5) * inverse
			w[j] = max(1-float32(math.Abs(float64(x))), 0)
			sum += w[j]
		}
		for j := range w {
			w[j] /= sum
		}
		a.first, a.weight = append(a.first, lo), append(a.weight, w)
	}
	return a
}

// stored returns where sample i lies.
func (a *taps) stored(i int) int {
	if a.flipped {
		return a.in - 1 - i
	}
	return i
}

// span returns the stored samples that are read: [from, to).
func (a *taps) span() (from, to int) {
	last := len(a.first) - 1
	lo, hi := a.first[0], a.first[last]+len(a.weight[last])
	if a.flipped {
		return a.in - hi, a.in - lo
	}
	return lo, hi
}

// sum returns Σ w[j] · x(j) as torch has it.
func sum32(w []float32, x func(j int) float32) float32 {
	s := x(0) * w[0]
	whole := (len(w) - 1) / 4 * 4
	for j := 1; j <= whole; j++ {
		s += float32(x(j) * w[j])
	}
	for j := whole + 1; j < len(w); j++ {
		s = float32(float64(x(j))*float64(w[j]) + float64(s))
	}
	return s
}

// sampleFloats is sample of a photo that is resized as floats.
func (p plan) sampleFloats(ctx context.Context, out []float32, src rgbaSource, w, h, orientation int) error {
	at := storage[orientation]
	// Along the stored axes; x is upright y if transposed.
	flips := [2]bool{at.flipX, at.flipY}
	if at.transposed {
		flips = [2]bool{at.flipY, at.flipX}
	}
	x := tapsOf(w, p.rw, p.inside.x, p.inside.w, flips[0])
	y := tapsOf(h, p.rh, p.inside.y, p.inside.h, flips[1])
	across, down := x, y
	if at.transposed {
		across, down = y, x
	}
	left, right := across.span()
	top, bottom := down.span()
	src.only(left, top, right-left, bottom-top)

	n, cols := p.crop.w*p.crop.h, right-left
	p.paint(out)
	put := func(i, j int, of []float32) { // column i, row j of what lies inside
		at := (p.inside.y-p.crop.y+j)*p.crop.w + p.inside.x - p.crop.x + i
		for c, v := range of[:3] {
			out[c*n+at] = v
		}
	}
	// resize writes the pixels of a row at across's outputs.
	resize := func(to, row []float32) {
		for i, first := range across.first {
			for c := range 3 {
				to[3*i+c] = sum32(across.weight[i], func(j int) float32 { return row[3*(across.stored(first+j)-left)+c] })
			}
		}
	}
	width := cols
	if !at.transposed {
		width = len(across.first)
	}
	rows := ring{width: 3 * width, from: top}
	raw, buf := make([]float32, 3*cols), make([]byte, 4*cols+rowSlack)
	line, done := make([]float32, 3*width), make([]float32, 3*len(across.first))
	for k := range down.first {
		if err := ended(ctx); err != nil {
			return err
		}
		i := k
		if down.flipped {
			i = len(down.first) - 1 - k
		}
		first, weight := down.first[i], down.weight[i]
		lo, hi := down.stored(first), down.stored(first+len(weight)-1)
		lo, hi = min(lo, hi), max(lo, hi)+1
		rows.drop(lo)
		for rows.end() < hi {
			into := rows.next()
			pixels := src.pixels(buf, rows.end()-1, left, cols)
			for i := range cols {
				for c := range 3 {
					raw[3*i+c] = rescaled[pixels[4*i+c]]
				}
			}
			if at.transposed {
				copy(into, raw)
			} else {
				resize(into, raw)
			}
		}
		for c := range line {
			line[c] = sum32(weight, func(j int) float32 { return rows.row(down.stored(first + j))[c] })
		}
		if !at.transposed {
			for j := range width {
				put(j, i, line[3*j:])
			}
			continue
		}
		resize(done, line)
		for j := range across.first {
			put(i, j, done[3*j:])
		}
	}
	return nil
}

// rescaled is v times 1/255, as transformers has it: not always v/255.
var rescaled = func() (t [256]float32) {
	for v := range t {
		t[v] = float32(v) * float32(1.0/255)
	}
	return t
}()

// ring holds the rows of a picture from one on.
type ring struct {
	width, from int
	rows        [][]float32
	spare       [][]float32
}

func (r *ring) end() int            { return r.from + len(r.rows) }
func (r *ring) row(y int) []float32 { return r.rows[y-r.from] }

// drop forgets the rows before y.
func (r *ring) drop(y int) {
	for r.from < y && len(r.rows) > 0 {
		r.spare = append(r.spare, r.rows[0])
		r.rows = r.rows[1:]
		r.from++
	}
	r.from = max(r.from, y)
}

// next returns memory for one row more.
func (r *ring) next() []float32 {
	var row []float32
	if n := len(r.spare); n > 0 {
		row, r.spare = r.spare[n-1], r.spare[:n-1]
	} else {
		row = make([]float32, r.width)
	}
	r.rows = append(r.rows, row)
	return row
}
