package cpu

import (
	"math"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/backendtest"
)

// shapes are the linear layers of ViT-B and DeiT-Ti at 197 tokens.
var shapes = []struct {
	name string
	k, n int
}{
	{"B_qkv", 768, 2304}, {"B_proj", 768, 768}, {"B_fc1", 768, 3072}, {"B_fc2", 3072, 768},
	{"Ti_qkv", 192, 576}, {"Ti_proj", 192, 192}, {"Ti_fc1", 192, 768}, {"Ti_fc2", 768, 192},
}

// BenchmarkGEMM runs the linear layers on one core and reports GFLOP/s and
// the fraction of the peak. Both are medians over pieces of the layer of less
// than a millisecond and as many runs of the peak loop between them, so that
// what else the machine does weighs on both alike.
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
	const tokens = 99    // of 197, on each of two cores
	const piece = 192    // columns, a divisor of every n
	const all = 64 << 20 // weights of many layers, so that they come from memory as they do in a model
	flops := 2 * float64(tokens) * float64(depth) * piece
	depth /= values
	step := min(depth, chunk/values)
	a := newMatrix(tokens, step, 16, 0)
	c := newMatrix(tokens, n, 16, 0)
	bias := newMatrix(1, n, 0, 0).fill(source(3), 0, 1)
	data, unmap, err := mapMemory(all)
	require.NoError(b, err)
	defer unmap()
	w := unsafe.Pointer(&data[0])
	rng := source(2)
	// Numbers that are ordinary in every format.
	for _, words := range [][]float32{floats(w, all/4), floats(a.p(), tokens*a.row)} {
		for i := range words {
			h := uint32(toBF16Value(rng.Float32() + 0.5))
			words[i] = math.Float32frombits(h<<16 | h)
		}
	}
	rates, peaks := make([]float64, 0, b.N), make([]float64, 0, b.N)
	for i := 0; b.Loop(); i++ {
		first := i * piece % (all / 4 / depth / piece * piece)
		start := time.Now()
		panels(gemm, k.cols, a, unsafe.Add(w, 4*first*depth), bias, c, depth, step, piece)
		rates = append(rates, flops/time.Since(start).Seconds()/1e9)
		peaks = append(peaks, peakOf(k, 20000))
	}
	slices.Sort(rates)
	slices.Sort(peaks)
	rate, peak := rates[len(rates)/2], peaks[len(peaks)/2]
	b.ReportMetric(rate, "GFLOP/s")
	b.ReportMetric(peak, "peak")
	b.ReportMetric(rate/peak, "of-peak")
	b.ReportMetric(0, "ns/op")
}

// panels multiplies as a stream does: a chunk of step inputs at a time, as
// those of an MLP come, panel by panel, strip by strip.
func panels(gemm []func(*gemmArgs), cols int, a *matrix, w unsafe.Pointer, bias, c *matrix, depth, step, n int) {
	strips := (a.r + len(gemm) - 2) / (len(gemm) - 1)
	size := 4 * step * cols
	g := gemmArgs{lda: a.ld(), ldc: c.ld(), k: uintptr(step)}
	for k0 := 0; k0 < depth; k0 += step {
		for j := 0; j < n; j += cols {
			g.b = unsafe.Add(w, 4*(j*depth+k0*cols))
			g.bias = unsafe.Pointer(&bias.line(0)[j])
			g.offset, g.rowScale, g.colScale = g.bias, bias.p(), g.bias
			first := 0
			for s := range strips {
				r := (a.r - first) / (strips - s)
				g.a = unsafe.Add(a.p(), uintptr(first)*a.ld())
				g.c = unsafe.Add(c.p(), uintptr(first)*c.ld()+uintptr(4*j))
				g.next = unsafe.Add(g.b, 4*depth*cols+s*size/strips)
				gemm[r](&g)
				first += r
			}
		}
		g.acc = 1
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

// BenchmarkOps prints a table of operations for every precision of the fastest
// kernels. Run it with -benchtime 1x; the tables are of medians.
func BenchmarkOps(b *testing.B) {
	k := available()[0]
	for _, p := range []backend.Precision{backend.F32, backend.BF16, backend.Int8} {
		if len(k.missing[p]) > 0 {
			continue
		}
		device, err := New(backend.Options{Precision: p})
		require.NoError(b, err)
		backendtest.Bench(b, device)
		require.NoError(b, device.Close())
	}
}
