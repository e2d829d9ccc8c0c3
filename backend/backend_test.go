package backend

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

// floats is memory of so many values.
type floats int

func (f floats) Floats() int { return int(f) }

func (floats) Temporary() bool { return false }

// view returns a tensor over memory of its own, without gaps.
func view(shape ...int) Tensor {
	t := Tensor{Shape: shape, Row: shape[len(shape)-1], Batch: 1}
	for _, n := range shape[1:] {
		t.Batch *= n
	}
	t.Mem = floats(t.Batch * shape[0])
	return t
}

func TestViews(t *testing.T) {
	x := view(4, 10, 30)
	v := x.First(2).Rows(3, 7).Cols(10, 20)
	require.Equal(t, Tensor{Mem: x.Mem, Offset: 3*30 + 10, Shape: tensor.Shape{2, 4, 10}, Batch: 300, Row: 30}, v)
	require.Equal(t, tensor.Shape{4, 10, 30}, x.Shape, "a view changes nothing of what it looks at")
	require.Equal(t, Tensor{Mem: x.Mem, Offset: 4*30 + 11, Shape: tensor.Shape{2, 1, 2}, Batch: 300, Row: 30}, v.Rows(1, 2).Cols(1, 3), "views of views")
	require.Equal(t, Tensor{Mem: floats(12), Offset: 4, Shape: tensor.Shape{2, 4}, Batch: 4, Row: 4}, view(3, 4).Rows(1, 3))
	require.Equal(t, Tensor{Mem: floats(5), Offset: 2, Shape: tensor.Shape{2}, Batch: 1, Row: 5}, view(5).Cols(2, 4))
	require.True(t, Tensor{}.IsZero())
	require.False(t, x.IsZero())
	for name, f := range map[string]func(){
		"backend: first 5 images of (4, 10, 30)":  func() { x.First(5) },
		"backend: first -1 images of (4, 10, 30)": func() { x.First(-1) },
		"backend: rows 3 to 11 of (4, 10, 30)":    func() { x.Rows(3, 11) },
		"backend: rows 4 to 3 of (4, 10, 30)":     func() { x.Rows(4, 3) },
		"backend: columns -1 to 3 of (4, 10, 30)": func() { x.Cols(-1, 3) },
		"backend: columns 0 to 31 of (4, 10, 30)": func() { x.Cols(0, 31) },
		"backend: rows 0 to 1 of (2, 3, 4, 5)":    func() { view(2, 3, 4, 5).Rows(0, 1) },
		"backend: rows 0 to 1 of (5)":             func() { view(5).Rows(0, 1) },
	} {
		require.PanicsWithValue(t, name, f)
	}
}

func TestPrecision(t *testing.T) {
	for _, p := range []Precision{F32, BF16, Int8} {
		got, err := ParsePrecision(p.String())
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
	_, err := ParsePrecision("fp16")
	require.EqualError(t, err, `backend: precision "fp16", want one of f32, bf16, int8`)
	require.Equal(t, "Precision(9)", Precision(9).String())
	require.Equal(t, "gelu_tanh", GELUTanh.String())
	require.Equal(t, "Activation(9)", Activation(9).String())
}

// opened is a backend that only has a name.
type opened struct{ Backend }

func TestRegistry(t *testing.T) {
	broken := errors.New("no such device")
	Register("test-b", func(o Options) (Backend, error) {
		if o.Precision != F32 {
			return nil, fmt.Errorf("%v: %w", o.Precision, ErrUnsupported)
		}
		return opened{}, nil
	})
	Register("test-a", func(Options) (Backend, error) { return nil, broken })
	require.Equal(t, []string{"test-a", "test-b"}, Names())
	require.PanicsWithValue(t, "backend: test-a registered twice", func() { Register("test-a", openNothing) })

	b, err := Open("test-b", Options{})
	require.NoError(t, err)
	require.Equal(t, opened{}, b)
	_, err = Open("test-b", Options{Precision: Int8})
	require.ErrorIs(t, err, ErrUnsupported)
	require.EqualError(t, err, "backend: open test-b: int8: not supported by this machine")
	_, err = Open("test-a", Options{})
	require.ErrorIs(t, err, broken)
	for _, n := range []int{-1, MaxThreads + 1, 100_000, -1 << 62} {
		_, err = Open("test-b", Options{Threads: n})
		require.EqualError(t, err, fmt.Sprintf("backend: open test-b: %d threads, want 0 to 1024, where 0 is one a core", n))
	}
	_, err = Open("test-b", Options{Threads: MaxThreads})
	require.NoError(t, err)
	_, err = Open("gpu", Options{})
	require.EqualError(t, err, `backend: no backend "gpu" in this binary, want one of test-a, test-b`)
}

func openNothing(Options) (Backend, error) { return nil, nil }

func TestHostFloats(t *testing.T) {
	m := tensor.New(tensor.WithShape(3, 4), tensor.WithBacking([]float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}))
	got, err := HostFloats(m)
	require.NoError(t, err)
	require.Equal(t, m.Float32s(), got)

	rows, err := m.Slice(tensor.S(1, 3))
	require.NoError(t, err)
	if got, err = HostFloats(rows.(*tensor.Dense)); err == nil {
		require.Equal(t, []float32{4, 5, 6, 7, 8, 9, 10, 11}, got, "rows without gaps are taken or refused, never misread")
	}
	columns, err := m.Slice(nil, tensor.S(1, 3))
	require.NoError(t, err)
	_, err = HostFloats(columns.(*tensor.Dense))
	require.ErrorContains(t, err, "want contiguous rows")
	turned := m.Clone().(*tensor.Dense)
	require.NoError(t, turned.T())
	_, err = HostFloats(turned)
	require.ErrorContains(t, err, "want contiguous rows")
	_, err = HostFloats(tensor.New(tensor.WithShape(2, 2), tensor.Of(tensor.Float64)))
	require.EqualError(t, err, "backend: host tensor (2, 2) of float64, want float32")
	_, err = HostFloats(nil)
	require.EqualError(t, err, "backend: host tensor is nil")
}

