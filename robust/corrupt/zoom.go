package corrupt

import "math"

// line interpolates along an edge: sample i is between pixels at[i] and the
// next, f[i] of the way. Samples beyond its own are zero.
type line struct {
	at []int
	f  []float64
}

// stretched is n pixels become m, the middles of the first and of the last
// where they were: scipy.ndimage.zoom of order 1. Where rounding takes the last
// one beyond the pixels, it is zero there, and left out here.
func stretched(n, m int) line {
	l := line{make([]int, m), make([]float64, m)}
	step := 1.0
	if m > 1 {
		step = float64(n-1) / float64(m-1)
	}
	for i := range m {
		x := float64(i) * step
		if x > float64(n-1) {
			return line{l.at[:i], l.f[:i]}
		}
		l.at[i] = min(int(x), max(0, n-2))
		l.f[i] = min(x-float64(l.at[i]), 1)
	}
	return l
}

// middle is the part of n pixels that fills them when it is enlarged, and what
// it becomes: more than n by rounding.
func middle(n int, zoom float64) (from, count, becomes int) {
	count = int(math.Ceil(float64(n) / zoom))
	return (n - count) / 2, count, int(math.RoundToEven(float64(count) * zoom))
}

// zoomed enlarges the middle of a field.
func (w *work) zoomed(f field, zoom float64) field {
	top, h, oh := middle(f.h, zoom)
	left, wd, ow := middle(f.w, zoom)
	out := w.field(oh, ow, f.c)
	ys, xs := stretched(h, oh), stretched(wd, ow)
	mixed := take(&w.floats, wd*f.c)
	clear(out.v)
	for y := range ys.at {
		lerpRows(mixed, f.row(top + ys.at[y])[left*f.c:], f.row(min(top+ys.at[y]+1, f.h-1))[left*f.c:], ys.f[y])
		to := out.row(y)
		for x := range xs.at {
			a := xs.at[x] * f.c
			for c := range f.c {
				v := mixed[a+c]
				to[x*f.c+c] = v + (mixed[min(a+f.c+c, len(mixed)-1)]-v)*xs.f[x]
			}
		}
	}
	return out
}

func lerpRows(to, a, b []float64, f float64) {
	a, b = a[:len(to)], b[:len(to)]
	for i, v := range a {
		to[i] = v + (b[i]-v)*f
	}
}

// span is numpy.arange.
type span struct{ from, to, step float64 }

func (s span) values() []float64 {
	v := make([]float64, int(math.Ceil((s.to-s.from)/s.step)))
	step := s.from + s.step - s.from // rounded as numpy has it
	for i := range v {
		v[i] = s.from + float64(i)*step
	}
	return v
}

// zoomBlur is the mean of the picture and of its middle, enlarged by each
// factor. In the package's flavour the enlarged pictures are cut at the upper
// left; in the original's they are squares of the height, cut in the middle.
func zoomBlur(w *work, dst, src *Picture, s span, f Flavour) {
	factors := s.values()
	sum := w.field(src.H, src.W, 3).of(src)
	pic := w.field(src.H, src.W, 3)
	copy(pic.v, sum.v)
	mixed := take(&w.floats, src.W*3)
	for _, zoom := range factors {
		top, h, oh := middle(src.H, zoom)
		left, wd, ow := middle(src.W, zoom)
		ys, xs := stretched(h, oh), stretched(wd, ow)
		if f == Original { // which knows squares only
			y0, x0 := (oh-src.H)/2, (ow-src.W)/2
			ys, xs = line{ys.at[y0:], ys.f[y0:]}, line{xs.at[x0:], xs.f[x0:]}
		}
		for y := range min(src.H, len(ys.at)) {
			m := mixed[:3*wd]
			lerpRows(m, pic.row(top + ys.at[y])[3*left:], pic.row(min(top+ys.at[y]+1, src.H-1))[3*left:], ys.f[y])
			addStretched(sum.row(y), m, xs)
		}
	}
	n := float64(len(factors) + 1)
	for i, v := range sum.v {
		dst.Pix[i] = level(v / n)
	}
}

// addStretched adds pixels of three values, which there are at least two of.
func addStretched(to, from []float64, l line) {
	n := min(len(to)/3, len(l.at))
	at, f := l.at[:n], l.f[:n]
	for i, a := range at {
		v := from[3*a : 3*a+6 : 3*a+6]
		o := to[3*i : 3*i+3 : 3*i+3]
		g := f[i]
		o[0] += v[0] + (v[3]-v[0])*g
		o[1] += v[1] + (v[4]-v[1])*g
		o[2] += v[2] + (v[5]-v[2])*g
	}
}
