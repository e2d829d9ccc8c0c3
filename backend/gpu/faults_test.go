//go:build cgo && linux

package gpu

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/gpu/standin"
	"gorgonia.org/tensor"
)

// numbers is a host tensor of numbers that repeat themselves after 7.
func numbers(shape ...int) *tensor.Dense {
	d := tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
	for i := range d.Float32s() {
		d.Float32s()[i] = float32(i%7) - 3
	}
	return d
}

// life opens a backend and gives it back; between, it uploads, computes
// forward and backward on one stream and reads. It returns what it has read.
func life(name string) (got []float32, err error) {
	b, err := backend.Open(name, backend.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return pass(b)
}

// pass is the part of life that needs an open backend.
func pass(b backend.Backend) (got []float32, err error) {
	weight, err := b.Upload(numbers(8))
	if err != nil {
		return nil, err
	}
	defer b.Free(weight)
	w, err := b.NewLinear(numbers(8, 8), numbers(8), backend.LinearOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	s, err := b.NewStream(backend.StreamOptions{Priority: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	x, y, probs, h := s.Alloc(2, 3, 8), s.Alloc(2, 4, 12).Rows(1, 4).Cols(2, 10), s.Alloc(2, 2, 1, 3), s.Temp(2, 3, 8)
	out := numbers(2, 3, 8)
	for range 2 {
		s.Write(x, numbers(2, 3, 8))
		s.Write(y, numbers(2, 3, 8)) // by way of a kernel: it is a view
		s.LayerNorm(h, x, backend.Norm{Weight: weight, Bias: weight, Eps: 1e-6})
		s.Linear(x, h, w, backend.Epilogue{Act: backend.GELU, Residual: x})
		s.Attention(y, x, x, x, backend.Attention{Heads: 2, Scale: 1, Rows: []int{1}, Probs: probs})
		s.LinearGrad(x, y, w, backend.Epilogue{})
		s.Read(out, x)
		s.Read(numbers(2, 3, 8), y)
		s.Read(numbers(2, 2, 1, 3), probs)
		if err := s.Sync(); err != nil {
			return nil, err
		}
	}
	return out.Float32s(), nil
}

// functions are those of a driver's source that the program calls.
func functions(t *testing.T, file, pattern string) (names []string) {
	source, err := os.ReadFile(filepath.Join("device", file))
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(source), -1) {
		names = append(names, m[1])
	}
	require.Greater(t, len(names), 15)
	return names
}

// fault lets the n-th call of a function fail and returns whether there was
// one.
func fault(t *testing.T, f func(), function string, n, code int) bool {
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("STANDIN_LOG", log)
	t.Setenv("STANDIN_FAIL", fmt.Sprintf("%s:%d:%d", function, n, code))
	f()
	t.Setenv("STANDIN_FAIL", "")
	said, err := os.ReadFile(log)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	require.NoError(t, err)
	require.Contains(t, string(said), fmt.Sprintf("failed %s %d\n", function, n))
	return true
}

// TestFaultsCUDA lets every function of the driver fail at each of its calls:
// an error comes, nothing is left, which the stand-in looks at when the last
// context goes, and the next stream and the next backend work.
func TestFaultsCUDA(t *testing.T) {
	standin.Whole(t)
	standin.CUDA(t)
	want, err := life("cuda")
	require.NoError(t, err)
	kinds := map[int]error{999: nil, 2: backend.ErrNoMemory, 700: backend.ErrLost}
	for _, function := range functions(t, "cuda.c", `X\(\w+, +"(\w+)"`) {
		if function == "cuInit" || function == "cuGetErrorName" { // see TestAbsent; says nothing but words
			continue
		}
		t.Run(function, func(t *testing.T) {
			for code, kind := range kinds {
				n := 1
				for ; ; n++ {
					var err error
					if !fault(t, func() { _, err = life("cuda") }, function, n, code) {
						require.NoError(t, err)
						break
					}
					require.Error(t, err, "call %d, CUDA error %d", n, code)
					if kind != nil {
						require.ErrorIs(t, err, kind, "call %d, CUDA error %d", n, code)
					}
				}
				require.Greater(t, n, 1, "it is never called")
				got, err := life("cuda")
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
			// The same on a backend that stays: the next stream works.
			b := openTest(t, "cuda")
			for n := 1; ; n++ {
				var err error
				if !fault(t, func() { _, err = pass(b) }, function, n, 999) {
					break
				}
				require.Error(t, errors.Join(err, b.unfreed), "call %d", n) // Free tells it to Close
				b.unfreed = nil
				got, err := pass(b)
				require.NoError(t, err, "after call %d", n)
				require.Equal(t, want, got)
			}
		})
	}
}

// TestFaultsOpenCL does it with the functions of OpenCL, at every call up to
// the twelfth and at fewer behind it: arguments are set by the hundred.
func TestFaultsOpenCL(t *testing.T) {
	standin.Whole(t)
	standin.OpenCL(t)
	want, err := life("opencl")
	require.NoError(t, err)
	b := openTest(t, "opencl")
	for _, function := range functions(t, "opencl.c", `X\([\w *]+, (cl\w+),`) {
		t.Run(function, func(t *testing.T) {
			failed := 0
			try := func(f func() error, again func() ([]float32, error)) {
				for n := 1; ; n += 1 + n/12*n/3 {
					var err error
					if !fault(t, func() { err = f() }, function, n, -59) {
						return
					}
					failed++
					require.Error(t, errors.Join(err, b.unfreed), "call %d", n)
					b.unfreed = nil
					got, err := again()
					require.NoError(t, err, "after call %d", n)
					require.Equal(t, want, got)
				}
			}
			onPass := func() ([]float32, error) { return pass(b) }
			try(func() error { _, err := pass(b); return err }, onPass)
			if failed == 0 { // it opens or closes a backend
				try(func() error {
					other, err := backend.Open("opencl", backend.Options{})
					if err == nil {
						err = other.Close()
					}
					return err
				}, onPass)
			}
			if function != "clGetProgramBuildInfo" { // which only a compiler's complaint calls
				require.Positive(t, failed, "it is never called")
			}
		})
	}
}

// TestLost: a device that is lost answers nothing any more and says so.
func TestLost(t *testing.T) {
	standin.CUDA(t)
	b, err := backend.Open("cuda", backend.Options{})
	require.NoError(t, err)
	require.False(t, b.(*Backend).Lost())
	open, err := b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	require.True(t, fault(t, func() { _, err = pass(b) }, "cuLaunchKernel", 3, 700))
	require.ErrorIs(t, err, backend.ErrLost)
	require.True(t, b.(*Backend).Lost())
	_, err = pass(b)
	require.ErrorIs(t, err, backend.ErrLost)
	require.ErrorIs(t, open.Sync(), backend.ErrLost)
	require.NoError(t, b.Close(), "it has been told")
	require.Zero(t, b.(*Backend).Bytes())
	_, err = life("cuda")
	require.NoError(t, err)
}

// TestNoMemory: what does not fit is refused with its size, at load and at
// run, and what fits goes on.
func TestNoMemory(t *testing.T) {
	standin.CUDA(t)
	t.Setenv("STANDIN_MEMORY", fmt.Sprint(10<<20))
	b := openTest(t, "cuda")
	_, err := b.NewLinear(numbers(2000, 2000), nil, backend.LinearOptions{})
	require.ErrorIs(t, err, backend.ErrNoMemory)
	require.ErrorContains(t, err, "weight (2000, 2000): out of device memory: 16000000 bytes are wanted, 10485760 of 10485760 are free")
	_, err = b.Upload(numbers(3000, 1000))
	require.ErrorContains(t, err, "upload (3000, 1000)")

	s, err := b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	large := s.Alloc(2000, 1000)
	s.Write(large, numbers(2000, 1000))
	require.NoError(t, s.Sync())
	other, err := b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	more := other.Alloc(1000, 1000)
	err = other.Sync()
	require.ErrorIs(t, err, backend.ErrNoMemory)
	require.ErrorContains(t, err, "(1000, 1000), of 4000000 bytes")
	require.NoError(t, other.Sync(), "nothing is asked of it")
	_, err = pass(b)
	require.NoError(t, err, "what fits goes on")
	other.Write(more, numbers(1000, 1000))
	require.ErrorIs(t, other.Sync(), backend.ErrNoMemory)
	require.NoError(t, s.Close())
	got := tensor.New(tensor.WithShape(1000, 1000), tensor.Of(tensor.Float32))
	other.Write(more, numbers(1000, 1000))
	other.Read(got, more)
	require.NoError(t, other.Sync(), "there is room now")
	require.Equal(t, numbers(1000, 1000).Float32s(), got.Float32s())
	require.NoError(t, other.Close())
}

// TestAbsurd: what no device could hold is refused before the driver is asked.
func TestAbsurd(t *testing.T) {
	standin.CUDA(t)
	b := openTest(t, "cuda")
	s, err := b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	for _, shape := range [][]int{{1 << 40}, {1 << 31, 1 << 31, 1 << 31, 1 << 31}, {1, 3 << 30}} {
		called := fault(t, func() {
			s.Alloc(shape...)
			s.Temp(shape...)
			err = s.Sync()
		}, "cuMemAlloc_v2", 1, 2)
		require.False(t, called)
		require.ErrorIs(t, err, backend.ErrNoMemory)
		require.ErrorContains(t, err, fmt.Sprint(tensor.Shape(shape)))
	}
	require.NoError(t, s.Close())
}

// TestChild opens a backend in a process of its own, of which TestAbsent reads
// the answer: a process opens its driver once.
func TestChild(t *testing.T) {
	name := os.Getenv("VITSERVE_GPU_CHILD")
	if name == "" {
		t.Skip("of TestAbsent")
	}
	b, err := backend.Open(name, backend.Options{})
	if err == nil {
		err = b.Close()
	}
	fmt.Printf("answer: %v, unsupported %v\n", err, errors.Is(err, backend.ErrUnsupported))
}

// TestAbsent: without a driver, or with an old one, the program runs and says
// what is missing.
func TestAbsent(t *testing.T) {
	standin.CUDA(t)
	library := os.Getenv("VITSERVE_CUDA")
	old := filepath.Join(t.TempDir(), "libold.so")
	compile := exec.Command("g++", "-shared", "-fPIC", "-o", old, "-x", "c++", "-")
	compile.Stdin = strings.NewReader(`extern "C" { int cuInit(unsigned) { return 0; } int cuGetErrorName(int, const char **) { return 0; } }`)
	out, err := compile.CombinedOutput()
	require.NoError(t, err, string(out))
	for name, c := range map[string]struct {
		backend string
		env     []string
		says    []string
	}{
		"no driver":         {"cuda", []string{"VITSERVE_CUDA=/nowhere/libcuda.so.1"}, []string{"no NVIDIA driver", "/nowhere/libcuda.so.1", "unsupported true"}},
		"old driver":        {"cuda", []string{"VITSERVE_CUDA=" + old}, []string{"too old", "it has no cuDeviceGetCount", "unsupported true"}},
		"no device":         {"cuda", []string{"VITSERVE_CUDA=" + library, "STANDIN_DEVICES=0"}, []string{"CUDA has 0 devices", "unsupported true"}},
		"no such device":    {"cuda:2", []string{"VITSERVE_CUDA=" + library}, []string{"CUDA has 2 devices, numbered from 0: no number 2", "unsupported true"}},
		"the second device": {"cuda:1", []string{"VITSERVE_CUDA=" + library}, []string{"answer: <nil>"}},
		"no number":         {"cuda:one", []string{"VITSERVE_CUDA=" + library}, []string{`"cuda:one", want cuda:0`, "unsupported true"}},
		"cuInit":            {"cuda", []string{"VITSERVE_CUDA=" + library, "STANDIN_FAIL=cuInit:1:100"}, []string{"cuInit: CUDA error 100 CUDA_ERROR_NO_DEVICE", "unsupported true"}},
		"no loader":         {"opencl", []string{"VITSERVE_OPENCL=/nowhere/libOpenCL.so.1"}, []string{"no OpenCL loader", "/nowhere/libOpenCL.so.1", "unsupported true"}},
		"no OpenCL loader":  {"opencl", []string{"VITSERVE_OPENCL=" + old}, []string{"the OpenCL loader lacks clGetPlatformIDs", "unsupported true"}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestChild$")
			cmd.Env = append(append(os.Environ(), "VITSERVE_GPU_CHILD="+c.backend), c.env...)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			for _, says := range c.says {
				require.Contains(t, string(out), says)
			}
		})
	}
}

// TestPrecision: what is not there is refused by name.
func TestPrecision(t *testing.T) {
	for _, name := range []string{"cuda", "opencl"} {
		for _, p := range []backend.Precision{backend.BF16, backend.Int8} {
			_, err := backend.Open(name, backend.Options{Precision: p})
			require.ErrorIs(t, err, backend.ErrUnsupported)
			require.ErrorContains(t, err, fmt.Sprint(p))
		}
	}
}
