package cpu

import (
	"math"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// portable is the arithmetic in plain Go: what machines without assembly of
// their own compute with, and the oracle of those that have it.
var portable = kernels{
	name: "portable",
	rows: 4,
	cols: portableCols,
	gemm: []func(*gemmArgs){
		1: func(g *gemmArgs) { gemmPortable(g, 1, portableCols) },
		2: func(g *gemmArgs) { gemmPortable(g, 2, portableCols) },
		3: func(g *gemmArgs) { gemmPortable(g, 3, portableCols) },
		4: func(g *gemmArgs) { gemmPortable(g, 4, portableCols) },
	},
	half: []func(*gemmArgs){
		1: func(g *gemmArgs) { gemmPortable(g, 1, portableCols/2) },
		2: func(g *gemmArgs) { gemmPortable(g, 2, portableCols/2) },
		3: func(g *gemmArgs) { gemmPortable(g, 3, portableCols/2) },
		4: func(g *gemmArgs) { gemmPortable(g, 4, portableCols/2) },
	},
	act: [numActs]func(c unsafe.Pointer, ldc uintptr, r, n int){
		actGELU:      eachRow(gelu),
		actGELUTanh:  eachRow(geluTanh),
		actQuickGELU: eachRow(quickGELU),
	},
	swiglu:    swigluPortable,
	softmax:   softmaxPortable,
	layerNorm: layerNormPortable,
	rmsNorm:   rmsNormPortable,
	add:       addPortable,
	transpose: transposePortable,
	rotate: func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, cos unsafe.Pointer, ldc uintptr, sin unsafe.Pointer, lds uintptr, r, n int, scale float32) {
		rotatePortable(y, ldy, x, ldx, cos, ldc, sin, lds, r, n, scale, 1, n/2)
	},
	rotatePairs: func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, cos unsafe.Pointer, ldc uintptr, sin unsafe.Pointer, lds uintptr, r, n int, scale float32) {
		rotatePortable(y, ldy, x, ldx, cos, ldc, sin, lds, r, n, scale, 2, 1)
	},
	peak:        peakPortable,
	peakOps:     2 * 2 * 4 * 64,
	gradKernels: gradPortable,
	missing:     [...][]string{backend.BF16: bf16Features, backend.Int8: int8Features},
}

// What bf16 and int8 need, for kernels that never have them.
var (
	bf16Features = []string{"AVX512_BF16"}
	int8Features = []string{"AVX512_VNNI"}
)

// portableCols is a cache line of float32.
const portableCols = 16

// floats is the row of n float32 at p.
func floats(p unsafe.Pointer, n int) []float32 { return unsafe.Slice((*float32)(p), n) }

// at is the float32 at p plus a number of bytes.
func at(p unsafe.Pointer, offset uintptr) *float32 { return (*float32)(unsafe.Add(p, offset)) }

// gemmPortable is the loop of kernels.gemm in tiles of two rows and four
// columns, which is what sixteen registers hold. An odd last row is computed
// twice rather than by code of its own, for which the compiler might fuse
// multiplications and additions differently: a row's result must not depend
// on how many stand beside it.
func gemmPortable(g *gemmArgs, r, cols int) {
	for i := 0; i < r; i += 2 {
		second := uintptr(min(i+1, r-1))
		a0, a1 := unsafe.Add(g.a, uintptr(i)*g.lda), unsafe.Add(g.a, second*g.lda)
		c0, c1 := unsafe.Add(g.c, uintptr(i)*g.ldc), unsafe.Add(g.c, second*g.ldc)
		for j := uintptr(0); j < uintptr(cols)*4; j += 16 {
			var bias [4]float32
			if g.bias != nil {
				bias = *(*[4]float32)(unsafe.Add(g.bias, j))
			}
			top, bottom := tile2x4(a0, a1, unsafe.Add(g.b, j), uintptr(cols)*4, g.k, bias)
			t, b := (*[4]float32)(unsafe.Add(c0, j)), (*[4]float32)(unsafe.Add(c1, j))
			if g.acc != 0 {
				for q := range top {
					top[q] += t[q]
					bottom[q] += b[q]
				}
			}
			*t, *b = top, bottom
		}
	}
}

