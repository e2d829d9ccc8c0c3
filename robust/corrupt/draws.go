package corrupt

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sort"
)

// Draws gives the random numbers of a disturbance, in the order in which it
// asks for them.
type Draws interface {
	Uniform(dst []float64)                          // in [0, 1)
	Normal(dst []float64)                           // of mean 0 and deviation 1
	Below(dst []int, lo, hi int)                    // whole numbers from lo on, below hi
	Poisson(dst []uint16, x []uint8, scale float64) // of the means x/255·scale
}

// Generator is Draws from a seeded generator.
type Generator struct{ rng *rand.Rand }

var _ Draws = Generator{}

// Seed returns the Draws of one disturbance of one file. They are the same
// wherever and in whatever order pictures are disturbed.
func Seed(file [sha256.Size]byte, name string, severity int, seed uint64) Generator {
	h := sha256.New()
	h.Write(file[:])
	h.Write([]byte(name))
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], uint64(severity))
	binary.LittleEndian.PutUint64(b[8:], seed)
	h.Write(b[:])
	sum := h.Sum(nil)
	return Generator{rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:])))}
}

// Uniform implements Draws.
func (g Generator) Uniform(dst []float64) {
	for i := range dst {
		dst[i] = g.rng.Float64()
	}
}

// Normal implements Draws.
func (g Generator) Normal(dst []float64) {
	for i := range dst {
		dst[i] = g.rng.NormFloat64()
	}
}

// Below implements Draws.
func (g Generator) Below(dst []int, lo, hi int) {
	n := uint32(hi - lo)
	for i := range dst {
		dst[i] = lo + int(g.rng.Uint32N(n))
	}
}

// Perm returns a random order of n things.
func (g Generator) Perm(n int) []int { return g.rng.Perm(n) }

// Poisson implements Draws, by the inverse of the distribution: the means are
// few, one a grey level.
func (g Generator) Poisson(dst []uint16, x []uint8, scale float64) {
	var of [256]*counts
	for i, v := range x {
		c := of[v]
		if c == nil {
			c = newCounts(float64(v) / 255 * scale)
			of[v] = c
		}
		dst[i] = c.draw(g.rng.Float64())
	}
}

// counts is Poisson's distribution of one mean.
type counts struct {
	up    []float64   // P(count ≤ i)
	first [256]uint16 // least i with up[i] > j/256
}

func newCounts(mean float64) *counts {
	c := &counts{}
	p, sum := math.Exp(-mean), 0.0
	for i := 0; float64(i) <= mean || p > 1e-18; i++ {
		sum += p
		c.up = append(c.up, sum)
		p *= mean / float64(i+1)
	}
	for j := range c.first {
		u := float64(j) / 256
		c.first[j] = uint16(sort.Search(len(c.up)-1, func(i int) bool { return c.up[i] > u }))
	}
	return c
}

func (c *counts) draw(u float64) uint16 {
	i := c.first[uint8(u*256)]
	for int(i) < len(c.up)-1 && c.up[i] <= u {
		i++
	}
	return i
}
