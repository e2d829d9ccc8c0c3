package patch

import (
	"math"
	"sync"
)

// The resampling is Pillow's (src/libImaging/Resample.c): a filter as wide as
// the scale, so antialiased; weights in float64, normalised, then rounded to
// fixed point; two passes with bytes between them, the horizontal one first
// unless the height shrinks by more than twice the pixels that the width does
// (so in Pillow 13; before, it always was). Done in the same order with the
// same integers, the pixels are Pillow's bit for bit.

// precisionBits leaves room for eight bits of pixel and two of overshoot in
// an int32.
const precisionBits = 32 - 8 - 2

// filter is a resampling kernel: zero beyond ±support.
type filter struct {
	support float64
	at      func(x float64) float64
}

var filters = map[Interpolation]filter{
	Bilinear: {1, func(x float64) float64 { return max(0, 1-math.Abs(x)) }},
	Bicubic:  {2, cubic},
	Lanczos:  {3, func(x float64) float64 { return sinc(x) * sinc(x/3) }},
}

// cubic is the convolution kernel of Keys, "Cubic convolution interpolation
// for digital image processing" (1981), with a = -1/2.
func cubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// axis is the weights of one axis: output i is the sum over j < count[i] of
// weight[i*size+j] · input[first[i]+j], in fixed point.
type axis struct {
	size         int
	first, count []int
	weight       []int32
	k            []float64 // one output's weights before rounding
}

// end is one past the last input that any output reads, first[0] the first.
func (t *axis) end() int {
	last := 0
	for i, f := range t.first {
		last = max(last, f+t.count[i])
	}
	return last
}

// set computes the weights that bring in samples to out samples, for outputs
// [from, from+n) only, reusing t's memory.
func (t *axis) set(f filter, in, out, from, n int) {
	scale := float64(in) / float64(out)
	wide := max(scale, 1)
	support := f.support * wide
	t.size = int(math.Ceil(support))*2 + 1
	t.first, t.count = grow(t.first, n), grow(t.count, n)
	t.weight = grow(t.weight, n*t.size)
	t.k = grow(t.k, t.size)
	k := t.k
	for i := range n {
		center := (float64(from+i) + 0.5) * scale
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), in)
		sum := 0.0
		for x := range hi - lo {
			k[x] = f.at((float64(x+lo) - center + 0.5) * (1 / wide))
			sum += k[x]
		}
		w := t.weight[i*t.size : (i+1)*t.size]
		clear(w)
		for x := range hi - lo {
			if sum != 0 {
				k[x] /= sum
			}
			w[x] = int32(math.Trunc(math.Copysign(0.5, k[x]) + k[x]*(1<<precisionBits)))
		}
		t.first[i], t.count[i] = lo, hi-lo
	}
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// scratch is the memory of one resize, kept between requests.
type scratch struct {
	h, v axis
	mid  []byte // rows × crop width × 4
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// window is a rectangle of the resized plane.
type window struct{ x, y, w, h int }

// resample brings the RGBA pixels src (sh rows of sw pixels) to rw × rh and
// writes the part win of the result to dst, w·h RGBA pixels. Only what win
// needs is computed. Alpha is carried along and comes out 255 where it was.
func resample(dst, src []byte, stride, sw, sh, rw, rh int, win window, how Interpolation) {
	if how == Nearest {
		nearest(dst, src, stride, sw, sh, rw, rh, win)
		return
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.h.set(filters[how], sw, rw, win.x, win.w)
	s.v.set(filters[how], sh, rh, win.y, win.h)
	// What the window reads of src; an axis that keeps its length has no pass.
	left, top := s.h.first[0], s.v.first[0]
	cols, rows := s.h.end()-left, s.v.end()-top
	if rw == sw {
		left, cols = win.x, win.w
	}
	if rh == sh {
		top, rows = win.y, win.h
	}
	src = src[top*stride+left*4:]
	for i := range s.h.first {
		s.h.first[i] -= left
	}
	for i := range s.v.first {
		s.v.first[i] -= top
	}
	switch {
	case rw == sw && rh == sh:
		for y := range win.h {
			copy(dst[y*win.w*4:(y+1)*win.w*4], src[y*stride:])
		}
	case rw == sw:
		verticals(dst, src, stride, win.w, &s.v)
	case rh == sh:
		horizontals(dst, src, stride, rows, &s.h)
	case sh > rh && sh-rh > 2*(sw-rw):
		s.mid = grow(s.mid, cols*win.h*4)
		verticals(s.mid, src, stride, cols, &s.v)
		horizontals(dst, s.mid, cols*4, win.h, &s.h)
	default:
		s.mid = grow(s.mid, win.w*rows*4)
		horizontals(s.mid, src, stride, rows, &s.h)
		verticals(dst, s.mid, win.w*4, win.w, &s.v)
	}
}

// horizontals resizes rows of src to len(t.first) pixels each.
func horizontals(dst, src []byte, stride, rows int, t *axis) {
	w := len(t.first) * 4
	for y := range rows {
		horizontal(dst[y*w:][:w], src[y*stride:], t)
	}
}

// verticals resizes columns of src, cols pixels a row, to len(t.first) rows.
func verticals(dst, src []byte, stride, cols int, t *axis) {
	w := cols * 4
	for y, first := range t.first {
		vertical(dst[y*w:][:w], src[first*stride:], stride, t.weight[y*t.size:][:t.count[y]])
	}
}

// horizontal writes one row of pixels, each a weighted sum of neighbours.
func horizontal(dst, src []byte, t *axis) {
	for i, lo := range t.first {
		const half = 1 << (precisionBits - 1)
		r, g, b, a := int32(half), int32(half), int32(half), int32(half)
		w := t.weight[i*t.size:][:t.count[i]]
		p := src[lo*4:][:len(w)*4]
		for _, k := range w {
			r += int32(p[0]) * k
			g += int32(p[1]) * k
			b += int32(p[2]) * k
			a += int32(p[3]) * k
			p = p[4:]
		}
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0], d[1], d[2], d[3] = fixed(r), fixed(g), fixed(b), fixed(a)
	}
}

// vertical writes dst as the weighted sum of len(w) rows of src.
func vertical(dst, src []byte, stride int, w []int32) {
	for i := range dst {
		sum := int32(1 << (precisionBits - 1))
		at := i
		for _, k := range w {
			sum += int32(src[at]) * k
			at += stride
		}
		dst[i] = fixed(sum)
	}
}

func fixed(sum int32) uint8 { return clip(int(sum >> precisionBits)) }

// nearest takes the sample under each output's middle, with the positions
// added up in float64 as Pillow's ImagingScaleAffine does: a product would
// fall on the other side of some ties.
func nearest(dst, src []byte, stride, sw, sh, rw, rh int, win window) {
	cols := positions(sw, rw, win.x, win.w)
	rows := positions(sh, rh, win.y, win.h)
	for y, sy := range rows {
		row := src[sy*stride:]
		out := dst[y*win.w*4:][:win.w*4]
		for x, sx := range cols {
			copy(out[4*x:4*x+4], row[4*sx:])
		}
	}
}

func positions(in, out, from, n int) []int {
	step := float64(in) / float64(out)
	at := step * 0.5
	if from > 1<<20 { // a ribbon; adding up would take longer than the picture is worth
		at += float64(from) * step
	} else {
		for range from {
			at += step
		}
	}
	p := make([]int, n)
	for i := range p {
		p[i] = min(int(at), in-1)
		at += step
	}
	return p
}
