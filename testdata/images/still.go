//go:build ignore

package main

import "math"

// hash is a number in [0, 1) for a lattice point.
func hash(x, y float64) float64 {
	v := math.Sin(x*127.1+y*311.7) * 43758.5453
	return v - math.Floor(v)
}

// cloud is four octaves of smooth noise, about 0.5.
func cloud(x, y float64) float64 {
	sum, weight := 0.0, 0.5
	for range 4 {
		fx, fy := math.Floor(x), math.Floor(y)
		u, v := ramp(x-fx), ramp(y-fy)
		top := hash(fx, fy)*(1-u) + hash(fx+1, fy)*u
		bottom := hash(fx, fy+1)*(1-u) + hash(fx+1, fy+1)*u
		sum += weight * (top*(1-v) + bottom*v)
		x, y, weight = x*2+3.1, y*2+1.7, weight/2
	}
	return sum
}

func ramp(t float64) float64 { return t * t * (3 - 2*t) }

// step goes from 0 at a to 1 at b.
func step(a, b, v float64) float64 { return ramp(min(max((v-a)/(b-a), 0), 1)) }

// ball is the normal of a sphere at (x, y); inside is false beyond its rim.
func ball(x, y, cx, cy, r float64) (nx, ny, nz float64, inside bool) {
	nx, ny = (x-cx)/r, (y-cy)/r
	d := nx*nx + ny*ny
	if d >= 1 {
		return 0, 0, 0, false
	}
	return nx, ny, math.Sqrt(1 - d), true
}

// lit is a surface under a lamp from the upper left, with a highlight.
func lit(c rgb, nx, ny, nz, gloss float64) rgb {
	light := max(0, -0.5*nx-0.6*ny+0.62*nz)
	shine := gloss * math.Pow(max(0, -0.3*nx-0.4*ny+0.866*nz), 24)
	return c.scale(0.28 + 0.8*light).add(rgb{shine, shine, shine})
}

// table is wood under a wall, darker where (cx, cy) throws its shadow.
func table(x, y, cx, cy, r float64) rgb {
	c := rgb{0.80, 0.78, 0.73}.scale(0.85 + 0.2*cloud(x*3, y*3))
	if y > 0.55 {
		grain := cloud(x*4, y*60)
		c = rgb{0.55, 0.36, 0.20}.scale(0.7 + 0.5*grain)
	}
	dx, dy := (x-cx)/r, (y-cy)/(r*0.28)
	return c.scale(1 - 0.6*math.Exp(-dx*dx-dy*dy))
}

func basketball(x, y float64) rgb {
	const cx, cy, r = 0.67, 0.48, 0.36
	nx, ny, nz, in := ball(x, y, cx, cy, r)
	if !in {
		return table(x, y, cx+0.08, cy+r, r)
	}
	// The ball is turned a little before its seams are drawn.
	a, b := 0.5, 0.35
	px, py := nx*math.Cos(a)-ny*math.Sin(a), nx*math.Sin(a)+ny*math.Cos(a)
	py, pz := py*math.Cos(b)-nz*math.Sin(b), py*math.Sin(b)+nz*math.Cos(b)
	seam := min(math.Abs(px), math.Abs(py))
	for _, side := range []float64{-1, 1} {
		d := math.Hypot(px-side*1.12, pz*0.9)
		seam = min(seam, math.Abs(d-0.72))
	}
	pebble := 0.9 + 0.25*(cloud(px*45, py*45+pz*20)-0.5)
	c := rgb{0.85, 0.40, 0.13}.scale(pebble)
	return lit(c.mix(rgb{0.07, 0.05, 0.05}, 1-step(0.016, 0.03, seam)), nx, ny, nz, 0.25)
}

func orange(x, y float64) rgb {
	c := table(x, y, 0.72, 0.80, 0.5)
	for _, o := range [][3]float64{{0.42, 0.52, 0.27}, {0.90, 0.57, 0.29}, {0.64, 0.70, 0.25}} {
		nx, ny, nz, in := ball(x, y, o[0], o[1], o[2])
		if !in {
			continue
		}
		pores := cloud(nx*30/(0.3+nz)+o[0]*50, ny*30/(0.3+nz))
		skin := rgb{0.98, 0.55, 0.06}.scale(0.88 + 0.22*pores)
		navel := math.Hypot(nx-0.15, ny+0.55)
		skin = skin.mix(rgb{0.30, 0.42, 0.10}, 1-step(0.03, 0.07, navel))
		c = lit(skin, nx+0.15*(pores-0.5), ny+0.15*(cloud(ny*30, nx*30)-0.5), nz, 0.45)
	}
	return c
}

