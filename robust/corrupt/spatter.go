package corrupt

import "math"

// drops are the parameters of spatter.
type drops struct {
	mean, sigma float64 // of the noise that becomes drops
	size        float64 // deviation of the Gaussian that smooths it
	threshold   float64 // below which there are none
	strength    float64 // of water; of mud the deviation of a second Gaussian
	mud         bool
}

// spatter splashes water or mud on the picture.
func spatter(w *work, dst, src *Picture, s drops, d Draws) {
	liquid := w.field(src.H, src.W, 1)
	d.Normal(liquid.v)
	for i, v := range liquid.v {
		liquid.v[i] = s.mean + s.sigma*v
	}
	k := bell(s.size, truncate)
	w.blur(liquid, k, k, nearest)
	for i, v := range liquid.v {
		if v < s.threshold {
			liquid.v[i] = 0
		}
	}
	if s.mud {
		w.mud(dst, src, liquid, s)
		return
	}
	w.water(dst, src, liquid, s)
}

// mud is brown where it is thick.
func (w *work) mud(dst, src *Picture, liquid field, s drops) {
	for i, v := range liquid.v {
		liquid.v[i] = 0
		if v > s.threshold {
			liquid.v[i] = 1
		}
	}
	k := bell(s.strength, truncate)
	w.blur(liquid, k, k, nearest)
	brown := [3]float64{63.0 / 255, 42.0 / 255, 20.0 / 255}
	for i, v := range liquid.v {
		m := float32(v)
		if m < 0.8 {
			m = 0
		}
		for c, b := range brown {
			x := float32(src.Pix[3*i+c]) / 255 * (1 - m)
			dst.Pix[3*i+c] = level(float64(x) + b*float64(m))
		}
	}
}

// water is pale turquoise, brighter towards the lower right of each drop.
func (w *work) water(dst, src *Picture, liquid field, s drops) {
	h, wd := src.H, src.W
	layer := take(&w.bytes, h*wd)
	for i, v := range liquid.v {
		layer[i] = uint8(v * 255)
	}
	far := w.distances(w.edges(layer, h, wd, 50, 150), h, wd)
	for i, v := range far {
		far[i] = min(v, 20)
	}
	depth := take(&w.bytes, h*wd)
	window(far, h, wd, func(i int, at *[9]float32) {
		sum := 0.0
		for _, v := range at {
			sum += float64(v)
		}
		depth[i] = uint8(float32(sum * (1.0 / 9)))
	})
	equalise(depth)
	lit := take(&w.bytes, h*wd)
	window(depth, h, wd, func(i int, at *[9]uint8) { // light from the upper left
		v := -2*int(at[0]) - int(at[1]) - int(at[3]) + int(at[4]) + int(at[5]) + int(at[7]) + 2*int(at[8])
		lit[i] = uint8(min(max(v, 0), 255))
	})
	m := far
	highest := float32(0)
	window(lit, h, wd, func(i int, at *[9]uint8) {
		sum := 0
		for _, v := range at {
			sum += int(v)
		}
		m[i] = float32(layer[i]) * float32((2*sum+9)/18)
		highest = max(highest, m[i])
	})
	color := [3]float32{175.0 / 255, 238.0 / 255, 238.0 / 255}
	strength := float32(s.strength)
	for i, v := range m {
		if highest > 0 {
			v = v / highest * strength
		}
		for c, k := range color {
			x := float32(src.Pix[3*i+c])/255 + v*k
			dst.Pix[3*i+c] = uint8(min(max(x, 0), 1) * 255)
		}
	}
}

// window calls f for each value with the 3 × 3 around it; the border is
// reflected (c b | a b c).
func window[T any](v []T, h, w int, f func(i int, at *[9]T)) {
	var at [9]T
	for y := range h {
		a, b, c := v[reflect101(y-1, h)*w:][:w], v[y*w:][:w], v[reflect101(y+1, h)*w:][:w]
		for x := range w {
			l, r := max(x-1, 1-x), x+1
			if r == w {
				r = max(w-2, 0)
			}
			at = [9]T{a[l], a[x], a[r], b[l], b[x], b[r], c[l], c[x], c[r]}
			f(y*w+x, &at)
		}
	}
}

// equalise spreads the levels evenly over 0 to 255: OpenCV's equalizeHist.
func equalise(v []uint8) {
	var hist [256]int
	for _, b := range v {
		hist[b]++
	}
	i := 0
	for hist[i] == 0 {
		i++
	}
	if hist[i] == len(v) {
		return
	}
	k := float32(255) / float32(len(v)-hist[i])
	var of [256]uint8
	sum := 0
	for i++; i < 256; i++ {
		sum += hist[i]
		of[i] = uint8(min(math.RoundToEven(float64(float32(sum)*k)), 255))
	}
	for i, b := range v {
		v[i] = of[b]
	}
}

