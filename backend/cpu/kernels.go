package cpu

import (
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// kernels is one implementation of the arithmetic: portable Go, AVX2 or
// AVX-512. Every function works on memory that its caller has sized; strides
// (lda, ldx, …) are in bytes, counts are in values and at least 1. No function needs
// alignment, and none reads or writes a value outside the ones named, except
// that gemm may prefetch. A row's result is the same to the bit whichever
// other rows are in the call.
type kernels struct {
	name string
	rows int // most rows of one strip: gemm has an entry for each number of rows
	cols int // columns of a panel of packed weights

	// gemm[r] multiplies a strip of r rows with one panel:
	//
	//	for i := range r { for j := range cols {
	//		s := bias[j] // 0 without bias
	//		for k := range K { s += a[i][k] * b[k][j] }
	//		c[i][j] = s // or += s when acc is 1
	//	} }
	gemm []func(*gemmArgs)

	// half[r] is the same for a panel of cols/2 columns, [k][cols/2].
	half []func(*gemmArgs)

	// act[a] applies activation a in place to r rows of n values. It is nil
	// for Identity and for SwiGLU, which is not in place.
	act [numActs]func(c unsafe.Pointer, ldc uintptr, r, n int)

	// swiglu reads r rows of n gates and then n values, and writes r rows:
	//
	//	y[i][j] = x[i][j]·σ(x[i][j])·x[i][n+j]
	//
	// y may be x.
	swiglu func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int)

	// softmax is, in place for each of r rows of n values,
	// x[j] = exp(scale·(x[j]-max)) / Σ. Values behind n, up to the next
	// multiple of 16, are set to zero. scale is positive.
	softmax func(x unsafe.Pointer, ldx uintptr, r, n int, scale float32)

	// layerNorm is y = (x-mean)/sqrt(var+eps)·w + b over n values. y may be x.
	layerNorm func(y, x, w, b unsafe.Pointer, n int, eps float32)

	// rmsNorm is y = x/sqrt(mean(x²)+eps)·w over n values. y may be x.
	rmsNorm func(y, x, w unsafe.Pointer, n int, eps float32)

	// add is y[i][j] += x[i][j] over r rows of n values.
	add func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int)

	// fetch brings r rows of n values into the cache.
	fetch func(x unsafe.Pointer, ldx uintptr, r, n int)

	// rotate turns r rows of n values, n even, by rotary positions whose
	// cosines and sines are rows of n too:
	//
	//	y[i][j] = (x[i][j]·cos[i][j] - x[i][j+n/2]·sin[i][j])·scale             // j < n/2
	//	y[i][j+n/2] = (x[i][j+n/2]·cos[i][j+n/2] + x[i][j]·sin[i][j+n/2])·scale
	//
	// rotatePairs has 2j and 2j+1 in place of j and j+n/2. y may be x.
	rotate, rotatePairs func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, cos unsafe.Pointer, ldc uintptr, sin unsafe.Pointer, lds uintptr, r, n int, scale float32)

	// peak does n times peakOps operations, a multiplication and an addition
	// each, as fast as the machine can.
	peak    func(n int)
	peakOps int

	// transpose is y[j][i] = x[i][j] over r rows of n values of four bytes,
	// whatever they are: keys become a panel with ldy = 4·cols.
	transpose func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int)

	// missing names the features for which this machine cannot compute in a
	// precision with these kernels. Where it has any, the entries below that
	// belong to the precision are nil.
	missing [backend.Int8 + 1][]string

	lowPrecision
	gradKernels
}

// attention returns the precision of the products of Attention where layers
// are in p: keys and values would lose too much in int8, so they are in bf16,
// and in float32 where that is missing.
func (k *kernels) attention(p backend.Precision) backend.Precision {
	if p == backend.F32 || len(k.missing[backend.BF16]) > 0 {
		return backend.F32
	}
	return backend.BF16
}

// lowPrecision are the kernels of bf16 and int8. Rows of bf16 have an even
// number of values, the last one zero if need be, and rows of u8 a multiple
// of four, 128 behind the last: that is how gemm takes them.
type lowPrecision struct {
	// gemmBF16 and halfBF16 are gemm and half for pairs of bf16: a is
	// [r][K/2][2], b [K/2][cols][2], and gemmArgs.k is the number of pairs,
	// K/2 rounded up. bias and c are float32.
	gemmBF16, halfBF16 []func(*gemmArgs)

	// gemmInt8 is gemm for fours of u8 with zero point 128, [r][K/4][4], and
	// of s8, [K/4][cols][4]; gemmArgs.k is K/4 rounded up:
	//
	//	s := offset[j]
	//	for k := range K { s += a[i][k] * b[k][j] }
	//	c[i][j] = s·rowScale[i]·colScale[j] + bias[j] // or += with acc
	gemmInt8 []func(*gemmArgs)

	// toBF16 rounds r rows of n float32 to bf16, the nearest, ties to even.
	toBF16 func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int)

	// pairs is toBF16 for a panel: y[i/2][j][i%2] = x[i][j]. An odd last row
	// has zeros for a partner. ldy is from one pair of rows to the next,
	// 4·cols in a panel.
	pairs func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int)

	// toU8 is, for each of r rows of n float32,
	// scales[i] = max|x[i]|/127, y[i][j] = 128 + round(x[i][j]/scales[i]).
	// The scale of a row with a NaN is NaN.
	toU8 func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int, scales unsafe.Pointer)

	// These are act, swiglu, softmax and layerNorm with the result in bf16.
	// They may spoil x, except that layerNormBF16 does not.
	actBF16       [numActs]func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int)
	swigluBF16    func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int)
	softmaxBF16   func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int, scale float32)
	layerNormBF16 func(y, x, w, b unsafe.Pointer, n int, eps float32)
}

// gemmArgs are a strip and a panel. The assembly reads the fields by offset.
type gemmArgs struct {
	a    unsafe.Pointer // r rows of k values, lda bytes apart
	lda  uintptr
	b    unsafe.Pointer // panel [k][cols]
	c    unsafe.Pointer // r rows of cols values, ldc bytes apart
	ldc  uintptr
	k    uintptr
	bias unsafe.Pointer // cols values, or nil
	acc  uintptr        // 1: add to c
	next unsafe.Pointer // where the next panel lies, to be prefetched; never nil

	// For gemmInt8 only.
	offset   unsafe.Pointer // cols int32: -128·Σ over k of b
	rowScale unsafe.Pointer // r float32
	colScale unsafe.Pointer // cols float32
}

// The activations that act has an entry for.
const (
	actGELU      = backend.GELU
	actGELUTanh  = backend.GELUTanh
	actQuickGELU = backend.QuickGELU
	numActs      = backend.SwiGLU + 1
)
