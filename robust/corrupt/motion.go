package corrupt

import "math"

// motion are the parameters of a motion blur.
type motion struct {
	radius int
	sigma  float64
}

// trail is where a moving picture has been: the taps of a motion blur.
type trail struct {
	dx, dy []int
	k      []float64
}

// trail returns 2r+1 taps with the weights of half a Gaussian, along a line at
// an angle in degrees. It ends where it leaves a picture of w × h.
func (m motion) trail(angle float64, w, h int) trail {
	n := 2*m.radius + 1
	sin, cos := math.Sincos(angle * math.Pi / 180)
	ry, rx := float64(n)*sin, float64(n)*cos
	length := math.Hypot(ry, rx)
	t := trail{k: make([]float64, n)}
	sum := 0.0
	for i := range t.k {
		x := float64(i)
		t.k[i] = math.Exp(-x*x/(2*m.sigma*m.sigma)) / (math.Sqrt(2*math.Pi) * m.sigma)
		sum += t.k[i]
	}
	for i := range t.k {
		dy, dx := -int(math.Ceil(float64(i)*ry/length-0.5)), -int(math.Ceil(float64(i)*rx/length-0.5))
		if max(dy, -dy) >= h || max(dx, -dx) >= w {
			t.k = t.k[:i]
			break
		}
		t.dx, t.dy = append(t.dx, dx), append(t.dy, dy)
		t.k[i] /= sum
	}
	return t
}

// smear is the sum of the picture moved along a trail. Beyond its edge the
// pixels of the edge are repeated.
func (w *work) smear(f field, t trail) field {
	var x0, x1, y0, y1 int // moved to the left, right, up, down at most
	for i := range t.k {
		x0, x1 = max(x0, -t.dx[i]), max(x1, t.dx[i])
		y0, y1 = max(y0, -t.dy[i]), max(y1, t.dy[i])
	}
	wide := w.field(f.h+y0+y1, f.w+x0+x1, f.c)
	for y := range wide.h {
		from, to := f.row(nearest(y-y1, f.h)), wide.row(y)
		copy(to[x1*f.c:], from)
		for x := range x1 {
			copy(to[x*f.c:(x+1)*f.c], from)
		}
		for x := range x0 {
			copy(to[(x1+f.w+x)*f.c:][:f.c], from[(f.w-1)*f.c:])
		}
	}
	at := func(y, i int) []float64 { return wide.row(y + y1 - t.dy[i])[(x1-t.dx[i])*f.c:] }
	for y := range f.h {
		to := f.row(y)
		clear(to)
		i := 0
		for ; i+4 <= len(t.k); i += 4 {
			addFour(to, at(y, i), at(y, i+1), at(y, i+2), at(y, i+3), (*[4]float64)(t.k[i:]))
		}
		for ; i < len(t.k); i++ {
			a, k := at(y, i)[:len(to)], t.k[i]
			for x, v := range a {
				to[x] += k * v
			}
		}
	}
	return f
}

func addFour(to, a, b, c, d []float64, k *[4]float64) {
	a, b, c, d = a[:len(to)], b[:len(to)], c[:len(to)], d[:len(to)]
	k0, k1, k2, k3 := k[0], k[1], k[2], k[3]
	for i, v := range to {
		v += k0 * a[i]
		v += k1 * b[i]
		v += k2 * c[i]
		to[i] = v + k3*d[i]
	}
}

// within is a random number from lo to hi.
func within(d Draws, lo, hi float64) float64 {
	var u [1]float64
	d.Uniform(u[:])
	return lo + (hi-lo)*u[0]
}

// longestTrail is beyond what any motion goes.
const longestTrail = 1 << 20

// trailOf is the trail in a picture of w × h: the original's, which is that of
// ImageMagick's MotionBlurImage, goes on where it has left the picture.
func (m motion) trailOf(angle float64, w, h int, f Flavour) trail {
	if f == Original {
		w, h = longestTrail, longestTrail
	}
	return m.trail(angle, w, h)
}

func motionBlur(w *work, dst, src *Picture, m motion, fl Flavour, d Draws) {
	t := m.trailOf(within(d, -45, 45), src.W, src.H, fl)
	f := w.field(src.H, src.W, 3)
	for i, v := range src.Pix {
		f.v[i] = float64(v)
	}
	for i, v := range w.smear(f, t).v {
		dst.Pix[i] = uint8(min(v, 255))
	}
}

// rounding is what sums of bytes are away from the byte that they are.
const rounding = 1e-9

// cropped is a part of a field.
func (w *work) cropped(f field, x0, y0, wide, high int) field {
	out := w.field(high, wide, f.c)
	for y := range high {
		copy(out.row(y), f.row(y0 + y)[x0*f.c:])
	}
	return out
}

// flakes are the parameters of snow.
type flakes struct {
	mean, sigma float64 // of the noise that becomes flakes
	zoom        float64
	threshold   float64 // below which there is none
	motion      motion
	mix         float64 // share of the picture that is not whitened
}

// snow whitens the picture and lays two layers of moved flakes on it, the
// second the first turned by 180°. In the package's flavour the enlarged layer is
// cut at the upper left and rounded to bytes; in the original's it is cut in the
// middle, and its bytes are cut off before and behind ImageMagick.
func snow(w *work, dst, src *Picture, s flakes, f Flavour, d Draws) {
	noise := w.field(src.H, src.W, 1)
	d.Normal(noise.v)
	for i, v := range noise.v {
		noise.v[i] = s.mean + s.sigma*v
	}
	layer := w.zoomed(noise, s.zoom)
	for i, v := range layer.v {
		if v < s.threshold {
			v = 0
		}
		layer.v[i] = min(max(v, 0), 1)
	}
	if f == Original {
		layer = w.cropped(layer, (layer.w-src.W)/2, (layer.h-src.H)/2, src.W, src.H)
		for i, v := range layer.v {
			layer.v[i] = math.Floor(v*255) / 255
		}
	}
	w.smear(layer, s.motion.trailOf(within(d, -135, -45), layer.w, layer.h, f))
	for i, v := range layer.v {
		if f == Original {
			layer.v[i] = math.Floor(v*255+rounding) / 255
		} else {
			layer.v[i] = math.RoundToEven(v*255) / 255
		}
	}
	keep, white := float32(s.mix), float32(1-s.mix)
	for y := range src.H {
		above, below := layer.row(y), layer.row(src.H-1-y)
		for x := range src.W {
			i := 3 * (y*src.W + x)
			p, to := src.Pix[i:i+3:i+3], dst.Pix[i:i+3:i+3]
			r, g, b := float32(p[0])/255, float32(p[1])/255, float32(p[2])/255
			light := (r*0.299+g*0.587+b*0.114)*1.5 + 0.5
			a, z := above[x], below[src.W-1-x]
			to[0] = level(float64(keep*r+white*max(r, light)) + a + z)
			to[1] = level(float64(keep*g+white*max(g, light)) + a + z)
			to[2] = level(float64(keep*b+white*max(b, light)) + a + z)
		}
	}
}
