package corrupt

import "math/bits"

// mist are the parameters of fog.
type mist struct {
	amount, decay float64
}

// plasma is a landscape (n, n) in [0, 1] by the diamond-square algorithm, n a
// power of two: ever smaller displacements, on a torus.
//
// Fournier, Fussell and Carpenter, "Computer Rendering of Stochastic Models",
// https://doi.org/10.1145/358523.358553, in the arithmetic of mapgen,
// https://github.com/FLHerne/mapgen.
func (w *work) plasma(n int, decay float64, d Draws) field {
	m := w.field(n, n, 1)
	m.v[0] = 0
	random := take(&w.floats, n*n/4)
	wibble := 100.0
	for step := n; step >= 2; step /= 2 {
		half, k := step/2, n/step
		// displaced sets points (k, k) from (y0, x0) on, of sums of four.
		displaced := func(y0, x0 int, sum func(y, x int) float64) {
			d.Uniform(random[:k*k])
			for j := range k {
				for i := range k {
					v := sum(j*step, i*step)
					m.v[(y0+j*step)*n+x0+i*step] = v/4 + wibble*(-wibble+2*wibble*random[j*k+i])
				}
			}
		}
		mask := n - 1
		v := m.v
		displaced(half, half, func(y, x int) float64 {
			right, below := (x+step)&mask, (y+step)&mask
			return v[y*n+x] + v[below*n+x] + (v[y*n+right] + v[below*n+right])
		})
		displaced(0, half, func(y, x int) float64 {
			above, right := (y-half)&mask, (x+step)&mask
			return v[(y+half)*n+x+half] + v[above*n+x+half] + (v[y*n+x] + v[y*n+right])
		})
		displaced(half, 0, func(y, x int) float64 {
			left, below := (x-half)&mask, (y+step)&mask
			return v[(y+half)*n+x+half] + v[(y+half)*n+left] + (v[y*n+x] + v[below*n+x])
		})
		wibble /= decay
	}
	low, high := m.v[0], m.v[0]
	for _, v := range m.v {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	high -= low
	for i, v := range m.v {
		m.v[i] = (v - low) / high
	}
	return m
}

// fog adds a landscape of light and brings the sum back to the picture's own
// brightest value.
func fog(w *work, dst, src *Picture, f mist, d Draws) {
	n := 1 << bits.Len(uint(max(src.W, src.H)-1))
	m := w.plasma(n, f.decay, d)
	brightest := uint8(0)
	for _, v := range src.Pix {
		brightest = max(brightest, v)
	}
	high := unit[brightest]
	for y := range src.H {
		light := m.row(y)[:src.W]
		from, to := src.Pix[3*y*src.W:][:3*src.W], dst.Pix[3*y*src.W:][:3*src.W]
		for x, v := range light {
			v *= f.amount
			for c := range 3 {
				to[3*x+c] = level((unit[from[3*x+c]] + v) * high / (high + f.amount))
			}
		}
	}
}
