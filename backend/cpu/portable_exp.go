package cpu

import (
	"math"
	"unsafe"
)

// Constants of expNeg. The assembly computes 2ʸ instead, with y = x·log₂e.
const (
	expLowest = -87.33655 // ln of the least normal float32
	log2e     = 1.44269504088896341
	ln2Hi     = 0.693147182464599609375 // ln 2 in float32
	ln2Lo     = -1.904654299957768e-9   // and the rest of it
)

// expTaylor are the terms of eˣ for |x| ≤ ln 2/2, the highest first. The
// first one left out is below 1.3e-7.
var expTaylor = [...]float32{1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2, 1, 1}

// expNeg is eˣ for x ≤ 0, and zero where it would be below the least normal
// number: x = n·ln 2 + f with |f| ≤ ln 2/2, eˣ = 2ⁿ·eᶠ.
func expNeg(x float32) float32 {
	if x < expLowest {
		return 0
	}
	n := int32(x*log2e - 0.5)
	f := (x - float32(n)*ln2Hi) - float32(n)*ln2Lo
	p := expTaylor[0]
	p = p*f + expTaylor[1]
	p = p*f + expTaylor[2]
	p = p*f + expTaylor[3]
	p = p*f + expTaylor[4]
	p = p*f + expTaylor[5]
	p = p*f + expTaylor[6]
	return p * math.Float32frombits(uint32(n+127)<<23)
}

// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26:
// 1 - erf(z) = t(a₁ + t(a₂ + …))e^(-z²), t = 1/(1 + pz), to 1.5e-7.
const (
	erfP  = 0.3275911
	erfA1 = 0.254829592
	erfA2 = -0.284496736
	erfA3 = 1.421413741
	erfA4 = -1.453152027
	erfA5 = 1.061405429
)

// geluFar is where GELU has long met its asymptotes; |x| is held to it so
// that no infinity meets a zero.
const geluFar = 64

// gelu is x·Φ(x) = max(x, 0) - |x|/2·(1 - erf(|x|/√2)).
func gelu(x float32) float32 {
	a := min(max(x, -x), geluFar)
	t := 1 / (1 + erfP/math.Sqrt2*a)
	p := float32(erfA5)
	p = p*t + erfA4
	p = p*t + erfA3
	p = p*t + erfA2
	p = p*t + erfA1
	return max(x, 0) - 0.5*a*(p*t)*expNeg(-0.5*a*a)
}

// sigmoid times x: x/(1 + e^-z) without an exponential that overflows.
func timesSigmoid(x, z float32) float32 {
	e := expNeg(-max(z, -z))
	if z < 0 {
		return x * (e / (1 + e))
	}
	return x * (1 / (1 + e))
}

// geluTanh is 0.5x(1 + tanh(u)) = x·σ(2u), u = √(2/π)(x + 0.044715x³).
func geluTanh(x float32) float32 {
	return timesSigmoid(x, x*(tanhLinear+tanhCubic*(x*x)))
}

const (
	tanhLinear = 1.5957691216057308   // 2√(2/π)
	tanhCubic  = 0.071354816272600289 // 0.044715 of it
	quick      = 1.702
)

// quickGELU is x·σ(1.702x).
func quickGELU(x float32) float32 { return timesSigmoid(x, quick*x) }

// eachRow applies a function to r rows of n values.
func eachRow(f func(float32) float32) func(c unsafe.Pointer, ldc uintptr, r, n int) {
	return func(c unsafe.Pointer, ldc uintptr, r, n int) {
		for i := range uintptr(r) {
			row := floats(unsafe.Add(c, i*ldc), n)
			for j, v := range row {
				row[j] = f(v)
			}
		}
	}
}

func swigluPortable(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
	for i := range uintptr(r) {
		out, in := floats(unsafe.Add(y, i*ldy), n), floats(unsafe.Add(x, i*ldx), 2*n)
		for j := range out {
			out[j] = timesSigmoid(in[j], in[j]) * in[n+j]
		}
	}
}

func softmaxPortable(x unsafe.Pointer, ldx uintptr, r, n int, scale float32) {
	for i := range uintptr(r) {
		row := floats(unsafe.Add(x, i*ldx), (n+15)/16*16)
		largest := row[0]
		for _, v := range row[:n] {
			if v > largest {
				largest = v
			}
		}
		var sum [4]float32
		for j, v := range row[:n] {
			e := expNeg((v - largest) * scale)
			row[j] = e
			sum[j%4] += e
		}
		share := 1 / (sum[0] + sum[1] + sum[2] + sum[3])
		for j := range row[:n] {
			row[j] *= share
		}
		clear(row[n:])
	}
}
