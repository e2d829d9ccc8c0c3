//go:build cgo && linux

package gpu

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend/gpu/device"
	"github.com/vitserve/vitserve/backend/gpu/kernels"
)

// words are what the dialect's words give: exactly rounded arithmetic, and how
// threads hear of each other. The numbers are those of the kernel's rows.
var words = []struct {
	name string
	want func(x [3][]float32, i int) float32
}{
	{"FMA", func(x [3][]float32, i int) float32 { return exactFMA(x[0][i], x[1][i], x[2][i]) }},
	{"a*b + c, rounded twice", func(x [3][]float32, i int) float32 {
		product := x[0][i] * x[1][i]
		return float32(float64(product) + float64(x[2][i]))
	}},
	{"SQRT", func(x [3][]float32, i int) float32 { return float32(math.Sqrt(math.Abs(float64(x[0][i])))) }},
	{"MAXF", func(x [3][]float32, i int) float32 { return max(x[0][i], x[1][i]) }},
	{"division", func(x [3][]float32, i int) float32 { return float32(float64(x[0][i]) / float64(x[1][i])) }},
	{"AS_INT, AS_FLOAT", func(x [3][]float32, i int) float32 {
		return math.Float32frombits(math.Float32bits(x[0][i]) ^ math.Float32bits(x[1][i]))
	}},
	{"whole part", func(x [3][]float32, i int) float32 { return float32(int32(x[0][i])) }},
	{"sum of a warp", func(x [3][]float32, i int) float32 {
		var v [32]float32
		copy(v[:], x[0][i/32*32:])
		for d := 16; d > 0; d /= 2 {
			old := v
			for j := range v {
				v[j] = old[j] + old[j^d]
			}
		}
		return v[i%32]
	}},
	{"LOCAL memory over a BARRIER", func(x [3][]float32, i int) float32 { return x[0][i/256*256+255-i%256] }},
	{"expn", nil}, // near, not exact
	{"GROUP, GROUPS", func(x [3][]float32, i int) float32 { return float32(i + len(x[0])/256) }},
}

// exactFMA rounds once.
func exactFMA(a, b, c float32) float32 {
	f := func(v float32) *big.Float { return new(big.Float).SetPrec(400).SetFloat64(float64(v)) }
	sum := f(a)
	sum.Mul(sum, f(b)).Add(sum, f(c))
	got, _ := sum.Float32()
	return got
}

// TestWords holds a device to the meaning of every word of the dialect, on
// operands of all sizes. Where VITSERVE_GPU_WORDS names a file it gets a hash
// of each word's answers.
func TestWords(t *testing.T) {
	const n = 256 * 64
	rng := rand.New(rand.NewPCG(1, 2))
	x := [3][]float32{make([]float32, n), make([]float32, n), make([]float32, n)}
	for _, v := range x {
		for i := range v {
			v[i] = float32(rng.NormFloat64() * math.Exp2(float64(rng.IntN(25)-12)))
		}
	}
	for i := 0; i < n; i += 16 { // products that all but cancel
		x[2][i] = -x[0][i] * x[1][i]
	}
	onEach(t, func(t *testing.T, b *Backend) {
		in, err := b.d.Alloc(4 * 3 * n)
		require.NoError(t, err)
		out, err := b.d.Alloc(4 * len(words) * n)
		require.NoError(t, err)
		host, err := b.d.Pin(4 * len(words) * n)
		require.NoError(t, err)
		values := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(host.Bytes))), len(words)*n)
		for i, v := range x {
			copy(values[i*n:], v)
		}
		copied := func(kind int32, mem uint64, size int) device.Op {
			return device.Op{Kind: kind, Mem: [device.Mems]uint64{mem}, Host: host.Address(0), Size: uint64(size)}
		}
		require.NoError(t, b.queue.Run([]device.Op{
			copied(device.Write, in.Handle, 4*3*n),
			launch(b.numbers["words"], [3]int{n / 256, 1, 1}, kernels.Words{N: n}, out.Handle, in.Handle),
			copied(device.Read, out.Handle, 4*len(words)*n),
		}))
		hashes := map[string]string{}
		for w, word := range words {
			got, hash := values[w*n:][:n], fnv.New64a()
			for i, v := range got {
				fmt.Fprintf(hash, "%08x", math.Float32bits(v))
				if word.want != nil {
					want := word.want(x, i)
					require.Equal(t, math.Float32bits(want), math.Float32bits(v), "%s of %v, %v, %v is %v, want %v", word.name, x[0][i], x[1][i], x[2][i], v, want)
					continue
				}
				want := math.Exp(-math.Abs(float64(x[0][i])))
				require.InDelta(t, want, v, 4e-7*want+1e-37, "%s of %v", word.name, x[0][i])
			}
			hashes[word.name] = fmt.Sprintf("%016x", hash.Sum64())
		}
		if path := os.Getenv("VITSERVE_GPU_WORDS"); path != "" && b.driver == "cuda" {
			text, err := json.Marshal(hashes)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, text, 0o644))
		}
		require.NoError(t, b.d.Unpin(host))
		require.NoError(t, b.d.Free(in))
		require.NoError(t, b.d.Free(out))
	})
}
