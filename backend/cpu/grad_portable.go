package cpu

import (
	"math"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// gradKernels are the arithmetic of gradients beside the products, which are
// those of the forward pass.
type gradKernels struct {
	// actGrad[a] is y[i][j] *= a'(x[i][j]) over r rows of n values. It is nil
	// for Identity and SwiGLU.
	actGrad [numActs]func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int)

	// swigluGrad is, over r rows of n values, with d = y[i][j] from before,
	//
	//	y[i][j] = d·v·σ(g)(1 + g·σ(-g)) // where the gate is g = gate[i][j]
	//	values[i][j] = d·g·σ(g)         // and the value v = value[i][j]
	//
	// values lies as y does, value as gate.
	swigluGrad func(y, values unsafe.Pointer, ldy uintptr, gate, value unsafe.Pointer, ldx uintptr, r, n int)

	// softmaxGrad is y[i][j] = p[i][j]·(y[i][j] - Σ p[i][k]·y[i][k]) over r
	// rows of n values.
	softmaxGrad func(y unsafe.Pointer, ldy uintptr, p unsafe.Pointer, ldp uintptr, r, n int)

	// relevance is y[i][j] += max(0, p[i][j]·d[i][j]) over r rows of n values.
	relevance func(y unsafe.Pointer, ldy uintptr, p, d unsafe.Pointer, ld uintptr, r, n int)

	// layerNormGrad is, with g = dy ∘ w and x̂ the normalised x,
	//
	//	dx = (g - mean(g) - x̂·mean(g ∘ x̂))/sqrt(var + eps) + residual
	//
	// over n values. dx may be dy or the residual, which may be nil.
	layerNormGrad func(dx, dy, x, w, residual unsafe.Pointer, n int, eps float32)

	// rmsNormGrad is the same of a root mean square:
	//
	//	dx = (g - x̂·mean(g ∘ x̂))/sqrt(mean(x²) + eps) + residual
	rmsNormGrad func(dx, dy, x, w, residual unsafe.Pointer, n int, eps float32)
}

var gradPortable = gradKernels{
	actGrad: [numActs]func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int){
		backend.GELU:      eachPair(geluGrad),
		backend.GELUTanh:  eachPair(geluTanhGrad),
		backend.QuickGELU: eachPair(quickGELUGrad),
	},
	swigluGrad:    swigluGradPortable,
	softmaxGrad:   softmaxGradPortable,
	relevance:     relevancePortable,
	layerNormGrad: layerNormGradPortable,
	rmsNormGrad:   rmsNormGradPortable,
}

func eachPair(f func(float32) float32) func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
	return func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int) {
		for i := range uintptr(r) {
			out := floats(unsafe.Add(y, i*ldy), n)
			for j, v := range floats(unsafe.Add(x, i*ldx), n) {
				out[j] *= f(v)
			}
		}
	}
}

// geluGrad is Φ(x) + x·φ(x); see gelu.
func geluGrad(x float32) float32 {
	a := min(max(x, -x), geluFar)
	t := 1 / (1 + erfP/math.Sqrt2*a)
	p := float32(erfA5)
	p = p*t + erfA4
	p = p*t + erfA3
	p = p*t + erfA2
	p = p*t + erfA1
	const density = 0.3989422804014327 // 1/√(2π)
	// Φ(-a) - a·φ(a), which is the derivative at -a.
	left := expNeg(-0.5*a*a) * (0.5*p*t - density*a)
	if x < 0 {
		return left
	}
	return 1 - left
}

// sigmoids returns σ(z) and σ(-z).
func sigmoids(z float32) (s, other float32) {
	e := expNeg(-max(z, -z))
	s = 1 / (1 + e)
	other = e * s
	if z < 0 {
		return other, s
	}
	return s, other
}

// geluTanhGrad is the derivative of x·σ(u), u = x(l + c·x²):
// σ(u)(1 + x·u'·σ(-u)), u' = l + 3c·x².
func geluTanhGrad(x float32) float32 {
	x = min(max(x, -geluFar), geluFar)
	s, other := sigmoids(x * (tanhLinear + tanhCubic*(x*x)))
	return s * (1 + x*(tanhLinear+3*tanhCubic*(x*x))*other)
}

// quickGELUGrad is σ(z)(1 + z·σ(-z)), z = 1.702x.
func quickGELUGrad(x float32) float32 {
	z := quick * min(max(x, -2*geluFar), 2*geluFar)
	s, other := sigmoids(z)
	return s * (1 + z*other)
}

