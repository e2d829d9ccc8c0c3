package corrupt

import "math"

// Perturbation is one of the sequences of ImageNet-P: frames of a photo that
// differ little from one to the next. They are made of a picture a little larger
// than the crop, whose middle is the frame.
type Perturbation struct {
	Name   string
	Frames int
	Noise  bool // frame 0 is the photo itself; the others do not follow each other
	Help   string

	frame func(w *work, dst, base *Picture, i int, d Draws)
}

// Perturbations returns the ten of the benchmark. Parameters are those of
// make_imagenet_p.py; snow has the flakes of severity 1 of ImageNet-C.
func Perturbations() []Perturbation {
	return []Perturbation{
		{"gaussian_noise", 31, true, "deviation 0.03", func(w *work, dst, base *Picture, i int, d Draws) {
			if i == 0 {
				copy(dst.Pix, base.Pix)
				return
			}
			gaussianNoise(w, dst, base, 0.03, d)
		}},
		{"shot_noise", 31, true, "300 photons", func(w *work, dst, base *Picture, i int, d Draws) {
			if i == 0 {
				copy(dst.Pix, base.Pix)
				return
			}
			shotNoise(w, dst, base, 300, d)
		}},
		{"motion_blur", 31, false, "the angle turns by 4°", func(w *work, dst, base *Picture, i int, _ Draws) {
			f := w.field(base.H, base.W, 3).of(base)
			w.smear(f, motion{10, 3}.trail(float64(i-30)*4, base.W, base.H)).write(dst)
		}},
		{"zoom_blur", 31, false, "one more picture, 0.4 % larger, in the mean", func(w *work, dst, base *Picture, i int, _ Draws) {
			zoomBlur(w, dst, base, span{1, 1 + .004*float64(i) + .002, .004}, Original)
		}},
		{"brightness", 31, false, "0.02 more light", func(w *work, dst, base *Picture, i int, _ Draws) {
			c := float64(i-15) * .02
			for j := 0; j+2 < len(base.Pix); j += 3 {
				h, s, v := hsv(base.Pix[j : j+3 : j+3])
				rgb(dst.Pix[j:j+3:j+3], h, s, min(max(v+c, 0), 1))
			}
		}},
		{"snow", 31, false, "flakes fall at 4° more", func(w *work, dst, base *Picture, i int, d Draws) {
			snow(w, dst, base, flakes{.1, .3, 3, .5, motion{14, 4}, .85}, Original, turning{d, float64(4*i-150)/90 + 1.5})
		}},
		{"translate", 41, false, "a pixel to the right", func(_ *work, dst, base *Picture, i int, _ Draws) {
			warp(dst, base, [9]float64{1, 0, float64(20 - i), 0, 1, 0, 0, 0, 1})
		}},
		{"rotate", 31, false, "1°", func(_ *work, dst, base *Picture, i int, _ Draws) {
			sin, cos := math.Sincos(float64(i-15) * math.Pi / 180)
			about(dst, base, [9]float64{cos, sin, 0, -sin, cos, 0, 0, 0, 1})
		}},
		{"tilt", 31, false, "1° about both axes", func(_ *work, dst, base *Picture, i int, _ Draws) {
			about(dst, base, inverse(tilted(float64(i-15)*math.Pi/180, math.Hypot(float64(base.W), float64(base.H)))))
		}},
		{"scale", 31, false, "2.5 % larger, from 40 %", func(_ *work, dst, base *Picture, i int, _ Draws) {
			k := 100 / (40 + 2.5*float64(i))
			about(dst, base, [9]float64{k, 0, 0, 0, k, 0, 0, 0, 1})
		}},
	}
}

// turning is Draws whose uniform number, by which snow chooses its angle, is
// given.
type turning struct {
	Draws
	at float64
}

func (t turning) Uniform(dst []float64) {
	for i := range dst {
		dst[i] = t.at
	}
}

// Frame writes frame i, w × h pixels from the middle of base. The Draws of a
// frame with Noise are its own; those of the others are the same for all frames.
func (p Perturbation) Frame(dst, base *Picture, i, w, h int, d Draws) error {
	if err := base.check(); err != nil {
		return err
	}
	m := works.Get().(*work)
	defer works.Put(m)
	defer m.done()
	whole := Picture{base.W, base.H, take(&m.bytes, len(base.Pix))}
	p.frame(m, &whole, base, i, d)
	dst.Set(w, h)
	x0, y0 := (base.W-w)/2, (base.H-h)/2
	for y := range h {
		copy(dst.Pix[3*y*w:][:3*w], whole.Pix[3*((y0+y)*base.W+x0):])
	}
	return nil
}

// tilted is the projection of a plane that is turned about both axes, seen from
// as far as its diagonal.
func tilted(angle, far float64) [9]float64 {
	sin, cos := math.Sincos(angle)
	// Rows of Rx(angle)·Ry(angle) without the third column: the plane has z = 0.
	r := [3][2]float64{{cos, 0}, {sin * sin, cos}, {-cos * sin, sin}}
	return [9]float64{
		far * r[0][0], far * r[0][1], 0,
		far * r[1][0], far * r[1][1], 0,
		r[2][0], r[2][1], far,
	}
}

// inverse is that of a matrix of 3 × 3, row by row.
func inverse(m [9]float64) [9]float64 {
	a, b, c, d, e, f, g, h, i := m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8]
	det := a*(e*i-f*h) - b*(d*i-f*g) + c*(d*h-e*g)
	return [9]float64{
		(e*i - f*h) / det, (c*h - b*i) / det, (b*f - c*e) / det,
		(f*g - d*i) / det, (a*i - c*g) / det, (c*d - a*f) / det,
		(d*h - e*g) / det, (b*g - a*h) / det, (a*e - b*d) / det,
	}
}

// about is warp by a map about the middle of the picture.
func about(dst, src *Picture, m [9]float64) {
	cx, cy := float64(src.W-1)/2, float64(src.H-1)/2
	// T(c)·m·T(-c)
	left := [9]float64{m[0] + cx*m[6], m[1] + cx*m[7], m[2] + cx*m[8], m[3] + cy*m[6], m[4] + cy*m[7], m[5] + cy*m[8], m[6], m[7], m[8]}
	for r := range 3 {
		left[3*r+2] -= left[3*r]*cx + left[3*r+1]*cy
	}
	warp(dst, src, left)
}

// warp fills dst with what lies at m·(x, y, 1) of src, between pixels; beyond
// the picture it is black.
func warp(dst, src *Picture, m [9]float64) {
	at := func(x, y, c int) float64 {
		if x < 0 || y < 0 || x >= src.W || y >= src.H {
			return 0
		}
		return float64(src.Pix[3*(y*src.W+x)+c])
	}
	for y := range dst.H {
		for x := range dst.W {
			u, v := float64(x), float64(y)
			z := m[6]*u + m[7]*v + m[8]
			sx, sy := (m[0]*u+m[1]*v+m[2])/z, (m[3]*u+m[4]*v+m[5])/z
			fx, fy := math.Floor(sx), math.Floor(sy)
			ix, iy := int(fx), int(fy)
			fx, fy = sx-fx, sy-fy
			for c := range 3 {
				above := at(ix, iy, c)*(1-fx) + at(ix+1, iy, c)*fx
				below := at(ix, iy+1, c)*(1-fx) + at(ix+1, iy+1, c)*fx
				dst.Pix[3*(y*dst.W+x)+c] = uint8(above*(1-fy) + below*fy + 0.5)
			}
		}
	}
}
