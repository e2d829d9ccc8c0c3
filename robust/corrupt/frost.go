package corrupt

import (
	"math"
	"sync"
)

// rime are the parameters of frost: the weights of picture and texture.
type rime struct{ picture, frost float64 }

// frost lays a random part of a random texture over the picture.
func frost(w *work, dst, src *Picture, r rime, f Flavour, d Draws, textures []*Picture) {
	var i [1]int
	d.Below(i[:], 0, len(textures))
	t := textures[i[0]]
	// The package enlarges the texture until it covers the picture, and then
	// by a tenth; the original takes it as it is.
	factor := max(1, float64(src.H)/float64(t.H), float64(src.W)/float64(t.W))
	if f != Original {
		factor *= 1.1
	}
	h, wd := int(math.Ceil(float64(t.H)*factor)), int(math.Ceil(float64(t.W)*factor))
	y0, x0 := below(d, h-src.H), below(d, wd-src.W)
	part := w.enlarged(t, h, wd, y0, x0, src.H, src.W)
	for i, v := range src.Pix {
		dst.Pix[i] = uint8(min(r.picture*float64(v)+r.frost*float64(part[i]), 255))
	}
}

// below is a random whole number below n; of none it is 0.
func below(d Draws, n int) int {
	var i [1]int
	if n > 0 {
		d.Below(i[:], 0, n)
	}
	return i[0]
}

// cubics are the taps of a cubic interpolation along an edge.
type cubics struct {
	at [4][]int
	k  [4][]int32 // scaled by 2¹¹
}

// newCubics are the taps of pixels from..from+count of n that become m: Keys'
// spline with a = -3/4, as OpenCV's resize of bytes has it.
func newCubics(n, m, from, count int) cubics {
	var c cubics
	for j := range c.at {
		c.at[j], c.k[j] = make([]int, count), make([]int32, count)
	}
	const a = -0.75
	step := float64(n) / float64(m)
	for i := range count {
		x := float32((float64(from+i)+0.5)*step - 0.5)
		low := int(math.Floor(float64(x)))
		t := x - float32(low)
		var k [4]float32
		k[0] = ((a*(t+1)-5*a)*(t+1)+8*a)*(t+1) - 4*a
		k[1] = ((a+2)*t-(a+3))*t*t + 1
		k[2] = ((a+2)*(1-t)-(a+3))*(1-t)*(1-t) + 1
		k[3] = 1 - k[0] - k[1] - k[2]
		for j := range k {
			c.at[j][i] = nearest(low-1+j, n)
			c.k[j][i] = int32(math.RoundToEven(float64(k[j] * 2048)))
		}
	}
	return c
}

// enlarged is the part from (y0, x0) on of a texture of another size.
func (w *work) enlarged(t *Picture, h, wd, y0, x0, height, width int) []uint8 {
	out := take(&w.bytes, 3*height*width)
	if h == t.H && wd == t.W {
		for y := range height {
			copy(out[3*y*width:][:3*width], t.Pix[3*((y0+y)*t.W+x0):])
		}
		return out
	}
	ys, xs := newCubics(t.H, h, y0, height), newCubics(t.W, wd, x0, width)
	rows := map[int][]int32{}
	across := func(y int) []int32 { // a row of the texture, by its columns' taps
		if r, ok := rows[y]; ok {
			return r
		}
		for old, r := range rows { // the rows that are left behind
			if old < y-4 {
				delete(rows, old)
				rows[y] = r
				break
			}
		}
		r, ok := rows[y]
		if !ok {
			r = make([]int32, 3*width)
			rows[y] = r
		}
		from := t.Pix[3*y*t.W:][:3*t.W]
		for x := range width {
			a, b, c, d := 3*xs.at[0][x], 3*xs.at[1][x], 3*xs.at[2][x], 3*xs.at[3][x]
			ka, kb, kc, kd := xs.k[0][x], xs.k[1][x], xs.k[2][x], xs.k[3][x]
			for ch := range 3 {
				r[3*x+ch] = ka*int32(from[a+ch]) + kb*int32(from[b+ch]) + kc*int32(from[c+ch]) + kd*int32(from[d+ch])
			}
		}
		return r
	}
	for y := range height {
		to := out[3*y*width:][:3*width]
		a, b, c, d := across(ys.at[0][y])[:len(to)], across(ys.at[1][y])[:len(to)], across(ys.at[2][y])[:len(to)], across(ys.at[3][y])[:len(to)]
		ka, kb, kc, kd := ys.k[0][y], ys.k[1][y], ys.k[2][y], ys.k[3][y]
		for i := range to {
			v := (ka*a[i] + kb*b[i] + kc*c[i] + kd*d[i] + 1<<21) >> 22
			to[i] = uint8(min(max(v, 0), 255))
		}
	}
	return out
}

// Textures are the pictures of frost, to be looked at.
func Textures() []*Picture { return textures() }

// textures are the frost of this package, made on first use: five pictures of
// ice on glass. The original's are photographs.
var textures = sync.OnceValue(func() []*Picture {
	var all []*Picture
	for i := range icy {
		all = append(all, ice(i))
	}
	return all
})
