package corrupt

// gaussianNoise adds noise of deviation sigma.
func gaussianNoise(w *work, dst, src *Picture, sigma float64, d Draws) {
	z := take(&w.floats, len(src.Pix))
	d.Normal(z)
	for i, v := range src.Pix {
		dst.Pix[i] = level(unit[v] + sigma*z[i])
	}
}

// shotNoise counts photons, of which white has scale on average.
func shotNoise(w *work, dst, src *Picture, scale float64, d Draws) {
	n := take(&w.counts, len(src.Pix))
	d.Poisson(n, src.Pix, scale)
	var of [256]uint8
	for i := range of {
		of[i] = level(float64(i) / scale)
	}
	for i, v := range n {
		dst.Pix[i] = of[min(v, 255)]
	}
}

// impulseNoise makes a share of the values black or white.
func impulseNoise(w *work, dst, src *Picture, amount float64, d Draws) {
	flipped, salted := take(&w.floats, len(src.Pix)), take(&w.floats, len(src.Pix))
	d.Uniform(flipped)
	d.Uniform(salted)
	for i, v := range src.Pix {
		if flipped[i] <= amount {
			v = 0
			if salted[i] <= 0.5 {
				v = 255
			}
		}
		dst.Pix[i] = v
	}
}

// speckleNoise adds noise of a deviation that is sigma of the value itself.
func speckleNoise(w *work, dst, src *Picture, sigma float64, d Draws) {
	z := take(&w.floats, len(src.Pix))
	d.Normal(z)
	for i, v := range src.Pix {
		x := unit[v]
		dst.Pix[i] = level(x + x*(sigma*z[i]))
	}
}
