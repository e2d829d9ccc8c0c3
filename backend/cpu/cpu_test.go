package cpu

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/backendtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openTest opens a backend that the test closes.
func openTest(t testing.TB, k *kernels, o backend.Options) *Backend {
	b, err := open(o, k)
	require.NoError(t, err)
	b.cached = 0 // what is done for large models is done for those of tests
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// otherAttention returns k for a machine that computes attention in int8 in
// the other way than this one: without bf16 where this one has it, and with
// the kernels of portable Go where it has not. So every machine tests both.
func otherAttention(k *kernels) *kernels {
	other := *k
	if len(k.missing[backend.BF16]) == 0 {
		other.name += "-bf16"
		other.missing[backend.BF16] = bf16Features
		other.lowPrecision = lowPrecision{gemmInt8: k.gemmInt8, toU8: k.toU8}
		return &other
	}
	other.name += "+bf16"
	other.missing = [backend.Int8 + 1][]string{}
	other.lowPrecision = portableLow(k)
	if len(k.missing[backend.Int8]) == 0 {
		other.gemmInt8, other.toU8 = k.gemmInt8, k.toU8
	}
	return &other
}

// TestAttention tests what the products of Attention are computed in, and
// that a backend says it.
func TestAttention(t *testing.T) {
	names := map[bool][]string{
		true:  {backend.F32: "f32", backend.BF16: "bf16", backend.Int8: "int8, attention bf16"},
		false: {backend.F32: "f32", backend.Int8: "int8, attention f32"},
	}
	for _, k := range append(available(), otherAttention(available()[0])) {
		bf16 := len(k.missing[backend.BF16]) == 0
		for p, name := range names[bf16] {
			if p := backend.Precision(p); len(k.missing[p]) == 0 {
				require.Equal(t, "cpu/"+k.name+" "+name, openTest(t, k, backend.Options{Precision: p, Threads: 1}).Name())
			}
		}
	}
}

// TestDevice tests that the processor is one device, of so many threads.
func TestDevice(t *testing.T) {
	b := openTest(t, available()[0], backend.Options{Device: "cpu", Threads: 3})
	require.Equal(t, backend.Info{Device: "cpu", Threads: 3}, b.Info())
	_, err := open(backend.Options{Device: "1"}, available()[0])
	require.ErrorIs(t, err, backend.ErrUnsupported)
	require.ErrorContains(t, err, `device "1", want "cpu"`)
}

// TestConformance holds every implementation that this machine can run, in
// every precision, with one thread and with several, to backend/ref.
func TestConformance(t *testing.T) {
	other := otherAttention(available()[0])
	for _, k := range append(available(), other) {
		for _, p := range []backend.Precision{backend.F32, backend.BF16, backend.Int8} {
			if k == other && p != backend.Int8 {
				continue
			}
			for _, threads := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s/%v/threads=%d", k.name, p, threads), func(t *testing.T) {
					if len(k.missing[p]) > 0 {
						_, err := open(backend.Options{Precision: p}, k)
						require.ErrorIs(t, err, backend.ErrUnsupported)
						require.ErrorContains(t, err, k.missing[p][0])
						return
					}
					backendtest.Run(t, openTest(t, k, backend.Options{Precision: p, Threads: threads}), p)
				})
			}
		}
	}
}
