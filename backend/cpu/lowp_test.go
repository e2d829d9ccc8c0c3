package cpu

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/vitserve/vitserve/backend"
)

// eachLow runs a test for every implementation that has the kernels of a
// precision here, beside its twin in portable Go.
func eachLow(t *testing.T, p backend.Precision, f func(t *testing.T, k *kernels, twin lowPrecision)) {
	for _, k := range available() {
		t.Run(k.name, func(t *testing.T) {
			if len(k.missing[p]) > 0 {
				t.Skipf("%v kernels need %v", p, k.missing[p])
			}
			f(t, k, portableLow(k))
		})
	}
}

// words are the 16-bit values of a row whose matrix counts in words of four bytes.
func words(m *matrix, i int) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(&m.line(i)[0])), 2*m.n)
}

func octets(m *matrix, i int) []uint8 {
	return unsafe.Slice((*uint8)(unsafe.Pointer(&m.line(i)[0])), 4*m.n)
}

func TestMissing(t *testing.T) {
	for _, k := range available() {
		require.Empty(t, k.missing[backend.F32])
		require.Equal(t, len(k.missing[backend.BF16]) == 0, k.gemmBF16 != nil, k.name)
		require.Equal(t, len(k.missing[backend.Int8]) == 0, k.gemmInt8 != nil, k.name)
	}
	require.NotEmpty(t, portable.missing[backend.BF16])
	require.NotEmpty(t, portable.missing[backend.Int8])
}

// awkward are numbers that rounding has to get right.
func awkward() []float32 {
	var x []float32
	for _, bits := range []uint32{0, 1 << 31, 1, 0x007fffff, 0x80000001, 0x00800000, 0x3f800000, 0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001,
		0xbf808000, 0xbf818000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xff812345, 0x7f7f8000, 0x7f7f7fff} {
		x = append(x, math.Float32frombits(bits))
	}
	rng := source(4)
	for range 200 {
		x = append(x, math.Float32frombits(rng.Uint32()))
	}
	return x
}

func TestToBF16(t *testing.T) {
	for _, v := range awkward() {
		got := float64(fromBF16(toBF16Value(v)))
		switch a := math.Abs(float64(v)); {
		case math.IsNaN(a):
			require.True(t, math.IsNaN(got))
		case a > 0x1.fep127:
			require.True(t, math.IsInf(got, 0) || math.Abs(got) == 0x1.fep127, "%g: %g", v, got)
		case a < 0x1p-126:
			require.Zero(t, got)
		default:
			require.InDelta(t, float64(v), got, a/256, "%g", v)
		}
	}
	eachLow(t, backend.BF16, func(t *testing.T, k *kernels, twin lowPrecision) {
		values := awkward()
		for i, n := range append(lengths, len(values)) {
			x := newMatrix(3, n, i, i).fill(source(1), 0, 3)
			if n == len(values) {
				copy(x.line(1), values)
			}
			for name, convert := range map[string][2]func(unsafe.Pointer, uintptr, unsafe.Pointer, uintptr, int, int){
				"rows": {k.toBF16, twin.toBF16}, "pairs": {k.pairs, twin.pairs},
			} {
				width := (n + 1) / 2
				if name == "pairs" {
					width = n
				}
				got, want := newMatrix(3, width, 2, i), newMatrix(3, width, 2, 0)
				convert[0](got.p(), got.ld(), x.p(), x.ld(), 3, n)
				convert[1](want.p(), want.ld(), x.p(), x.ld(), 3, n)
				got.intact(t, name)
				rows := 3
				if name == "pairs" {
					rows = 2
				}
				for r := range rows {
					require.Equal(t, words(want, r), words(got, r), "%s: row %d of %d", name, r, n)
				}
			}
		}
	})
}

func TestPairs(t *testing.T) {
	x := newMatrix(3, 5, 0, 0).fill(source(1), 0, 1)
	y := newMatrix(2, 5, 0, 0)
	pairsPortable(y.p(), y.ld(), x.p(), x.ld(), 3, 5)
	for i := range 4 {
		for j := range 5 {
			want := uint16(0)
			if i < 3 {
				want = toBF16Value(x.line(i)[j])
			}
			require.Equal(t, want, words(y, i/2)[2*j+i%2])
		}
	}
}

