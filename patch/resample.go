package patch

import (
	"context"
	"math"
	"slices"
)

// The resampling is Pillow's (src/libImaging/Resample.c): a filter as wide as
// the scale, so antialiased; weights in float64, normalised, then rounded to
// fixed point; two passes with bytes between them, the horizontal one first
// unless the height shrinks by more than twice the pixels that the width does
// (so in Pillow 13; before, it always was). Done in the same order with the
// same integers, the pixels are Pillow's bit for bit.

// Torchvision's of bytes on a processor (ATen/native/cpu/UpSampleKernel.cpp,
// upsample_avx_bilinear_bicubic_uint8) is the same with weights of 16 bits,
// as many of them fractions as the greatest weight of the axis leaves, and
// always with the horizontal pass first. Its sums are those of weights that
// are rounded to these and stretched to Pillow's precision.

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
	Box: {0.5, func(x float64) float64 {
		if x > -0.5 && x <= 0.5 {
			return 1
		}
		return 0
	}},
	Hamming: {1, hamming},
}

func hamming(x float64) float64 {
	x = math.Abs(x)
	switch {
	case x == 0:
		return 1
	case x >= 1:
		return 0
	}
	x *= math.Pi
	const a, b = float32(0.54), float32(0.46) // in float32, as Pillow has them
	return math.Sin(x) / x * (float64(a) + float64(b)*math.Cos(x))
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
// weight[i*size+j] · input[first[i]+j], in fixed point. Weights beyond count are
// zero up to size, a multiple of eight.
type axis struct {
	size         int
	first, count []int
	weight       []int32
	longest, far int       // the greatest count and the greatest first
	keep         bool      // the input is the output, from first[0] on
	k            []float64 // one output's weights before rounding
}

// resize is how an axis is resampled.
type resize struct {
	how Interpolation
	by  Resampler
}

// set computes the weights that bring in samples to out samples, for outputs
// [from, from+n) only, reusing a's memory. The picture is the span of samples
// from origin on, which may begin and end inside a sample.
func (a *axis) set(r resize, in int, origin, span float64, out, from, n int) {
	a.first, a.count = grow(a.first, n), grow(a.count, n)
	a.keep = in == out && span == float64(in)
	if a.keep || r.how == Nearest {
		a.pick(r.by, in, out, from, n)
		return
	}
	f := filters[r.how]
	scale := span / float64(out)
	wide := max(scale, 1)
	support := f.support * wide
	longest := int(math.Ceil(support))*2 + 1
	a.size = (longest + 7) &^ 7
	a.weight, a.k = grow(a.weight, n*a.size), grow(a.k, longest)
	// weigh makes k the weights of output i, which begin with input lo.
	weigh := func(i int) (k []float64, lo int) {
		center := origin + (float64(i)+0.5)*scale
		lo = max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), in)
		k = a.k[:hi-lo]
		sum := 0.0
		for x := range k {
			k[x] = f.at((float64(x+lo) - center + 0.5) * (1 / wide))
			sum += k[x]
		}
		for x := range k {
			if sum != 0 {
				k[x] /= sum
			}
		}
		return k, lo
	}
	bits := precisionBits
	if r.by == Torchvision {
		most := 0.0
		for i := range out {
			k, _ := weigh(i)
			most = max(most, slices.Max(k))
		}
		for bits = 0; bits < precisionBits && int(0.5+most*float64(int(2)<<bits)) < 1<<15; bits++ {
		}
	}
	for i := range n {
		k, lo := weigh(from + i)
		w := a.weight[i*a.size : (i+1)*a.size]
		clear(w)
		for x, v := range k {
			w[x] = int32(math.Trunc(math.Copysign(0.5, v)+v*float64(int(1)<<bits))) << (precisionBits - bits)
		}
		a.first[i], a.count[i] = lo, len(k)
	}
	a.measure()
}

func (a *axis) measure() {
	a.longest, a.far = 1, 0
	for i, n := range a.count {
		a.longest, a.far = max(a.longest, n), max(a.far, a.first[i])
	}
}

// pick makes each output one input: its own, or the one under its middle.
// Pillow's ImagingScaleAffine adds the positions up in float64 (a product would
// fall on the other side of some ties); torch's nearest-exact multiplies in
// float32 (ATen/native/UpSample.h, nearest_exact_idx).
func (a *axis) pick(by Resampler, in, out, from, n int) {
	a.size = 8
	a.weight = grow(a.weight, n*a.size)
	clear(a.weight)
	step := float64(in) / float64(out)
	at := step * 0.5
	if a.keep || from > 1<<20 { // adding up a ribbon would take longer than it is worth
		at += float64(from) * step
	} else {
		for range from {
			at += step
		}
	}
	for i := range n {
		index := int(at)
		if by == Torchvision && !a.keep {
			index = int((float32(from+i) + 0.5) * (float32(in) / float32(out)))
		}
		a.first[i], a.count[i] = min(index, in-1), 1
		a.weight[i*a.size] = 1 << precisionBits
		at += step
	}
	a.measure()
}

// mirror makes a read the in samples from their other end.
func (a *axis) mirror(in int) {
	a.keep = false
	for i, n := range a.count {
		a.first[i] = in - a.first[i] - n
		w := a.weight[i*a.size:][:n]
		for l, r := 0, n-1; l < r; l, r = l+1, r-1 {
			w[l], w[r] = w[r], w[l]
		}
	}
	a.measure()
}