func swigluGradPortable(y, values unsafe.Pointer, ldy uintptr, gate, value unsafe.Pointer, ldx uintptr, r, n int) {
	for i := range uintptr(r) {
		d, dv, v := floats(unsafe.Add(y, i*ldy), n), floats(unsafe.Add(values, i*ldy), n), floats(unsafe.Add(value, i*ldx), n)
		for j, g := range floats(unsafe.Add(gate, i*ldx), n) {
			s, other := sigmoids(g)
			dv[j] = d[j] * g * s
			d[j] *= v[j] * s * (1 + g*other)
		}
	}
}

func softmaxGradPortable(y unsafe.Pointer, ldy uintptr, p unsafe.Pointer, ldp uintptr, r, n int) {
	for i := range uintptr(r) {
		d, probs := floats(unsafe.Add(y, i*ldy), n), floats(unsafe.Add(p, i*ldp), n)
		mean := dotPortable(d, probs)
		for j, v := range probs {
			d[j] = v * (d[j] - mean)
		}
	}
}

// dotPortable is Σ x∘y in eight sums.
func dotPortable(x, y []float32) float32 {
	var s [8]float32
	y = y[:len(x)]
	i := 0
	for ; i+8 <= len(x); i += 8 {
		a, b := (*[8]float32)(x[i:]), (*[8]float32)(y[i:])
		s[0] += a[0] * b[0]
		s[1] += a[1] * b[1]
		s[2] += a[2] * b[2]
		s[3] += a[3] * b[3]
		s[4] += a[4] * b[4]
		s[5] += a[5] * b[5]
		s[6] += a[6] * b[6]
		s[7] += a[7] * b[7]
	}
	for ; i < len(x); i++ {
		s[0] += x[i] * y[i]
	}
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

func relevancePortable(y unsafe.Pointer, ldy uintptr, p, d unsafe.Pointer, ld uintptr, r, n int) {
	for i := range uintptr(r) {
		sum, grad := floats(unsafe.Add(y, i*ldy), n), floats(unsafe.Add(d, i*ld), n)
		for j, v := range floats(unsafe.Add(p, i*ld), n) {
			sum[j] += max(0, v*grad[j])
		}
	}
}

// layerNormGradPortable takes mean and variance as layerNormPortable does.
func layerNormGradPortable(dx, dy, x, w, residual unsafe.Pointer, n int, eps float32) {
	in, grad, weight, out := floats(x, n), floats(dy, n), floats(w, n), floats(dx, n)
	var sum [4]float32
	for j, v := range in {
		sum[j%4] += v
	}
	mean := (sum[0] + sum[1] + sum[2] + sum[3]) / float32(n)
	var rest, squares, g, gx [4]float32
	for j, v := range in {
		d, h := v-mean, grad[j]*weight[j]
		rest[j%4] += d
		squares[j%4] += d * d
		g[j%4] += h
		gx[j%4] += h * d
	}
	size := float32(n)
	left := (rest[0] + rest[1] + rest[2] + rest[3]) / size
	variance := (squares[0]+squares[1]+squares[2]+squares[3])/size - left*left
	scale := float32(1 / math.Sqrt(float64(max(variance, 0)+eps)))
	gMean := (g[0] + g[1] + g[2] + g[3]) / size
	gxMean := ((gx[0]+gx[1]+gx[2]+gx[3])/size - left*gMean) * scale * scale
	for j, v := range in {
		d := (grad[j]*weight[j] - gMean - ((v-mean)-left)*gxMean) * scale
		if residual != nil {
			d += *at(residual, uintptr(j)*4)
		}
		out[j] = d
	}
}

func rmsNormGradPortable(dx, dy, x, w, residual unsafe.Pointer, n int, eps float32) {
	in, grad, weight, out := floats(x, n), floats(dy, n), floats(w, n), floats(dx, n)
	var squares, gx [4]float32
	for j, v := range in {
		squares[j%4] += v * v
		gx[j%4] += grad[j] * weight[j] * v
	}
	size := float32(n)
	mean := (squares[0] + squares[1] + squares[2] + squares[3]) / size
	scale := float32(1 / math.Sqrt(float64(mean+eps)))
	gxMean := (gx[0] + gx[1] + gx[2] + gx[3]) / size * scale * scale
	for j, v := range in {
		d := (grad[j]*weight[j] - v*gxMean) * scale
		if residual != nil {
			d += *at(residual, uintptr(j)*4)
		}
		out[j] = d
	}
}