// edges are those of Canny: 0 where there is one and 255 elsewhere. The
// gradient is Sobel's, its size the sum of both directions.
//
// Canny, "A Computational Approach to Edge Detection",
// https://doi.org/10.1109/TPAMI.1986.4767851, in OpenCV's integers.
func (w *work) edges(v []uint8, h, wd, low, high int) []uint8 {
	stride := wd + 2
	dx, dy, size := take(&w.ints, h*wd), take(&w.ints, h*wd), take(&w.ints, (h+2)*stride)
	clear(size)
	for y := range h {
		a, b, c := v[nearest(y-1, h)*wd:][:wd], v[y*wd:][:wd], v[nearest(y+1, h)*wd:][:wd]
		for x := range wd {
			l, r := nearest(x-1, wd), nearest(x+1, wd)
			gx := int(a[r]) + 2*int(b[r]) + int(c[r]) - int(a[l]) - 2*int(b[l]) - int(c[l])
			gy := int(c[l]) + 2*int(c[x]) + int(c[r]) - int(a[l]) - 2*int(a[x]) - int(a[r])
			dx[y*wd+x], dy[y*wd+x] = gx, gy
			size[(y+1)*stride+x+1] = max(gx, -gx) + max(gy, -gy)
		}
	}
	const candidate, edge = 1, 0
	out := take(&w.bytes, h*wd)
	var strong []int
	for y := range h {
		for x := range wd {
			i, at := y*wd+x, (y+1)*stride+x+1
			out[i] = 255
			if size[at] <= low || !ridge(size, at, stride, dx[i], dy[i]) {
				continue
			}
			out[i] = candidate
			if size[at] > high {
				out[i] = edge
				strong = append(strong, i)
			}
		}
	}
	for len(strong) > 0 { // candidates beside edges are edges
		i := strong[len(strong)-1]
		strong = strong[:len(strong)-1]
		for y := max(i/wd-1, 0); y <= min(i/wd+1, h-1); y++ {
			for x := max(i%wd-1, 0); x <= min(i%wd+1, wd-1); x++ {
				if out[y*wd+x] == candidate {
					out[y*wd+x] = edge
					strong = append(strong, y*wd+x)
				}
			}
		}
	}
	for i, b := range out {
		if b == candidate {
			out[i] = 255
		}
	}
	return out
}

// ridge reports whether a gradient is the largest along its direction, of four.
func ridge(size []int, at, stride, gx, gy int) bool {
	const tan22 = 13573 // tan 22.5°, scaled by 2¹⁵
	m := size[at]
	x, y := max(gx, -gx), max(gy, -gy)<<15
	switch t := x * tan22; {
	case y < t:
		return m > size[at-1] && m >= size[at+1]
	case y > t+x<<16:
		return m > size[at-stride] && m >= size[at+stride]
	case (gx ^ gy) < 0:
		return m > size[at-stride+1] && m > size[at+stride-1]
	}
	return m > size[at-stride-1] && m > size[at+stride+1]
}

// distances are those to the nearest zero, by steps of 1, 1.4 and 2.1969.
//
// Borgefors, "Distance Transformations in Digital Images",
// https://doi.org/10.1016/S0734-189X(86)80047-0.
func (w *work) distances(v []uint8, h, wd int) []float32 {
	const straight, diagonal, knight, beyond = 1, 1.4, 2.1969, 1 << 20
	stride := wd + 4
	d := make([]float32, (h+4)*stride)
	for i := range d {
		d[i] = beyond
	}
	steps := [8]struct {
		at int
		by float32
	}{
		{-1, straight}, {-stride, straight}, {-stride - 1, diagonal}, {-stride + 1, diagonal},
		{-stride - 2, knight}, {-stride + 2, knight}, {-2*stride - 1, knight}, {-2*stride + 1, knight},
	}
	for y := range h {
		for x := range wd {
			i := (y+2)*stride + x + 2
			if v[y*wd+x] == 0 {
				d[i] = 0
				continue
			}
			for _, s := range steps {
				d[i] = min(d[i], d[i+s.at]+s.by)
			}
		}
	}
	out := make([]float32, h*wd)
	for y := h - 1; y >= 0; y-- {
		for x := wd - 1; x >= 0; x-- {
			i := (y+2)*stride + x + 2
			for _, s := range steps {
				d[i] = min(d[i], d[i-s.at]+s.by)
			}
			out[y*wd+x] = d[i]
		}
	}
	return out
}