// matrix is a weight that is only a shape.
type matrix struct{ out, in int }

func (m matrix) In() int    { return m.in }
func (m matrix) Out() int   { return m.out }
func (matrix) Close() error { return nil }

// TestChecks: what is right passes without a panic and without an
// allocation; wrong shapes are in backendtest, against every backend.
func TestChecks(t *testing.T) {
	x, y, qkv := view(2, 5, 8), view(2, 5, 6), view(2, 5, 24)
	n := Norm{Weight: view(8), Bias: view(8), Eps: 1e-6}
	p := &PatchEmbed{Patch: [2]int{2, 2}, Proj: matrix{8, 12}, Prefix: view(1, 8), Pos: view(4, 8)}
	pixels := view(2, 3, 5, 4)
	a := Attention{
		Heads: 2, Scale: 1, Bias: view(2, 5, 5), Rows: []int{4, 0}, Probs: view(2, 2, 2, 5),
		Rope: &Rope{Cos: view(4, 4), Sin: view(4, 4), Prefix: 1},
	}
	q, k, v := qkv.Cols(0, 8), qkv.Cols(8, 16), qkv.Cols(16, 24)
	probe := Tensor{Mem: floats(8), Shape: tensor.Shape{2, 1, 8}, Row: 8} // batch stride 0
	o, few := view(2, 1, 8), Attention{Heads: 1}
	pooled, gathered := view(2, 1, 16), view(2, 3, 8)
	rows := []int{0, 4, 4}
	var w Linear = matrix{6, 8}
	var gated Linear = matrix{12, 8}
	pre := view(2, 5, 12)
	require.Zero(t, testing.AllocsPerRun(10, func() {
		CheckPatchEmbed(x, pixels, p)
		CheckLayerNorm(x, x, n)
		CheckLinear(y, x, w, false, Epilogue{Residual: y})
		CheckLinear(y, x, gated, true, Epilogue{Act: SwiGLU, Pre: pre})
		CheckAttention(x, q, k, v, a)
		CheckAttention(o, probe, k, v, few)
		CheckPool(pooled, x, Span{0, 1}, Span{1, 5})
		CheckGather(gathered, x, rows)
	}))
	for says, f := range map[string]func(){
		"stride 0":        func() { CheckLayerNorm(Tensor{Mem: x.Mem, Shape: x.Shape, Row: 8}, x, n) },
		"in memory of 80": func() { CheckLayerNorm(Tensor{Mem: x.Mem, Offset: 1, Shape: x.Shape, Row: 8, Batch: 40}, x, n) },
		"at -1":           func() { CheckLayerNorm(Tensor{Mem: x.Mem, Offset: -1, Shape: x.Shape, Row: 8, Batch: 40}, x, n) },
		"x is no tensor":  func() { CheckLayerNorm(x, Tensor{Shape: x.Shape}, n) },
		"Activation(7)":   func() { CheckLinear(y, x, w, false, Epilogue{Act: 7}) },
	} {
		require.Contains(t, recovered(f), says)
	}
}

func recovered(f func()) (message string) {
	defer func() { message = fmt.Sprint(recover()) }()
	f()
	return ""
}
