//go:build ignore

package main

import "math"

// outdoors is a sky over grass, a road where road is true.
func outdoors(x, y float64, road bool) rgb {
	if y < 0.58 {
		sky := rgb{0.45, 0.65, 0.92}.mix(rgb{0.80, 0.88, 0.96}, y/0.58)
		sky = sky.mix(rgb{0.98, 0.98, 0.98}, step(0.5, 0.7, cloud(x*3, y*6)))
		if trees := 0.50 + 0.10*cloud(x*7, 3); y > trees {
			return rgb{0.13, 0.30, 0.12}.scale(0.6 + 0.9*cloud(x*40, y*40))
		}
		return sky
	}
	if road && y > 0.72 {
		return rgb{0.36, 0.36, 0.38}.scale(0.85 + 0.3*cloud(x*60, y*60))
	}
	return rgb{0.32, 0.52, 0.18}.scale(0.6 + 0.8*cloud(x*50, y*80))
}

// box is the signed distance to a rounded rectangle.
func box(x, y, x0, y0, x1, y1, r float64) float64 {
	dx := math.Abs(x-(x0+x1)/2) - (x1-x0)/2 + r
	dy := math.Abs(y-(y0+y1)/2) - (y1-y0)/2 + r
	return math.Hypot(max(dx, 0), max(dy, 0)) + min(max(dx, dy), 0) - r
}

func schoolBus(x, y float64) rgb {
	c := outdoors(x, y, true)
	c = c.scale(1 - 0.5*math.Exp(-math.Pow((y-0.84)/0.04, 2))*step(0.05, 0.15, x)*(1-step(1.2, 1.32, x)))
	yellow := rgb{0.98, 0.72, 0.05}
	body := min(box(x, y, 0.10, 0.24, 1.06, 0.76, 0.05), box(x, y, 0.95, 0.48, 1.25, 0.76, 0.05))
	if body < 0 {
		c = yellow.scale(1.05 - 0.45*math.Max(0, (y-0.3)))
		if y < 0.29 {
			c = yellow.scale(1.1)
		}
		for _, line := range []float64{0.50, 0.58, 0.66} {
			if math.Abs(y-line) < 0.008 {
				c = rgb{0.06, 0.06, 0.06}
			}
		}
		for i := range 7 {
			x0 := 0.14 + 0.115*float64(i)
			if w := box(x, y, x0, 0.32, x0+0.095, 0.46, 0.015); w < 0 {
				c = rgb{0.10, 0.13, 0.17}.mix(rgb{0.55, 0.68, 0.80}, step(0, 0.5, cloud(x*5, y*5))*0.6)
				if math.Abs(y-0.39) < 0.004 {
					c = rgb{0.3, 0.28, 0.2}
				}
			}
		}
		if box(x, y, 0.95, 0.32, 1.04, 0.50, 0.015) < 0 {
			c = rgb{0.16, 0.20, 0.25}
		}
		if math.Hypot(x-1.22, y-0.63) < 0.028 {
			c = rgb{0.98, 0.97, 0.85}
		}
		if math.Hypot(x-0.125, y-0.55) < 0.018 {
			c = rgb{0.85, 0.10, 0.08}
		}
		// Black letters of a plate above the windows, as bars.
		if y > 0.263 && y < 0.293 && x > 0.42 && x < 0.78 && math.Mod(x*36, 1) < 0.6 {
			c = rgb{0.05, 0.05, 0.05}
		}
	}
	if body >= 0 && box(x, y, 0.08, 0.74, 1.28, 0.79, 0.01) < 0 {
		c = rgb{0.08, 0.08, 0.09}
	}
	for _, wx := range []float64{0.30, 1.08} {
		switch d := math.Hypot(x-wx, y-0.78); {
		case d < 0.045:
			c = rgb{0.75, 0.75, 0.73}.scale(0.6 + 8*d)
		case d < 0.095:
			c = rgb{0.09, 0.09, 0.10}.scale(0.7 + 0.6*cloud(x*40, y*40))
		}
	}
	return c
}

