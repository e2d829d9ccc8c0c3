package cpu

import (
	"testing"
	"time"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// shapes are the linear layers of ViT-B and DeiT-Ti at 197 tokens.
var shapes = []struct {
	name string
	k, n int
}{
	{"B_qkv", 768, 2304}, {"B_proj", 768, 768}, {"B_fc1", 768, 3072}, {"B_fc2", 3072, 768},
	{"Ti_qkv", 192, 576}, {"Ti_proj", 192, 192}, {"Ti_fc1", 192, 768}, {"Ti_fc2", 768, 192},
}

// BenchmarkGEMM runs the linear layers on one core: GFLOP/s, and the fraction
// of the peak that the same loop measured between its runs (best of both).
func BenchmarkGEMM(b *testing.B) {
	for _, k := range available() {
		for _, s := range shapes {
			b.Run(k.name+"/"+s.name, func(b *testing.B) { benchmarkGEMM(b, k, k.gemm, s.k, s.n, 1) })
		}
	}
}

// BenchmarkGEMMLow is the same in bf16 and int8; the peak is that of float32.
func BenchmarkGEMMLow(b *testing.B) {
	for _, k := range available() {
		for _, s := range shapes {
			if len(k.missing[backend.BF16]) == 0 {
				b.Run(k.name+"/bf16/"+s.name, func(b *testing.B) { benchmarkGEMM(b, k, k.gemmBF16, s.k, s.n, 2) })
			}
			if len(k.missing[backend.Int8]) == 0 {
				b.Run(k.name+"/int8/"+s.name, func(b *testing.B) { benchmarkGEMM(b, k, k.gemmInt8, s.k, s.n, 4) })
			}
		}
	}
}

// benchmarkGEMM times a layer whose elements of four bytes hold a number of values.
func benchmarkGEMM(b *testing.B, k *kernels, gemm []func(*gemmArgs), depth, n, values int) {
	const tokens = 99 // of 197, on each of two cores
	// Weights of many layers, so that they come from memory as they do in a model.
	layers := max(1, 64<<20/(4*depth*n))
	a := newMatrix(tokens, depth, 16, 0).fill(source(1), 0, 1)
	w := newMatrix(layers*n, depth, 0, 0).fill(source(2), 0, 1)
	c := newMatrix(tokens, n, 16, 0)
	bias := newMatrix(1, n, 0, 0).fill(source(3), 0, 1)
	flops := 2 * float64(tokens) * float64(depth) * float64(n)
	depth /= values
	best, peak := time.Duration(1<<62), 0.0
	layer := 0
	for b.Loop() {
		start := time.Now()
		panels(gemm, k.cols, a, unsafe.Add(w.p(), 4*layer*n*depth), bias, c, depth, n)
		best = min(best, time.Since(start))
		layer = (layer + 1) % layers
		peak = max(peak, peakOf(k, 20000))
	}
	gflops := flops / best.Seconds() / 1e9
	b.ReportMetric(gflops, "GFLOP/s")
	b.ReportMetric(peak, "peak")
	b.ReportMetric(gflops/peak, "of-peak")
	b.ReportMetric(0, "ns/op")
}

// panels multiplies as a stream does: a panel at a time, strip by strip.
func panels(gemm []func(*gemmArgs), cols int, a *matrix, w unsafe.Pointer, bias, c *matrix, depth, n int) {
	strips := (a.r + len(gemm) - 2) / (len(gemm) - 1)
	size := 4 * depth * cols
	g := gemmArgs{lda: a.ld(), ldc: c.ld(), k: uintptr(depth)}
	for j := 0; j < n; j += cols {
		g.b = unsafe.Add(w, 4*j*depth)
		g.bias = unsafe.Pointer(&bias.line(0)[j])
		g.offset, g.rowScale, g.colScale = g.bias, bias.p(), g.bias
		first := 0
		for s := range strips {
			r := (a.r - first) / (strips - s)
			g.a = unsafe.Add(a.p(), uintptr(first)*a.ld())
			g.c = unsafe.Add(c.p(), uintptr(first)*c.ld()+uintptr(4*j))
			g.next = unsafe.Add(g.b, size+s*size/strips)
			gemm[r](&g)
			first += r
		}
	}
}

// peakOf is the GFLOP/s of the peak loop over n turns.
func peakOf(k *kernels, n int) float64 {
	n = max(1, n*1024/k.peakOps)
	start := time.Now()
	k.peak(n)
	return float64(n*k.peakOps) / time.Since(start).Seconds() / 1e9
}

func BenchmarkPeak(b *testing.B) {
	for _, k := range available() {
		b.Run(k.name, func(b *testing.B) {
			best := 0.0
			for b.Loop() {
				best = max(best, peakOf(k, 20000))
			}
			b.ReportMetric(best, "GFLOP/s")
		})
	}
}
