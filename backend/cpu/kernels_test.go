package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// each runs a test for every implementation that this machine can run.
func each(t *testing.T, f func(t *testing.T, k *kernels)) {
	for _, k := range available() {
		t.Run(k.name, func(t *testing.T) { f(t, k) })
	}
}

// matrix is r rows of n values, ld bytes apart, that begin at an address of
// no alignment. Everything around the values is filled with a pattern.
type matrix struct {
	bytes     []byte
	start     int
	r, n, row int // row: values from one row to the next
}

const pattern = 0xA5

// newMatrix has room for pad values behind every row, which do not count as
// its values, and is misaligned by some values.
func newMatrix(r, n, pad, misaligned int) *matrix {
	m := &matrix{bytes: make([]byte, 4*(r*(n+pad)+64)), r: r, n: n, row: n + pad}
	for i := range m.bytes {
		m.bytes[i] = pattern
	}
	base := int(uintptr(unsafe.Pointer(&m.bytes[0])) & 63)
	m.start = 64 - base + 4*misaligned
	return m
}

func (m *matrix) p() unsafe.Pointer    { return unsafe.Pointer(&m.bytes[m.start]) }
func (m *matrix) ld() uintptr          { return uintptr(4 * m.row) }
func (m *matrix) line(i int) []float32 { return floats(unsafe.Add(m.p(), 4*i*m.row), m.n) }
func (m *matrix) clone() *matrix {
	c := newMatrix(m.r, m.n, m.row-m.n, 0)
	for i := range m.r {
		copy(c.line(i), m.line(i))
	}
	return c
}

// fill puts normally distributed values into m.
func (m *matrix) fill(rng *rand.Rand, mean, deviation float64) *matrix {
	for i := range m.r {
		for j := range m.line(i) {
			m.line(i)[j] = float32(mean + deviation*rng.NormFloat64())
		}
	}
	return m
}

// intact fails unless everything but the values still holds the pattern.
func (m *matrix) intact(t *testing.T, name string) {
	t.Helper()
	inside := func(i int) bool {
		i -= m.start
		return i >= 0 && i < 4*m.r*m.row && i%(4*m.row) < 4*m.n
	}
	for i, b := range m.bytes {
		if b != pattern && !inside(i) {
			require.Failf(t, "write outside", "%s: byte %d from the start of %d rows of %d values, %d apart", name, i-m.start, m.r, m.n, m.row)
		}
	}
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func TestChoose(t *testing.T) {
	fastest, err := choose("")
	require.NoError(t, err)
	require.Same(t, available()[0], fastest)
	for _, k := range available() {
		got, err := choose(k.name)
		require.NoError(t, err)
		require.Same(t, k, got)
	}
	_, err = choose("mmx")
	require.ErrorContains(t, err, `no kernels "mmx"`)
	require.ErrorContains(t, err, "portable")
	require.Equal(t, []string{"b"}, lacking(feature{"a", true}, feature{"b", false}))
}

// gemmCase is a strip of r rows, k values and a panel of n columns.
func gemmCase(seed uint64, r, k, n, misaligned int) (a, b, c, bias *matrix) {
	rng := source(seed)
	a = newMatrix(r, k, 3, misaligned).fill(rng, 0, 1)
	b = newMatrix(k, n, 0, misaligned/2).fill(rng, 0, 1)
	c = newMatrix(r, n, 5, misaligned/3).fill(rng, 0, 1)
	bias = newMatrix(1, n, 0, misaligned).fill(rng, 0, 1)
	return a, b, c, bias
}

func TestGEMM(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for _, width := range []struct {
			name string
			gemm []func(*gemmArgs)
			cols int
		}{{"whole", k.gemm, k.cols}, {"half", k.half, k.cols / 2}} {
			require.Len(t, width.gemm, k.rows+1)
			for r := 1; r <= k.rows; r++ {
				for x, depth := range []int{1, 3, 64, 80, 192, 577, 768} {
					for mode := range 4 {
						testGEMM(t, fmt.Sprintf("%s %dx%d mode %d", width.name, r, depth, mode),
							width.gemm[r], r, depth, width.cols, x+r, mode&1 != 0, mode&2 != 0)
					}
				}
			}
		}
	})
}

func testGEMM(t *testing.T, name string, gemm func(*gemmArgs), r, depth, cols, misaligned int, biased, acc bool) {
	a, b, c, bias := gemmCase(uint64(r*depth), r, depth, cols, misaligned)
	before := c.clone()
	g := gemmArgs{a: a.p(), lda: a.ld(), b: b.p(), c: c.p(), ldc: c.ld(), k: uintptr(depth), next: b.p()}
	if biased {
		g.bias = bias.p()
	}
	if acc {
		g.acc = 1
	}
	gemm(&g)
	c.intact(t, name)
	for i := range r {
		for j := range cols {
			var want, size float64 // size: of the terms, whose rounding errors add up
			term := func(x float64) { want, size = want+x, size+math.Abs(x) }
			if biased {
				term(float64(bias.line(0)[j]))
			}
			if acc {
				term(float64(before.line(i)[j]))
			}
			for q := range depth {
				term(float64(a.line(i)[q]) * float64(b.line(q)[j]))
			}
			if math.Abs(want-float64(c.line(i)[j])) > 3e-7*size {
				require.InDelta(t, want, c.line(i)[j], 3e-7*size, "%s: row %d column %d", name, i, j)
			}
		}
	}
}

// A row's result is the same to the bit in every strip.
func TestGEMMRowsAreIndependent(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for _, depth := range []int{3, 64, 197, 769} {
			a, b, c, bias := gemmCase(1, k.rows, depth, k.cols, 1)
			strip := func(first, r int) {
				k.gemm[r](&gemmArgs{a: unsafe.Pointer(&a.line(first)[0]), lda: a.ld(), b: b.p(), c: unsafe.Pointer(&c.line(first)[0]), ldc: c.ld(),
					k: uintptr(depth), bias: bias.p(), next: b.p()})
			}
			strip(0, k.rows)
			want := c.clone()
			for r := 1; r < k.rows; r++ {
				for first := 0; first+r <= k.rows; first += r {
					c.fill(source(2), 0, 1)
					strip(first, r)
					for i := range r {
						require.Equal(t, want.line(first+i), c.line(first+i), "row %d in a strip of %d, k %d", first+i, r, depth)
					}
				}
			}
		}
	})
}

// A row that is not finite spoils no other.
func TestGEMMNaN(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		a, b, c, bias := gemmCase(1, k.rows, 64, k.cols, 0)
		a.line(0)[3] = float32(math.NaN())
		k.gemm[k.rows](&gemmArgs{a: a.p(), lda: a.ld(), b: b.p(), c: c.p(), ldc: c.ld(), k: 64, bias: bias.p(), next: b.p()})
		for i := range k.rows {
			for j, v := range c.line(i) {
				require.Equal(t, i == 0, v != v, "row %d column %d", i, j)
			}
		}
	})
}
