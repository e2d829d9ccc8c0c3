package corrupt

import "math"

// contrast brings values nearer to their channel's mean.
func contrast(_ *work, dst, src *Picture, c float64) {
	var sums [3]int
	for i := 0; i+2 < len(src.Pix); i += 3 {
		sums[0] += int(src.Pix[i])
		sums[1] += int(src.Pix[i+1])
		sums[2] += int(src.Pix[i+2])
	}
	var of [3][256]uint8
	for ch := range of {
		mean := float64(sums[ch]) / 255 / float64(src.W*src.H)
		for v := range of[ch] {
			of[ch][v] = level((unit[v]-mean)*c + mean)
		}
	}
	for i := 0; i+2 < len(src.Pix); i += 3 {
		dst.Pix[i], dst.Pix[i+1], dst.Pix[i+2] = of[0][src.Pix[i]], of[1][src.Pix[i+1]], of[2][src.Pix[i+2]]
	}
}

// hsv is a pixel's hue, saturation and value, each in [0, 1], in the order of
// scikit-image's arithmetic.
func hsv(p []uint8) (h, s, v float64) {
	r, g, b := unit[p[0]], unit[p[1]], unit[p[2]]
	v = unit[max(p[0], p[1], p[2])]
	delta := v - unit[min(p[0], p[1], p[2])]
	if delta == 0 {
		return 0, 0, v
	}
	switch v { // the later wins where two are the largest
	case b:
		h = 4 + (r-g)/delta
	case g:
		h = 2 + (b-r)/delta
	default:
		h = (g - b) / delta
	}
	h /= 6
	if h < 0 {
		h++
	}
	return h, delta / v, v
}

// rgb is the way back.
func rgb(to []uint8, h, s, v float64) {
	i := math.Floor(h * 6)
	f := h*6 - i
	p, q, t := v*(1-s), v*(1-f*s), v*(1-(1-f)*s)
	var r, g, b float64
	switch int(i) {
	case 0, 6:
		r, g, b = v, t, p
	case 1:
		r, g, b = q, v, p
	case 2:
		r, g, b = p, v, t
	case 3:
		r, g, b = p, q, v
	case 4:
		r, g, b = t, p, v
	default:
		r, g, b = v, p, q
	}
	to[0], to[1], to[2] = level(r), level(g), level(b)
}

// brightness adds c to the value of each pixel, hue and saturation kept.
func brightness(_ *work, dst, src *Picture, c float64) {
	for i := 0; i+2 < len(src.Pix); i += 3 {
		h, s, v := hsv(src.Pix[i : i+3 : i+3])
		rgb(dst.Pix[i:i+3:i+3], h, s, min(v+c, 1))
	}
}

// saturate multiplies the saturation of each pixel and adds to it.
func saturate(_ *work, dst, src *Picture, by [2]float64) {
	for i := 0; i+2 < len(src.Pix); i += 3 {
		h, s, v := hsv(src.Pix[i : i+3 : i+3])
		rgb(dst.Pix[i:i+3:i+3], h, min(max(s*by[0]+by[1], 0), 1), v)
	}
}