// tile2x4 multiplies two rows of k values with four columns of a panel whose
// rows are ldb bytes apart.
func tile2x4(a0, a1, b unsafe.Pointer, ldb, k uintptr, bias [4]float32) (top, bottom [4]float32) {
	s00, s01, s02, s03 := bias[0], bias[1], bias[2], bias[3]
	s10, s11, s12, s13 := bias[0], bias[1], bias[2], bias[3]
	// The last step adds nothing to a pointer: it would lie behind the rows.
	var row uintptr
	for i := range k {
		x, y, w := *at(a0, 4*i), *at(a1, 4*i), (*[4]float32)(unsafe.Add(b, row))
		s00 += x * w[0]
		s01 += x * w[1]
		s02 += x * w[2]
		s03 += x * w[3]
		s10 += y * w[0]
		s11 += y * w[1]
		s12 += y * w[2]
		s13 += y * w[3]
		row += ldb
	}
	return [4]float32{s00, s01, s02, s03}, [4]float32{s10, s11, s12, s13}
}

func addPortable(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
	for i := range uintptr(r) {
		to := floats(unsafe.Add(y, i*ldy), n)
		for j, v := range floats(unsafe.Add(x, i*ldx), n) {
			to[j] += v
		}
	}
}

func transposePortable(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
	for i := range uintptr(r) {
		for j, v := range unsafe.Slice((*uint32)(unsafe.Add(x, i*ldx)), n) {
			*(*uint32)(unsafe.Add(y, uintptr(j)*ldy+i*4)) = v
		}
	}
}

// rotatePortable turns the values at i·step and i·step+apart together.
func rotatePortable(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, cos unsafe.Pointer, ldc uintptr, sin unsafe.Pointer, lds uintptr, r, n int, scale float32, step, apart int) {
	for i := range uintptr(r) {
		out, in := floats(unsafe.Add(y, i*ldy), n), floats(unsafe.Add(x, i*ldx), n)
		c, s := floats(unsafe.Add(cos, i*ldc), n), floats(unsafe.Add(sin, i*lds), n)
		for j := range n / 2 {
			p, q := j*step, j*step+apart
			a, b := in[p], in[q]
			out[p] = (a*c[p] - b*s[p]) * scale
			out[q] = (b*c[q] + a*s[q]) * scale
		}
	}
}

// layerNormPortable takes the variance about a first estimate of the mean and
// corrects both by the mean of what is left, so that rows whose mean is large
// beside their deviation lose nothing.
func layerNormPortable(y, x, w, b unsafe.Pointer, n int, eps float32) {
	in, out := floats(x, n), floats(y, n)
	weight, bias := floats(w, n), floats(b, n)
	var sum [4]float32
	for j, v := range in {
		sum[j%4] += v
	}
	mean := (sum[0] + sum[1] + sum[2] + sum[3]) / float32(n)
	var rest, squares [4]float32
	for j, v := range in {
		d := v - mean
		rest[j%4] += d
		squares[j%4] += d * d
	}
	left := (rest[0] + rest[1] + rest[2] + rest[3]) / float32(n)
	variance := (squares[0]+squares[1]+squares[2]+squares[3])/float32(n) - left*left
	scale := float32(1 / math.Sqrt(float64(max(variance, 0)+eps)))
	for j, v := range in {
		out[j] = ((v-mean)-left)*scale*weight[j] + bias[j]
	}
}

func rmsNormPortable(y, x, w unsafe.Pointer, n int, eps float32) {
	in, out, weight := floats(x, n), floats(y, n), floats(w, n)
	var squares [4]float32
	for j, v := range in {
		squares[j%4] += v * v
	}
	mean := (squares[0] + squares[1] + squares[2] + squares[3]) / float32(n)
	scale := float32(1 / math.Sqrt(float64(mean+eps)))
	for j, v := range in {
		out[j] = v * scale * weight[j]
	}
}

// peakPortable multiplies two rows that stay in the first cache.
func peakPortable(n int) {
	var a, b [64 + 3]float32
	for range n {
		tile2x4(unsafe.Pointer(&a), unsafe.Pointer(&a), unsafe.Pointer(&b), 4, 64, [4]float32{})
	}
}