// rebase makes a count from the first input that it reads and returns that
// input and how many there are up to the last.
func (a *axis) rebase() (from, n int) {
	from = math.MaxInt
	end := 0
	for i, f := range a.first {
		from, end = min(from, f), max(end, f+a.count[i])
	}
	for i := range a.first {
		a.first[i] -= from
	}
	a.far -= from
	return from, end - from
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// window is a rectangle of the resized plane.
type window struct{ x, y, w, h int }

// rgbaSource gives RGBA pixels of a picture row by row.
type rgbaSource interface {
	// pixels returns n pixels of row y from column x on, in buf or in the
	// picture's own memory, with rowSlack readable bytes behind them if it can.
	// Rows are asked for from the top down.
	pixels(buf []byte, y, x, n int) []byte
	// only says that no other pixels will be asked for.
	only(x, y, w, h int)
}

// rowSlack is how far vector code reads beyond the last pixel of a row.
const rowSlack = 64

// run resizes src by h and v to len(v.first) rows of len(h.first) pixels. It
// looks at ctx once a row.
func (s *scratch) run(ctx context.Context, dst []byte, src rgbaSource, h, v *axis, verticalFirst bool) error {
	left, cols := h.rebase()
	top, rows := v.rebase()
	src.only(left, top, cols, rows)
	w := len(h.first) * 4
	read := func(y int) []byte { return src.pixels(s.row(cols), top+y, left, cols) }
	switch {
	case v.keep:
		for y := range rows {
			if err := ended(ctx); err != nil {
				return err
			}
			if row := read(y); h.keep {
				copy(dst[y*w:][:w], row)
			} else {
				horizontal(dst[y*w:][:w], row, h)
			}
		}
		return nil
	case h.keep:
		return s.columns(ctx, v, rows, w, func(to []byte, y int) { copy(to, read(y)) },
			func(from []byte, stride, y int, k []int32) { vertical(dst[y*w:][:w], from, stride, k) })
	case verticalFirst:
		s.line = grow(s.line, 4*cols+rowSlack)
		return s.columns(ctx, v, rows, 4*cols, func(to []byte, y int) { copy(to, read(y)) },
			func(from []byte, stride, y int, k []int32) {
				vertical(s.line[:4*cols], from, stride, k)
				horizontal(dst[y*w:][:w], s.line, h)
			})
	}
	return s.columns(ctx, v, rows, w, func(to []byte, y int) { horizontal(to, read(y), h) },
		func(from []byte, stride, y int, k []int32) { vertical(dst[y*w:][:w], from, stride, k) })
}

// columns makes each output of v from the rows that it weighs: read brings row
// y of n bytes, from the top down, and put takes rows that lie side by side.
// There are never more than about twice as many in memory as one output weighs.
func (s *scratch) columns(ctx context.Context, v *axis, rows, n int, read func(to []byte, y int), put func(from []byte, stride, y int, k []int32)) error {
	most := min(rows, 2*v.longest+16)
	s.mid = grow(s.mid, most*n+rowSlack)
	last := len(v.first) - 1
	upwards := v.first[0] > v.first[last]
	from, to := 0, 0 // the rows in memory
	for i := range v.first {
		if err := ended(ctx); err != nil {
			return err
		}
		y := i
		if upwards {
			y = last - i
		}
		first, end := v.first[y], v.first[y]+v.count[y]
		if end-from > most {
			kept := max(0, to-first)
			copy(s.mid, s.mid[(to-kept-from)*n:(to-from)*n])
			from, to = first, first+kept
		}
		for ; to < end; to++ {
			read(s.mid[(to-from)*n:][:n], to)
		}
		put(s.mid[(first-from)*n:], n, y, v.weight[y*v.size:][:v.count[y]])
	}
	return nil
}

// verticals resizes columns of src, n bytes of each row, to len(a.first) rows.
func verticals(ctx context.Context, dst, src []byte, stride, n int, a *axis) error {
	for y, first := range a.first {
		if err := ended(ctx); err != nil {
			return err
		}
		vertical(dst[y*n:][:n], src[first*stride:], stride, a.weight[y*a.size:][:a.count[y]])
	}
	return nil
}

// horizontalGo writes one row of pixels, each a weighted sum of neighbours.
func horizontalGo(dst, src []byte, a *axis) {
	for i, lo := range a.first {
		const half = 1 << (precisionBits - 1)
		r, g, b, alpha := int32(half), int32(half), int32(half), int32(half)
		w := a.weight[i*a.size:][:a.count[i]]
		p := src[lo*4:][:len(w)*4]
		for _, k := range w {
			r += int32(p[0]) * k
			g += int32(p[1]) * k
			b += int32(p[2]) * k
			alpha += int32(p[3]) * k
			p = p[4:]
		}
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0], d[1], d[2], d[3] = fixed(r), fixed(g), fixed(b), fixed(alpha)
	}
}

// lineGo is horizontalGo for a plane of single bytes.
func lineGo(dst, src []byte, a *axis) {
	for i, lo := range a.first {
		sum := int32(1 << (precisionBits - 1))
		w := a.weight[i*a.size:][:a.count[i]]
		for j, v := range src[lo:][:len(w)] {
			sum += int32(v) * w[j]
		}
		dst[i] = fixed(sum)
	}
}

// verticalGo writes dst as the weighted sum of len(w) rows of src.
func verticalGo(dst, src []byte, stride int, w []int32) {
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
