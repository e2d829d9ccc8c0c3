package corrupt

import (
	"math"
	"math/rand/v2"
)

const iceSize = 512 // pixels an edge of a texture

// icy is how bright the textures are: the means of their channels and the
// deviation about them, which are those of the photographs of the original, so
// that a severity hides as much.
var icy = []struct {
	mean      [3]float64
	deviation float64
	along     float64 // feathers are so much narrower across
	bend      float64 // how far they are bent, in cells
}{
	{[3]float64{78, 149, 166}, 18, 1, 1.6},
	{[3]float64{201, 205, 214}, 22, 0.5, 2.4},
	{[3]float64{201, 205, 214}, 22, 1.6, 1.1},
	{[3]float64{138, 153, 165}, 29, 1, 3.2},
	{[3]float64{112, 123, 135}, 43, 0.7, 0.8},
}

// ice is a texture of frost: feathers, which are ridges of noise that other
// noise bends, where it is thick.
func ice(n int) *Picture {
	rng := rand.New(rand.NewPCG(uint64(n), 0x1ce))
	bend, feathers, thick := newLattice(rng), newLattice(rng), newLattice(rng)
	look := icy[n]
	light := make([]float64, iceSize*iceSize)
	var mean, square float64
	for i := range light {
		u, v := float64(i%iceSize)/iceSize, float64(i/iceSize)/iceSize
		bx, by := bend.sum(u*4, v*4, 4), bend.sum(u*4+7.3, v*4+2.9, 4)
		ridge, size := 0.0, 1.0
		for o := range 6 {
			f := float64(int(8) << o)
			r := 1 - math.Abs(2*feathers.at(u*f*look.along+bx*look.bend, v*f+by*look.bend)-1)
			ridge += size * r * r
			size *= 0.97
		}
		light[i] = ridge * (0.4 + 0.6*thick.sum(u*3+bx, v*3+by, 3))
		mean += light[i] / float64(len(light))
	}
	for _, l := range light {
		square += (l - mean) * (l - mean) / float64(len(light))
	}
	p := New(iceSize, iceSize)
	for i, l := range light {
		l = (l - mean) / math.Sqrt(square) * look.deviation
		for c, m := range look.mean {
			p.Pix[3*i+c] = uint8(min(max(m+l, 0), 255))
		}
	}
	return p
}

// lattice is smooth noise in [0, 1] that repeats after 256.
type lattice [256][256]float32

func newLattice(rng *rand.Rand) *lattice {
	l := &lattice{}
	for y := range l {
		for x := range l[y] {
			l[y][x] = rng.Float32()
		}
	}
	return l
}

func (l *lattice) at(x, y float64) float64 {
	fx, fy := math.Floor(x), math.Floor(y)
	ix, iy := int(fx)&255, int(fy)&255
	ease := func(t float64) float64 { return t * t * (3 - 2*t) }
	tx, ty := ease(x-fx), ease(y-fy)
	a, b := float64(l[iy][ix]), float64(l[iy][(ix+1)&255])
	c, d := float64(l[(iy+1)&255][ix]), float64(l[(iy+1)&255][(ix+1)&255])
	above, below := a+(b-a)*tx, c+(d-c)*tx
	return above + (below-above)*ty
}

// sum adds octaves, each of half the size and the weight.
func (l *lattice) sum(x, y float64, octaves int) float64 {
	sum, weight, total := 0.0, 1.0, 0.0
	for range octaves {
		sum += weight * l.at(x, y)
		total += weight
		x, y, weight = 2*x, 2*y, weight/2
	}
	return sum / total
}