func banana(x, y float64) rgb {
	c := table(x, y, 0.68, 0.78, 0.55)
	for i, off := range []float64{0.10, 0.0, -0.10} {
		// An arc about a centre above the picture, thinner at its ends.
		dx, dy := x-0.68, y-(0.12-off*0.9)
		d, t := math.Hypot(dx, dy), math.Atan2(dx, dy)
		end := math.Abs(t+0.1+0.03*float64(i)) / 0.98
		if end > 1 {
			continue
		}
		half := 0.085 * math.Sqrt(1-math.Pow(end, 6))
		v := (d - 0.50) / half
		if math.Abs(v) > 1 {
			continue
		}
		facet := math.Round(v*1.6) / 1.6
		skin := rgb{0.98, 0.84, 0.18}.scale(0.92 + 0.16*cloud(t*14, v*2))
		skin = skin.mix(rgb{0.62, 0.66, 0.18}, step(0.75, 0.95, end)*0.7)
		skin = skin.mix(rgb{0.22, 0.15, 0.07}, step(0.955, 0.985, end))
		skin = skin.mix(rgb{0.40, 0.25, 0.10}, step(0.70, 0.78, cloud(t*40+9*off, d*90)))
		n := 0.55*v + 0.45*facet
		c = lit(skin, 0, n*0.9, math.Sqrt(1-0.8*n*n), 0.15)
	}
	return c
}

func pizza(x, y float64) rgb {
	dx, dy := x-0.667, (y-0.5)*1.12
	d, t := math.Hypot(dx, dy), math.Atan2(dy, dx)
	rim := 0.46 + 0.012*math.Sin(5*t) + 0.008*math.Sin(11*t+1)
	switch {
	case d > rim+0.05:
		return table(x, y+0.5, 0.7, 1.05, 0.6)
	case d > rim+0.035:
		return rgb{0.85, 0.85, 0.86}
	}
	crust := rgb{0.80, 0.56, 0.28}.mix(rgb{0.42, 0.24, 0.10}, step(0.5, 0.8, cloud(x*22, y*22)))
	if d > rim-0.05 {
		v := (d - rim + 0.008) / 0.045
		return lit(crust, v*dx/d, v*dy/d, math.Sqrt(max(0.05, 1-v*v)), 0.1)
	}
	melt := cloud(x*13, y*13)
	c := rgb{0.94, 0.78, 0.38}.mix(rgb{0.78, 0.22, 0.08}, step(0.48, 0.62, melt))
	c = c.mix(rgb{0.70, 0.45, 0.15}, step(0.60, 0.75, cloud(x*25+7, y*25)))
	for i := range 11 {
		a := float64(i) * 2.399
		r := 0.36 * math.Sqrt((float64(i)+0.6)/11)
		px, py := r*math.Cos(a), r*math.Sin(a)
		if e := math.Hypot(dx-px, dy-py); e < 0.062 {
			slice := rgb{0.72, 0.14, 0.10}.scale(0.8 + 0.4*cloud(x*60, y*60))
			c = slice.mix(rgb{0.45, 0.07, 0.05}, step(0.050, 0.058, e))
		}
	}
	for i := range 14 {
		a := float64(i)*1.7 + 0.4
		r := 0.38 * math.Sqrt((float64(i)+0.3)/14)
		u, v := dx-r*math.Cos(a), dy-r*math.Sin(a)
		u, v = u*math.Cos(3*a)+v*math.Sin(3*a), v*math.Cos(3*a)-u*math.Sin(3*a)
		if math.Hypot(u/0.035, v/0.016) < 1 {
			c = rgb{0.16, 0.42, 0.12}.scale(0.7 + 0.6*cloud(u*90, v*90))
		}
	}
	return c.scale(0.92 + 0.2*cloud(x*40, y*40))
}