func ladybug(x, y float64) rgb {
	// A leaf with veins, out of focus.
	vein := math.Abs(math.Mod(x*2.2+math.Abs(y-0.55)*2.4+3, 0.5) - 0.25)
	c := rgb{0.28, 0.56, 0.16}.scale(0.75+0.5*cloud(x*6, y*6)).mix(rgb{0.55, 0.75, 0.35}, 0.5*step(0.22, 0.25, vein))
	const cx, cy = 0.66, 0.50
	ux, uy := (x-cx)/0.36, (y-cy)/0.28
	shade := math.Hypot(ux-0.08, uy-0.15)
	c = c.scale(1 - 0.55*math.Exp(-math.Pow(shade, 6)))
	for _, lx := range []float64{-0.18, 0.0, 0.18} { // legs
		for _, side := range []float64{-1, 1} {
			t := (y - cy) * side
			if t > 0.15 && t < 0.40 && math.Abs(x-cx-lx-(t-0.2)*lx*2.5) < 0.013 {
				c = rgb{0.05, 0.04, 0.04}
			}
		}
	}
	if nx, ny, nz, in := ball(x, y, cx+0.33, cy, 0.14); in { // head
		c = lit(rgb{0.06, 0.05, 0.05}, nx, ny, nz, 0.5)
		for _, side := range []float64{-1, 1} {
			if math.Hypot(nx-0.35, ny-0.55*side) < 0.22 {
				c = lit(rgb{0.93, 0.92, 0.86}, nx, ny, nz, 0.3)
			}
		}
	}
	d := ux*ux + uy*uy
	if d < 1 {
		nz := math.Sqrt(1 - d)
		shell := rgb{0.86, 0.10, 0.05}.scale(0.95 + 0.1*cloud(x*20, y*20))
		if math.Abs(uy) < 0.015 {
			shell = rgb{0.08, 0.02, 0.02}
		}
		for _, s := range [][3]float64{{0.45, 0.32, 0.13}, {-0.05, 0.42, 0.17}, {-0.52, 0.30, 0.15}, {0.66, 0, 0.14}} {
			if e := math.Hypot(ux-s[0], math.Abs(uy)-s[1]); e < s[2] {
				shell = rgb{0.06, 0.04, 0.04}
			}
		}
		c = lit(shell, ux*0.9, uy*0.9, nz, 0.75)
	}
	return c
}

func umbrella(x, y float64) rgb {
	c := outdoors(x, y, false)
	const cx, cy, r = 0.667, 0.50, 0.44
	u := (x - cx) / r
	if math.Abs(x-cx) < 0.010 && y > 0.45 && y < 0.90 {
		c = rgb{0.35, 0.22, 0.12}
	}
	if d := math.Hypot(x-cx+0.04, y-0.90); y > 0.89 && math.Abs(d-0.04) < 0.011 {
		c = rgb{0.35, 0.22, 0.12}
	}
	if math.Abs(u) < 1 {
		top := cy - 0.36*math.Sqrt(1-u*u)
		// Eight panels hang between the ribs; seen from the side, the ribs
		// crowd towards the edges.
		panel := math.Asin(u) / math.Pi * 6
		hem := cy - 0.055*math.Abs(math.Sin(panel*math.Pi+math.Pi/2))*math.Sqrt(1-u*u*0.6)
		if y > top && y < hem {
			skin := rgb{0.86, 0.10, 0.14}
			if int(math.Floor(panel+0.5)+10)%2 == 0 {
				skin = rgb{0.95, 0.93, 0.88}
			}
			v := (y - top) / (cy - top + 1e-6)
			c = lit(skin.scale(0.93+0.14*cloud(x*12, y*12)), u*0.8, -0.7*(1-v), math.Sqrt(max(0.1, 1-u*u*0.64)), 0)
			if rib := math.Abs(panel + 0.5 - math.Round(panel+0.5)); rib < 0.02 {
				c = c.scale(0.6)
			}
		}
	}
	if math.Abs(x-cx) < 0.008 && y > 0.10 && y < 0.15 {
		c = rgb{0.2, 0.2, 0.2}
	}
	return c
}

