package corrupt

import "math"

// border is what lies beyond the edge of a picture a b c d.
type border func(i, n int) int

// nearest is a a a | a b c d | d d d.
func nearest(i, n int) int { return min(max(i, 0), n-1) }

// reflect is c b a | a b c d | d c b.
func reflect(i, n int) int {
	i %= 2 * n
	if i < 0 {
		i += 2 * n
	}
	if i >= n {
		i = 2*n - 1 - i
	}
	return i
}

// reflect101 is d c b | a b c d | c b a.
func reflect101(i, n int) int {
	if n == 1 {
		return 0
	}
	i %= 2*n - 2
	if i < 0 {
		i += 2*n - 2
	}
	if i >= n {
		i = 2*n - 2 - i
	}
	return i
}

// bell is one half of a Gaussian's weights, the middle first, as far as
// truncate deviations: scipy.ndimage's.
func bell(sigma, truncate float64) []float64 {
	k := make([]float64, int(truncate*sigma+0.5)+1)
	sum := 0.0
	for i := range k {
		k[i] = math.Exp(-0.5 / (sigma * sigma) * float64(i*i))
		sum += k[i]
		if i > 0 {
			sum += k[i]
		}
	}
	for i := range k {
		k[i] /= sum
	}
	return k
}

// field is values (H, W, C).
type field struct {
	h, w, c int
	v       []float64
}

func (w *work) field(height, width, c int) field {
	return field{height, width, c, take(&w.floats, height*width*c)}
}

// of fills f with a picture's values in [0, 1].
func (f field) of(p *Picture) field {
	for i, v := range p.Pix {
		f.v[i] = unit[v]
	}
	return f
}

func (f field) row(y int) []float64 { return f.v[y*f.w*f.c:][: f.w*f.c : f.w*f.c] }

// write makes a picture of the values.
func (f field) write(dst *Picture) {
	for i, v := range f.v {
		dst.Pix[i] = level(v)
	}
}

// blur replaces f by its weighted means, down by ky and across by kx, in the
// order of scipy.ndimage.correlate1d: the farthest pair first.
func (w *work) blur(f field, ky, kx []float64, at border) field {
	mid := w.field(f.h, f.w, f.c)
	for y := range f.h {
		to := mid.row(y)
		scale(to, f.row(y), ky[0])
		for j := len(ky) - 1; j > 0; {
			a, b := f.row(at(y-j, f.h)), f.row(at(y+j, f.h))
			if j == 1 {
				addPair(to, a, b, ky[1])
				break
			}
			addPairs(to, a, b, f.row(at(y-j+1, f.h)), f.row(at(y+j-1, f.h)), ky[j], ky[j-1])
			j -= 2
		}
	}
	r := len(kx) - 1
	c := f.c
	line := take(&w.floats, (f.w+2*r)*c)
	for y := range f.h {
		from, to := mid.row(y), f.row(y)
		copy(line[r*c:], from)
		for i := range r {
			copy(line[i*c:(i+1)*c], from[at(i-r, f.w)*c:])
			copy(line[(r+f.w+i)*c:][:c], from[at(f.w+i, f.w)*c:])
		}
		scale(to, from, kx[0])
		for j := r; j > 0; {
			a, b := line[(r-j)*c:], line[(r+j)*c:]
			if j == 1 {
				addPair(to, a, b, kx[1])
				break
			}
			addPairs(to, a, b, line[(r-j+1)*c:], line[(r+j-1)*c:], kx[j], kx[j-1])
			j -= 2
		}
	}
	return f
}

func scale(to, a []float64, k float64) {
	a = a[:len(to)]
	for i, v := range a {
		to[i] = v * k
	}
}

func addPair(to, a, b []float64, k float64) {
	a, b = a[:len(to)], b[:len(to)]
	for i, v := range to {
		to[i] = v + (a[i]+b[i])*k
	}
}

func addPairs(to, a, b, c, d []float64, k, l float64) {
	a, b, c, d = a[:len(to)], b[:len(to)], c[:len(to)], d[:len(to)]
	for i, v := range to {
		v += (a[i] + b[i]) * k
		to[i] = v + (c[i]+d[i])*l
	}
}

const truncate = 4 // deviations of scikit-image's Gaussian

func gaussianBlur(w *work, dst, src *Picture, sigma float64) {
	k := bell(sigma, truncate)
	w.blur(w.field(src.H, src.W, 3).of(src), k, k, nearest).write(dst)
}

// glass are the parameters of glassBlur.
type glass struct {
	sigma float64
	delta int // pixels that a pixel is taken from at most
	times int
}

// glassBlur blurs, copies to each pixel one near it, from the lower right to
// the upper left, and blurs. (The programs mean to swap the two, but assign
// through views of the same rows.)
func glassBlur(w *work, dst, src *Picture, g glass, d Draws) {
	k := bell(g.sigma, truncate)
	f := w.blur(w.field(src.H, src.W, 3).of(src), k, k, nearest)
	f.write(dst)
	moves := take(&w.ints, max(0, 2*(src.W-2*g.delta)))
	for range g.times {
		for y := src.H - g.delta; y > g.delta; y-- {
			d.Below(moves, -g.delta, g.delta)
			m := moves
			for x := src.W - g.delta; x > g.delta; x-- {
				to, from := 3*(y*src.W+x), 3*((y+m[1])*src.W+x+m[0])
				m = m[2:]
				t, s := dst.Pix[to:to+3:to+3], dst.Pix[from:from+3:from+3]
				t[0], t[1], t[2] = s[0], s[1], s[2]
			}
		}
	}
	w.blur(f.of(dst), k, k, nearest).write(dst)
}
