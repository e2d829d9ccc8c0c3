package cpu

import (
	"math"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// The functions here are the oracles of the bf16 and int8 assembly. They are
// not offered for serving: without instructions of their own these formats
// are slower than float32.

// gemmBF16Portable is the loop of kernels.gemmBF16.
func gemmBF16Portable(g *gemmArgs, r, cols int) {
	strip(g, r, cols, func(i, j int) float32 {
		s := g.biasAt(j)
		for k := range int(g.k) {
			a := *(*[2]uint16)(unsafe.Add(g.a, uintptr(i)*g.lda+uintptr(4*k)))
			b := *(*[2]uint16)(unsafe.Add(g.b, 4*(k*cols+j)))
			s += fromBF16(a[0])*fromBF16(b[0]) + fromBF16(a[1])*fromBF16(b[1])
		}
		return s
	})
}

// gemmInt8Portable is the loop of kernels.gemmInt8.
func gemmInt8Portable(g *gemmArgs, r, cols int) {
	strip(g, r, cols, func(i, j int) float32 {
		s := *(*int32)(unsafe.Add(g.offset, 4*j))
		for k := range int(g.k) {
			a := *(*[4]uint8)(unsafe.Add(g.a, uintptr(i)*g.lda+uintptr(4*k)))
			b := *(*[4]int8)(unsafe.Add(g.b, 4*(k*cols+j)))
			for q := range a {
				s += int32(a[q]) * int32(b[q])
			}
		}
		return float32(s)**at(g.rowScale, uintptr(4*i))**at(g.colScale, uintptr(4*j)) + g.biasAt(j)
	})
}

func (g *gemmArgs) biasAt(j int) float32 {
	if g.bias == nil {
		return 0
	}
	return *at(g.bias, uintptr(4*j))
}

// strip puts f(i, j) into the results, or adds it.
func strip(g *gemmArgs, r, cols int, f func(i, j int) float32) {
	for i := range r {
		row := floats(unsafe.Add(g.c, uintptr(i)*g.ldc), cols)
		for j := range row {
			s := f(i, j)
			if g.acc != 0 {
				s += row[j]
			}
			row[j] = s
		}
	}
}

// toBF16Value rounds to the nearest, ties to even; what is below the least
// normal number becomes zero, as the instruction has it.
func toBF16Value(x float32) uint16 {
	bits := math.Float32bits(x)
	switch exponent := bits >> 23 & 0xff; {
	case exponent == 0:
		return uint16(bits >> 16 & 0x8000)
	case x != x:
		return uint16(bits>>16 | 0x40)
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func fromBF16(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

func toBF16Portable(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
	for i := range uintptr(r) {
		out := unsafe.Slice((*uint16)(unsafe.Add(y, i*ldy)), (n+1)/2*2)
		out[len(out)-1] = 0
		for j, v := range floats(unsafe.Add(x, i*ldx), n) {
			out[j] = toBF16Value(v)
		}
	}
}

func pairsPortable(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
	for i := uintptr(0); i < uintptr(r); i += 2 {
		out := unsafe.Slice((*[2]uint16)(unsafe.Add(y, i/2*ldy)), n)
		for j, v := range floats(unsafe.Add(x, i*ldx), n) {
			out[j] = [2]uint16{toBF16Value(v), 0}
		}
		if i+1 < uintptr(r) {
			for j, v := range floats(unsafe.Add(x, (i+1)*ldx), n) {
				out[j][1] = toBF16Value(v)
			}
		}
	}
}

func toU8Portable(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int, scales unsafe.Pointer) {
	scale := floats(scales, r)
	for i := range scale {
		in := floats(unsafe.Add(x, uintptr(i)*ldx), n)
		largest := math.Float32bits(1e-35)
		for _, v := range in {
			largest = max(largest, math.Float32bits(v)&^(1<<31))
		}
		m := math.Float32frombits(largest)
		scale[i] = m / 127
		inverse := 127 / m
		out := unsafe.Slice((*uint8)(unsafe.Add(y, uintptr(i)*ldy)), (n+3)/4*4)
		for j := range out {
			out[j] = 128
			if j < n {
				out[j] += uint8(int(math.RoundToEven(float64(in[j] * inverse))))
			}
		}
	}
}

// portableLow are the bf16 and int8 kernels beside those of k.
func portableLow(k *kernels) lowPrecision {
	l := lowPrecision{toBF16: toBF16Portable, pairs: pairsPortable, toU8: toU8Portable}
	for r := range k.rows + 1 {
		l.gemmBF16 = append(l.gemmBF16, func(g *gemmArgs) { gemmBF16Portable(g, r, k.cols) })
		l.halfBF16 = append(l.halfBF16, func(g *gemmArgs) { gemmBF16Portable(g, r, k.cols/2) })
		l.gemmInt8 = append(l.gemmInt8, func(g *gemmArgs) { gemmInt8Portable(g, r, k.cols) })
	}
	for _, a := range []backend.Activation{actGELU, actGELUTanh, actQuickGELU} {
		l.actBF16[a] = func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
			k.act[a](x, ldx, r, n)
			toBF16Portable(y, ldy, x, ldx, r, n)
		}
	}
	l.swigluBF16 = func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
		k.swiglu(x, ldx, x, ldx, r, n)
		toBF16Portable(y, ldy, x, ldx, r, n)
	}
	l.softmaxBF16 = func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int, scale float32) {
		k.softmax(x, ldx, r, n, scale)
		toBF16Portable(y, ldy, x, ldx, r, n)
	}
	l.layerNormBF16 = func(y, x, w, b unsafe.Pointer, n int, eps float32) {
		f := make([]float32, n)
		k.layerNorm(unsafe.Pointer(&f[0]), x, w, b, n, eps)
		toBF16Portable(y, 0, unsafe.Pointer(&f[0]), 0, 1, n)
	}
	return l
}