func beacon(x, y float64) rgb {
	c := rgb{0.35, 0.58, 0.90}.mix(rgb{0.93, 0.90, 0.85}, y*1.3)
	c = c.mix(rgb{1, 1, 1}, step(0.48, 0.72, cloud(x*3+5, y*7)))
	if y > 0.70 { // the sea
		wave := cloud(x*9, y*70)
		c = rgb{0.10, 0.30, 0.45}.scale(0.7+0.7*wave).mix(rgb{0.9, 0.95, 1}, step(0.66, 0.74, wave))
	}
	cliff := 0.80 - 0.14*math.Exp(-math.Pow((x-0.72)/0.33, 2)) + 0.05*cloud(x*9, 1)
	if y > cliff {
		c = rgb{0.42, 0.37, 0.32}.scale(0.5 + cloud(x*18, y*18))
		if y < cliff+0.03 {
			c = rgb{0.30, 0.45, 0.18}.scale(0.7 + 0.6*cloud(x*50, y*50))
		}
	}
	const cx = 0.70
	half := 0.055 + 0.05*(y-0.2)
	if u := (x - cx) / half; math.Abs(u) < 1 && y > 0.27 && y < 0.73 {
		skin := rgb{0.96, 0.95, 0.93}
		if int(math.Floor((y-0.27)/0.092))%2 == 1 {
			skin = rgb{0.82, 0.12, 0.12}
		}
		if math.Abs(u) < 0.22 && (math.Abs(y-0.42) < 0.022 || math.Abs(y-0.60) < 0.022) {
			skin = rgb{0.12, 0.14, 0.18}
		}
		c = lit(skin, u, -0.2, math.Sqrt(1-u*u), 0)
	}
	switch {
	case box(x, y, cx-0.08, 0.255, cx+0.08, 0.275, 0.004) < 0:
		c = rgb{0.15, 0.15, 0.17}
	case box(x, y, cx-0.045, 0.17, cx+0.045, 0.256, 0.003) < 0:
		c = rgb{0.98, 0.93, 0.65}
		if math.Mod(math.Abs(x-cx)+0.006, 0.03) < 0.008 {
			c = rgb{0.2, 0.2, 0.22}
		}
	}
	if nx, ny, nz, in := ball(x, y, cx, 0.172, 0.05); in && y < 0.172 {
		c = lit(rgb{0.75, 0.12, 0.12}, nx, ny, nz, 0.5)
	}
	return c
}

func jellyfish(x, y float64) rgb {
	c := rgb{0.02, 0.10, 0.34}.mix(rgb{0.05, 0.30, 0.62}, 1-y).scale(0.8 + 0.4*cloud(x*3, y*3))
	glow := func(k float64, tint rgb) { c = c.add(tint.scale(k)) }
	const cx, cy = 0.66, 0.36
	// Tentacles and frilled arms wave below the bell.
	if y > cy {
		fade := 1 - step(0.5, 1.0, y)
		for i := range 15 {
			t := float64(i)/14*2 - 1
			wave := 0.035*math.Sin(y*16+float64(i)*1.9) + 0.02*math.Sin(y*31+float64(i))
			d := math.Abs(x - cx - t*0.24*(1-0.35*(y-cy)) - wave)
			glow(0.45*fade*math.Exp(-d*d/0.00002), rgb{0.95, 0.70, 0.75})
		}
		for i := range 4 {
			t := float64(i)/3*2 - 1
			d := math.Abs(x - cx - t*0.09 - 0.03*math.Sin(y*12+float64(i)*2))
			w := 0.018 + 0.012*cloud(y*25+float64(i)*5, 2)
			glow(0.6*fade*math.Exp(-d*d/(w*w)), rgb{0.98, 0.72, 0.62})
		}
	}
	u, v := (x-cx)/0.30, (y-cy)/0.24
	if d := u*u + v*v; d < 1 && v < 0.35+0.06*math.Cos(u*24) {
		rim := math.Pow(d, 3)
		stripe := 0.5 + 0.5*math.Cos(math.Atan2(u, 0.5-v)*22)
		glow(0.30+0.45*rim+0.18*stripe*d, rgb{0.98, 0.66, 0.58})
		for _, s := range []float64{-0.3, 0.3} {
			e := math.Hypot(u-s, v+0.15)
			glow(0.35*math.Exp(-math.Pow((e-0.2)/0.06, 2)), rgb{1, 0.75, 0.85})
		}
		shine := math.Hypot(u+0.35, v+0.5)
		glow(0.3*math.Exp(-shine*shine/0.05), rgb{1, 1, 1})
	}
	return c
}
