package corrupt

import "math"

// stretch are the parameters of elastic in the package's flavour, as shares of
// 250 pixels; of the original in pixels.
type stretch struct {
	alpha  float64 // the displacement's factor
	sigma  float64 // that smooths it; of the original only
	affine float64 // how far each of three points moves; likewise
	amount float64 // the package's displacement, as a share of 250 pixels
}

// elastic moves each pixel by smoothed noise.
func elastic(w *work, dst, src *Picture, s stretch, f Flavour, d Draws) {
	pic := w.field(src.H, src.W, 3).of(src)
	high, alpha := 0.005*float64(src.H), 250*s.amount
	ky, kx := bell(0.01*float64(src.H), 3), bell(0.01*float64(src.W), 3)
	if f == Original {
		pic = w.affine(pic, s.affine, d)
		high, alpha = 1, s.alpha
		ky = bell(s.sigma, 3)
		kx = ky
	}
	var move [2]field // x, y
	for i := range move {
		m := w.field(src.H, src.W, 1)
		d.Uniform(m.v)
		for j, v := range m.v {
			m.v[j] = -high + 2*high*v
		}
		move[i] = w.blur(m, ky, kx, reflect)
	}
	for y := range src.H {
		mx, my := move[0].row(y), move[1].row(y)
		for x := range src.W {
			sx := fold(float64(x)+float64(float32(mx[x]*alpha)), src.W)
			sy := fold(float64(y)+float64(float32(my[x]*alpha)), src.H)
			pic.sample(dst.Pix[3*(y*src.W+x):][:3:3], sx, sy)
		}
	}
}

// fold brings a coordinate back into 0 to n-1 by reflection at the edges of the
// outer pixels; between those edges and their middles the outer pixel goes on.
func fold(x float64, n int) float64 {
	if x >= 0 && x <= float64(n-1) {
		return x
	}
	x = math.Mod(x+0.5, float64(2*n))
	if x < 0 {
		x += float64(2 * n)
	}
	if x > float64(n) {
		x = float64(2*n) - x
	}
	return min(max(x-0.5, 0), float64(n-1))
}

// sample writes the value between four pixels.
func (f field) sample(to []uint8, x, y float64) {
	ix, iy := min(int(x), f.w-2), min(int(y), f.h-2)
	fx, fy := x-float64(ix), y-float64(iy)
	a := f.v[(iy*f.w+ix)*3:][:6:6]
	b := f.v[((iy+1)*f.w+ix)*3:][:6:6]
	for c := range 3 {
		above, below := a[c]+(a[c+3]-a[c])*fx, b[c]+(b[c+3]-b[c])*fx
		to[c] = level(above + (below-above)*fy)
	}
}

// affine moves three points about the middle at random and the picture with
// them; beyond its border it is reflected (c b | a b c).
func (w *work) affine(f field, by float64, d Draws) field {
	var u [6]float64
	d.Uniform(u[:])
	cx, cy := float64(f.w/2), float64(f.h/2)
	side := float64(min(f.h, f.w) / 3)
	from := [3][2]float64{{cx + side, cy + side}, {cx + side, cy - side}, {cx - side, cy - side}}
	to := from
	for i := range to {
		for j := range 2 {
			to[i][j] += -by + 2*by*u[2*i+j]
		}
	}
	// The map from destination to source: of the three points, to → from.
	m := throughPoints(to, from)
	out := w.field(f.h, f.w, f.c)
	for y := range f.h {
		for x := range f.w {
			sx := m[0][0]*float64(x) + m[0][1]*float64(y) + m[0][2]
			sy := m[1][0]*float64(x) + m[1][1]*float64(y) + m[1][2]
			ix, iy := int(math.Floor(sx)), int(math.Floor(sy))
			fx, fy := sx-float64(ix), sy-float64(iy)
			x0, x1 := f.c*reflect101(ix, f.w), f.c*reflect101(ix+1, f.w)
			a, b := f.row(reflect101(iy, f.h)), f.row(reflect101(iy+1, f.h))
			for c := range f.c {
				above, below := a[x0+c]+(a[x1+c]-a[x0+c])*fx, b[x0+c]+(b[x1+c]-b[x0+c])*fx
				out.v[(y*f.w+x)*f.c+c] = above + (below-above)*fy
			}
		}
	}
	return out
}

// throughPoints is the affine map that takes three points to three others, by
// Cramer's rule.
func throughPoints(p, q [3][2]float64) (m [2][3]float64) {
	det := p[0][0]*(p[1][1]-p[2][1]) + p[1][0]*(p[2][1]-p[0][1]) + p[2][0]*(p[0][1]-p[1][1])
	for i := range m {
		a, b, c := q[0][i], q[1][i], q[2][i]
		m[i][0] = (a*(p[1][1]-p[2][1]) + b*(p[2][1]-p[0][1]) + c*(p[0][1]-p[1][1])) / det
		m[i][1] = (a*(p[2][0]-p[1][0]) + b*(p[0][0]-p[2][0]) + c*(p[1][0]-p[0][0])) / det
		m[i][2] = a - m[i][0]*p[0][0] - m[i][1]*p[0][1]
	}
	return m
}
