//go:build !purego

package cpu

import (
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/vitserve/vitserve/backend"
)

//go:generate go run -C _asm . -out ..

// impls are all implementations in this binary, the fastest first.
func impls() []impl {
	x := &cpu.X86
	return []impl{
		{&wide, lacking(feature{"AVX-512F", x.HasAVX512F}, feature{"AVX-512VL", x.HasAVX512VL},
			feature{"AVX-512BW", x.HasAVX512BW}, feature{"AVX-512DQ", x.HasAVX512DQ})},
		{&narrow, lacking(feature{"AVX2", x.HasAVX2}, feature{"FMA", x.HasFMA})},
		{kernels: &portable},
	}
}

// wide is the arithmetic in AVX-512.
var wide = kernels{
	name: "avx512",
	rows: 12,
	cols: 32,
	gemm: gemmAVX512x,
	half: gemmHalfAVX512x,
	act: [numActs]func(c unsafe.Pointer, ldc uintptr, r, n int){
		actGELU:      geluAVX512,
		actGELUTanh:  geluTanhAVX512,
		actQuickGELU: quickGELUAVX512,
	},
	swiglu:      swigluAVX512,
	softmax:     softmaxAVX512,
	layerNorm:   layerNormAVX512,
	rmsNorm:     rmsNormAVX512,
	add:         addAVX512,
	fetch:       fetchAVX512,
	transpose:   transposeAVX512,
	rotate:      rotateAVX512,
	rotatePairs: rotatePairsAVX512,
	peak:        peakAVX512,
	peakOps:     2 * 24 * 16,
	gradKernels: gradAVX512(),
	missing: [...][]string{
		backend.BF16: lacking(hasBF16),
		backend.Int8: lacking(hasVNNI),
	},
	lowPrecision: wideLow(),
}

var (
	hasBF16 = feature{"AVX512_BF16", cpu.X86.HasAVX512BF16}
	hasVNNI = feature{"AVX512_VNNI", cpu.X86.HasAVX512VNNI}
)

// wideLow are the bf16 and int8 kernels that this machine can run.
func wideLow() lowPrecision {
	var l lowPrecision
	if hasBF16.has {
		l = lowPrecision{
			gemmBF16: gemmBF16AVX512x,
			halfBF16: gemmHalfBF16AVX512x,
			toBF16:   toBF16AVX512,
			pairs:    pairsAVX512,
			actBF16: [numActs]func(y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int){
				actGELU:      geluBF16AVX512,
				actGELUTanh:  geluTanhBF16AVX512,
				actQuickGELU: quickGELUBF16AVX512,
			},
			swigluBF16:    swigluBF16AVX512,
			softmaxBF16:   softmaxBF16AVX512,
			layerNormBF16: layerNormBF16AVX512,
		}
	}
	if hasVNNI.has {
		l.gemmInt8, l.toU8 = gemmInt8AVX512x, toU8AVX512
	}
	return l
}

// narrow is the arithmetic in AVX2.
var narrow = kernels{
	name: "avx2",
	rows: 6,
	cols: 16,
	gemm: gemmAVX2x,
	half: gemmHalfAVX2x,
	act: [numActs]func(c unsafe.Pointer, ldc uintptr, r, n int){
		actGELU:      geluAVX2,
		actGELUTanh:  geluTanhAVX2,
		actQuickGELU: quickGELUAVX2,
	},
	swiglu:      swigluAVX2,
	softmax:     softmaxAVX2,
	layerNorm:   layerNormAVX2,
	rmsNorm:     rmsNormAVX2,
	add:         addAVX2,
	fetch:       fetchAVX2,
	transpose:   transposeAVX2,
	rotate:      rotateAVX2,
	rotatePairs: rotatePairsAVX2,
	peak:        peakAVX2,
	peakOps:     2 * 12 * 8,
	gradKernels: gradAVX2(),
	missing:     portable.missing,
}

// gradAVX512 are the gradients' kernels, those that take time in assembly.
func gradAVX512() gradKernels {
	g := gradPortable
	g.actGrad[actGELU], g.actGrad[actGELUTanh], g.actGrad[actQuickGELU] = geluGradAVX512, geluTanhGradAVX512, quickGELUGradAVX512
	g.softmaxGrad, g.relevance = softmaxGradAVX512, relevanceAVX512
	return g
}

// gradAVX2 is gradAVX512 in AVX2.
func gradAVX2() gradKernels {
	g := gradPortable
	g.actGrad[actGELU], g.actGrad[actGELUTanh], g.actGrad[actQuickGELU] = geluGradAVX2, geluTanhGradAVX2, quickGELUGradAVX2
	g.softmaxGrad, g.relevance = softmaxGradAVX2, relevanceAVX2
	return g
}