// The functions with a result in bf16 are those in float32, rounded.
func TestRounded(t *testing.T) {
	eachLow(t, backend.BF16, func(t *testing.T, k *kernels, twin lowPrecision) {
		type rows = func(unsafe.Pointer, uintptr, unsafe.Pointer, uintptr, int, int)
		softmax := func(l lowPrecision) rows {
			return func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
				l.softmaxBF16(y, ldy, x, ldx, r, n, 0.7)
			}
		}
		norm := func(l lowPrecision) rows {
			return func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
				for i := range uintptr(r) {
					row := unsafe.Add(x, i*ldx)
					l.layerNormBF16(unsafe.Add(y, i*ldy), row, row, row, n, 1e-6)
				}
			}
		}
		cases := map[string][2]rows{
			"swiglu":    {k.swigluBF16, twin.swigluBF16},
			"softmax":   {softmax(k.lowPrecision), softmax(twin)},
			"layerNorm": {norm(k.lowPrecision), norm(twin)},
		}
		for act := range exact {
			cases[act.String()] = [2]rows{k.actBF16[act], twin.actBF16[act]}
		}
		for name, f := range cases {
			for i, n := range lengths {
				wide := (n + 15) / 16 * 16
				if name == "swiglu" {
					wide = 2 * n
				}
				x := newMatrix(3, wide, i, i).fill(source(uint64(n)), 0, 2)
				x.line(1)[n/2] = float32(math.NaN())
				copied := x.clone()
				got, want := newMatrix(3, (n+1)/2, 2, i), newMatrix(3, (n+1)/2, 2, 0)
				f[0](got.p(), got.ld(), x.p(), x.ld(), 3, n)
				f[1](want.p(), want.ld(), copied.p(), copied.ld(), 3, n)
				got.intact(t, name)
				x.intact(t, name)
				for r := range 3 {
					for j, v := range words(got, r) {
						w := words(want, r)[j]
						if fromBF16(w) != fromBF16(w) {
							require.True(t, fromBF16(v) != fromBF16(v), "%s: row %d of %d, column %d", name, r, n, j)
						} else {
							require.Equal(t, w, v, "%s: row %d of %d, column %d", name, r, n, j)
						}
					}
				}
			}
		}
	})
}

func TestToU8(t *testing.T) {
	check := func(t *testing.T, toU8 func(unsafe.Pointer, uintptr, unsafe.Pointer, uintptr, int, int, unsafe.Pointer)) {
		for i, n := range lengths {
			x := newMatrix(5, n, i, i).fill(source(uint64(n)), 0, 3)
			clear(x.line(1))
			x.line(3)[n/2] = float32(math.NaN())
			x.line(4)[n/2] = float32(math.Inf(-1))
			y, scales := newMatrix(5, (n+3)/4, 1, i/2), newMatrix(1, 5, 0, 1)
			toU8(y.p(), y.ld(), x.p(), x.ld(), 5, n, scales.p())
			y.intact(t, "toU8")
			scales.intact(t, "scales")
			s := scales.line(0)
			require.True(t, s[3] != s[3])
			require.True(t, math.IsInf(float64(s[4]), 1))
			for r := range 3 {
				largest := float32(0)
				for j, q := range octets(y, r) {
					if j >= n {
						require.EqualValues(t, 128, q, "behind row %d of %d", r, n)
						continue
					}
					v := x.line(r)[j]
					largest = max(largest, v, -v)
					require.InDelta(t, v, (float32(q)-128)*s[r], 0.50001*float64(s[r]), "row %d of %d, column %d", r, n, j)
				}
				require.InDelta(t, largest, 127*s[r], 1e-6*float64(largest)+1e-30)
			}
		}
	}
	t.Run("twin", func(t *testing.T) { check(t, toU8Portable) })
	eachLow(t, backend.Int8, func(t *testing.T, k *kernels, twin lowPrecision) {
		check(t, k.toU8)
		for i, n := range lengths { // and to the bit
			x := newMatrix(3, n, i, i).fill(source(uint64(n)), 0, 3)
			got, want, scales := newMatrix(3, (n+3)/4, 1, i/2), newMatrix(3, (n+3)/4, 0, 0), newMatrix(2, 3, 0, 0)
			k.toU8(got.p(), got.ld(), x.p(), x.ld(), 3, n, unsafe.Pointer(&scales.line(0)[0]))
			twin.toU8(want.p(), want.ld(), x.p(), x.ld(), 3, n, unsafe.Pointer(&scales.line(1)[0]))
			require.Equal(t, scales.line(1), scales.line(0))
			for r := range 3 {
				require.Equal(t, octets(want, r), octets(got, r))
			}
		}
	})
}

