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
	const most = 20
	for i, v := range far {
		if v > most {
			far[i] = most
		}
	}
	depth := take(&w.bytes, h*wd)
	windows(w, &w.floats, far, h, wd, func(y int, a, b, c []float64) {
		to := depth[y*wd:][:wd]
		for x := range to {
			sum := a[x] + a[x+1] + a[x+2] + b[x] + b[x+1] + b[x+2] + c[x] + c[x+1] + c[x+2]
			to[x] = uint8(float32(sum * (1.0 / 9)))
		}
	})
	equalise(depth)
	lit := take(&w.bytes, h*wd)
	windows(w, &w.bytes, depth, h, wd, func(y int, a, b, c []uint8) { // light from the upper left
		to := lit[y*wd:][:wd]
		for x := range to {
			v := -2*int(a[x]) - int(a[x+1]) - int(b[x]) + int(b[x+1]) + int(b[x+2]) + int(c[x+1]) + 2*int(c[x+2])
			to[x] = uint8(min(max(v, 0), 255))
		}
	})
	m := far
	highest := 0.0
	windows(w, &w.bytes, lit, h, wd, func(y int, a, b, c []uint8) {
		to, of := m[y*wd:][:wd], layer[y*wd:][:wd]
		for x := range to {
			sum := int(a[x]) + int(a[x+1]) + int(a[x+2]) + int(b[x]) + int(b[x+1]) + int(b[x+2]) + int(c[x]) + int(c[x+1]) + int(c[x+2])
			v := float64(of[x]) * float64((2*sum+9)/18)
			to[x] = v
			if v > highest {
				highest = v
			}
		}
	})
	color := [3]float32{175.0 / 255, 238.0 / 255, 238.0 / 255}
	strength := float32(s.strength)
	for i, f := range m {
		v := float32(f)
		if highest > 0 {
			v = v / float32(highest) * strength
		}
		for c, k := range color {
			x := float32(src.Pix[3*i+c])/255 + v*k
			if x > 1 {
				x = 1
			}
			dst.Pix[3*i+c] = uint8(x * 255)
		}
	}
}

// windows calls f for each row with the rows around it, each with one value more
// on either side; the border is reflected (c b | a b c).
func windows[T any](w *work, of *[]lease[T], v []T, h, wd int, f func(y int, a, b, c []T)) {
	wide := take(of, 3*(wd+2))
	var rows [3][]T
	fill := func(y int) []T {
		from, to := v[y*wd:][:wd], wide[y%3*(wd+2):][:wd+2]
		copy(to[1:], from)
		to[0], to[wd+1] = from[min(1, wd-1)], from[max(wd-2, 0)]
		return to
	}
	rows[0], rows[1] = fill(0), fill(min(1, h-1))
	for y := range h {
		if y+1 < h {
			rows[(y+1)%3] = fill(y + 1)
		}
		f(y, rows[reflect101(y-1, h)%3], rows[y%3], rows[reflect101(y+1, h)%3])
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
func (w *work) distances(v []uint8, h, wd int) []float64 {
	// In OpenCV's fixed point: the steps times 2¹⁶.
	const straight, diagonal, knight, beyond = 1 << 16, 91750, 143976, 1 << 60
	stride := wd + 4
	d := take(&w.ints, (h+4)*stride)
	for i := range d {
		d[i] = beyond
	}
	for y := range h {
		row := d[(y+2)*stride:]
		one, two := d[(y+1)*stride:], d[y*stride:]
		for x, b := range v[y*wd:][:wd] {
			best := 0
			if b != 0 {
				best = min(
					row[x+1]+straight, one[x+2]+straight, one[x+1]+diagonal, one[x+3]+diagonal,
					one[x]+knight, one[x+4]+knight, two[x+1]+knight, two[x+3]+knight)
			}
			row[x+2] = best
		}
	}
	out := take(&w.floats, h*wd)
	for y := h - 1; y >= 0; y-- {
		row := d[(y+2)*stride:]
		one, two := d[(y+3)*stride:], d[min(y+4, h+3)*stride:]
		for x := wd - 1; x >= 0; x-- {
			best := min(
				row[x+2], row[x+3]+straight, one[x+2]+straight, one[x+1]+diagonal, one[x+3]+diagonal,
				one[x]+knight, one[x+4]+knight, two[x+1]+knight, two[x+3]+knight)
			row[x+2] = best
			out[y*wd+x] = float64(float32(best) * (1.0 / (1 << 16)))
		}
	}
	return out
}