func TestGEMMBF16(t *testing.T) {
	run := func(t *testing.T, gemm func(*gemmArgs), r, depth, cols int, biased, acc bool) {
		name := fmt.Sprintf("%dx%dx%d", r, depth, cols)
		af, bf, c, bias := gemmCase(uint64(r*depth), r, depth, cols, r)
		pairs := (depth + 1) / 2
		a, b := newMatrix(r, pairs, 3, 1), newMatrix(pairs, cols, 0, 2)
		toBF16Portable(a.p(), a.ld(), af.p(), af.ld(), r, depth)
		pairsPortable(b.p(), b.ld(), bf.p(), bf.ld(), depth, cols)
		before := c.clone()
		g := gemmArgs{a: a.p(), lda: a.ld(), b: b.p(), c: c.p(), ldc: c.ld(), k: uintptr(pairs), next: b.p()}
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
				var want, size float64
				term := func(x float64) { want, size = want+x, size+math.Abs(x) }
				if biased {
					term(float64(bias.line(0)[j]))
				}
				if acc {
					term(float64(before.line(i)[j]))
				}
				for q := range 2 * pairs {
					term(float64(fromBF16(words(a, i)[q])) * float64(fromBF16(words(b, q/2)[2*j+q%2])))
				}
				if math.Abs(want-float64(c.line(i)[j])) > 4e-7*size {
					require.InDelta(t, want, c.line(i)[j], 4e-7*size, "%s: row %d column %d", name, i, j)
				}
			}
		}
	}
	every := func(t *testing.T, k *kernels, l lowPrecision) {
		for r := 1; r <= k.rows; r++ {
			for x, depth := range []int{1, 2, 3, 64, 80, 197, 577} {
				run(t, l.gemmBF16[r], r, depth, k.cols, x&1 != 0, r&1 != 0)
				run(t, l.halfBF16[r], r, depth, k.cols/2, r&1 != 0, x&1 != 0)
			}
		}
	}
	t.Run("twin", func(t *testing.T) { every(t, &portable, portableLow(&portable)) })
	eachLow(t, backend.BF16, func(t *testing.T, k *kernels, _ lowPrecision) { every(t, k, k.lowPrecision) })
}

func TestGEMMInt8(t *testing.T) {
	run := func(t *testing.T, gemm func(*gemmArgs), r, depth, cols int, biased, acc bool) {
		name := fmt.Sprintf("%dx%dx%d", r, depth, cols)
		rng := source(uint64(r * depth))
		fours := (depth + 3) / 4
		a, b := newMatrix(r, fours, 3, 1), newMatrix(fours, cols, 0, 2)
		_, _, c, bias := gemmCase(uint64(r*depth), r, 1, cols, r)
		offset, rowScale, colScale := newMatrix(1, cols, 0, 1), newMatrix(1, r, 0, 2), newMatrix(1, cols, 0, 3).fill(rng, 1, 0.2)
		rowScale.fill(rng, 0.02, 0.002)
		for i := range r {
			for q := range octets(a, i) {
				octets(a, i)[q] = uint8(rng.IntN(255) + 1)
			}
		}
		sums := make([]int32, cols)
		for q := range fours {
			for x := range octets(b, q) {
				if 4*q+x%4 >= depth {
					octets(b, q)[x] = 0
					continue
				}
				w := int8(rng.IntN(255) - 127)
				octets(b, q)[x] = uint8(w)
				sums[x/4] += int32(w)
			}
		}
		for j := range cols {
			offset.line(0)[j] = math.Float32frombits(uint32(-128 * sums[j]))
		}
		before := c.clone()
		g := gemmArgs{a: a.p(), lda: a.ld(), b: b.p(), c: c.p(), ldc: c.ld(), k: uintptr(fours), next: b.p(),
			offset: offset.p(), rowScale: rowScale.p(), colScale: colScale.p()}
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
				sum := 0
				for q := range depth {
					sum += (int(octets(a, i)[q]) - 128) * int(int8(octets(b, q/4)[4*j+q%4]))
				}
				want := float64(sum) * float64(rowScale.line(0)[i]) * float64(colScale.line(0)[j])
				size := math.Abs(want)
				if biased {
					want += float64(bias.line(0)[j])
					size += math.Abs(float64(bias.line(0)[j]))
				}
				if acc {
					want += float64(before.line(i)[j])
					size += math.Abs(float64(before.line(i)[j]))
				}
				require.InDelta(t, want, c.line(i)[j], 4e-7*size, "%s: row %d column %d", name, i, j)
			}
		}
	}
	every := func(t *testing.T, k *kernels, l lowPrecision) {
		for r := 1; r <= k.rows; r++ {
			for x, depth := range []int{1, 3, 4, 64, 77, 192, 577} {
				run(t, l.gemmInt8[r], r, depth, k.cols, x&1 != 0, r&1 != 0)
				run(t, l.gemmInt8[r], r, depth, k.cols, r&1 != 0, x&1 != 0)
			}
		}
	}
	t.Run("twin", func(t *testing.T) { every(t, &portable, portableLow(&portable)) })
	eachLow(t, backend.Int8, func(t *testing.T, k *kernels, _ lowPrecision) { every(t, k, k.lowPrecision) })
}
