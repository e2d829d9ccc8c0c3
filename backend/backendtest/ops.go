package backendtest

import (
	"fmt"
	"testing"

	"github.com/vitserve/vitserve/backend"
)

func (s suite) patchEmbed(t *testing.T) {
	for _, c := range []struct {
		batch, height, width int
		patch                [2]int
		dim, prefix          int
		pos, bias            bool
	}{
		{1, 16, 16, [2]int{16, 16}, 32, 1, true, true},
		{1, 224, 224, [2]int{16, 16}, 48, 1, true, true},
		{2, 28, 42, [2]int{14, 14}, 50, 0, true, false},
		{3, 33, 50, [2]int{16, 16}, 40, 5, true, true}, // pixels behind the last whole patch
		{2, 12, 24, [2]int{4, 8}, 33, 2, false, true},
	} {
		t.Run(fmt.Sprintf("%d×%d×%d/%v", c.batch, c.height, c.width, c.patch), func(t *testing.T) {
			s.compare(t, "PatchEmbed", true, func(r *rig) []backend.Tensor {
				p := &backend.PatchEmbed{
					Patch: c.patch,
					Proj:  r.linear(c.dim, 3*c.patch[0]*c.patch[1], c.bias, backend.LinearOptions{Exact: true}),
				}
				n := (c.height / c.patch[0]) * (c.width / c.patch[1])
				if c.prefix > 0 {
					p.Prefix = r.upload(r.normal(1, c.prefix, c.dim))
				}
				if c.pos {
					p.Pos = r.upload(r.normal(1, n, c.dim))
				}
				x := r.full(7, c.batch, c.prefix+n, c.dim)
				r.PatchEmbed(x, r.tokens(c.batch, 3, c.height, c.width), p)
				return []backend.Tensor{x}
			})
		})
	}
}

func (s suite) layerNorm(t *testing.T) {
	for _, c := range []struct{ batch, n, dim int }{
		{1, 1, 32}, {2, 5, 50}, {3, 17, 192}, {1, 197, 768}, {2, 257, 80}, {1, 3, 1280}, {1, 577, 33},
	} {
		for _, eps := range []float32{1e-6, 1e-12} {
			t.Run(fmt.Sprintf("%d×%d×%d/%g", c.batch, c.n, c.dim, eps), func(t *testing.T) {
				s.compare(t, "LayerNorm", true, func(r *rig) []backend.Tensor {
					x := r.tokens(c.batch, c.n, c.dim)
					y := r.full(7, c.batch, c.n, c.dim)
					r.LayerNorm(y, x, r.norm(c.dim, eps))
					r.LayerNorm(x, x, r.norm(c.dim, eps)) // over its own input
					return []backend.Tensor{y, x}
				})
			})
		}
	}
	t.Run("mean of thirty", func(t *testing.T) { // a one-pass variance is lost here
		s.compare(t, "LayerNorm", true, func(r *rig) []backend.Tensor {
			d := r.normal(1, 1, 7, 192)
			for i := range d.Float32s() {
				d.Float32s()[i] += 30
			}
			x, y := r.Alloc(1, 7, 192), r.Alloc(1, 7, 192)
			r.Write(x, d)
			r.LayerNorm(y, x, r.norm(192, 1e-6))
			return []backend.Tensor{y}
		})
	})
	t.Run("constant row", func(t *testing.T) {
		s.compare(t, "LayerNorm", true, func(r *rig) []backend.Tensor {
			x, y := r.full(0.5, 1, 3, 192), r.Alloc(1, 3, 192)
			r.LayerNorm(y, x, r.norm(192, 1e-6))
			return []backend.Tensor{y}
		})
	})
	t.Run("views", func(t *testing.T) {
		s.compare(t, "LayerNorm", true, func(r *rig) []backend.Tensor {
			x, y := r.tokens(3, 20, 150), r.full(7, 3, 20, 90)
			r.LayerNorm(y.First(2).Rows(3, 8).Cols(11, 61), x.First(2).Rows(1, 6).Cols(70, 120), r.norm(50, 1e-6))
			one := x.First(1)
			one.Shape[0], one.Batch = 3, 0 // one image for all
			z := r.full(7, 3, 20, 150)
			r.LayerNorm(z, one, r.norm(150, 1e-6))
			return []backend.Tensor{y, z}
		})
	})
}

// linears are batch, tokens, in, out.
var linears = [][4]int{
	{1, 1, 32, 32}, {1, 1, 768, 1000}, {1, 5, 17, 33}, {2, 17, 50, 70}, {1, 197, 64, 192},
	{2, 257, 80, 48}, {1, 577, 48, 31}, {1, 14, 192, 15}, {3, 13, 3072, 40}, {4, 1, 33, 1},
}

func (s suite) linear(t *testing.T) {
	for _, c := range linears {
		batch, n, in, out := c[0], c[1], c[2], c[3]
		t.Run(fmt.Sprintf("%d×%d×%d to %d", batch, n, in, out), func(t *testing.T) {
			for _, exact := range []bool{false, true} {
				s.compare(t, "Linear", exact, func(r *rig) []backend.Tensor {
					o := backend.LinearOptions{Exact: exact}
					x := r.tokens(batch, n, in)
					plain, summed := r.full(7, batch, n, out), r.full(7, batch, n, out)
					stream := r.tokens(batch, n, out)
					r.Linear(plain, x, r.linear(out, in, false, o), backend.Epilogue{})
					r.Linear(summed, x, r.linear(out, in, true, o), backend.Epilogue{Residual: stream})
					r.Linear(stream, x, r.linear(out, in, true, o), backend.Epilogue{Residual: stream})
					return []backend.Tensor{plain, summed, stream}
				})
			}
		})
	}
	t.Run("views", func(t *testing.T) {
		s.compare(t, "Linear", false, func(r *rig) []backend.Tensor {
			x, y, res := r.tokens(3, 40, 150), r.full(7, 3, 50, 200), r.tokens(3, 45, 99)
			r.Linear(y.First(2).Rows(9, 42).Cols(21, 91), x.First(2).Rows(3, 36).Cols(17, 67), r.linear(70, 50, true, backend.LinearOptions{}),
				backend.Epilogue{Residual: res.First(2).Rows(12, 45).Cols(5, 75)})
			one := x.First(1)
			one.Shape[0], one.Batch = 3, 0
			z := r.full(7, 3, 40, 64)
			r.Linear(z, one, r.linear(64, 150, true, backend.LinearOptions{}), backend.Epilogue{})
			return []backend.Tensor{y, z}
		})
	})
}

var acts = []backend.Activation{backend.Identity, backend.GELU, backend.GELUTanh, backend.QuickGELU, backend.SwiGLU}

// activations asks for the activation alone, over the range where it is
// neither zero nor the identity, and far outside.
func (s suite) activations(t *testing.T) {
	for _, act := range acts {
		for _, scale := range []float32{1, 6, 200} {
			t.Run(fmt.Sprintf("%v/%g", act, scale), func(t *testing.T) {
				s.compare(t, "Linear", true, func(r *rig) []backend.Tensor {
					const n, half = 23, 45
					gated, out := act == backend.SwiGLU, half
					if gated {
						out = 2 * half
					}
					x := r.Alloc(1, n, 1)
					d := zeros(1, n, 1)
					for i := range d.Float32s() {
						d.Float32s()[i] = scale * (float32(i) - n/2) / n
					}
					r.Write(x, d)
					w := r.linear(out, 1, true, backend.LinearOptions{Exact: true, Gated: gated})
					y, pre, sum := r.full(7, 1, n, half), r.full(7, 1, n, out), r.tokens(1, n, half)
					r.Linear(y, x, w, backend.Epilogue{Act: act, Pre: pre})
					r.Linear(sum, x, w, backend.Epilogue{Act: act, Residual: sum})
					return []backend.Tensor{y, pre, sum}
				})
			})
		}
	}
}

func (s suite) mlp(t *testing.T) {
	for _, c := range []struct{ batch, n, dim, hidden int }{
		{1, 1, 32, 128}, {3, 5, 48, 100}, {1, 197, 64, 256}, {2, 17, 50, 33}, {1, 257, 80, 107}, {1, 29, 64, 3072}, {2, 577, 32, 64},
	} {
		for _, act := range acts {
			t.Run(fmt.Sprintf("%d×%d×%d×%d/%v", c.batch, c.n, c.dim, c.hidden, act), func(t *testing.T) {
				s.compare(t, "MLP", false, func(r *rig) []backend.Tensor {
					gated, width := act == backend.SwiGLU, c.hidden
					if gated {
						width *= 2
					}
					x := r.tokens(c.batch, c.n, c.dim)
					pre := r.full(7, c.batch, c.n, width)
					h := r.Temp(c.batch+1, c.n+2, c.hidden).First(c.batch).Rows(0, c.n)
					// Two layers over one Temp; the second keeps its
					// values before the activation.
					for layer := range 2 {
						e := backend.Epilogue{Act: act}
						if layer == 1 {
							e.Pre = pre
						}
						y := r.Alloc(c.batch, c.n, c.dim)
						r.LayerNorm(y, x, r.norm(c.dim, 1e-6))
						r.Linear(h, y, r.linear(width, c.dim, true, backend.LinearOptions{Gated: gated}), e)
						r.Linear(x, h, r.linear(c.dim, c.hidden, true, backend.LinearOptions{}), backend.Epilogue{Residual: x})
					}
					return []backend.Tensor{x, pre}
				})
			})
		}
	}
}

func (s suite) pool(t *testing.T) {
	for _, c := range []struct {
		batch, n, dim int
		spans         []backend.Span
	}{
		{1, 1, 32, []backend.Span{{Lo: 0, Hi: 1}}},
		{3, 17, 50, []backend.Span{{Lo: 0, Hi: 1}, {Lo: 1, Hi: 17}}},
		{2, 197, 192, []backend.Span{{Lo: 1, Hi: 197}}},
		{2, 257, 33, []backend.Span{{Lo: 0, Hi: 2}, {Lo: 5, Hi: 257}, {Lo: 4, Hi: 5}}},
	} {
		t.Run(fmt.Sprintf("%d×%d×%d/%v", c.batch, c.n, c.dim, c.spans), func(t *testing.T) {
			s.compare(t, "Pool", true, func(r *rig) []backend.Tensor {
				y := r.full(7, c.batch, 1, len(c.spans)*c.dim)
				r.Pool(y, r.tokens(c.batch, c.n, c.dim), c.spans...)
				wide, view := r.tokens(c.batch, c.n+2, c.dim+9), r.full(7, c.batch, 3, len(c.spans)*c.dim+4)
				r.Pool(view.Rows(1, 2).Cols(3, 3+len(c.spans)*c.dim), wide.Rows(1, c.n+1).Cols(5, 5+c.dim), c.spans...)
				return []backend.Tensor{y, view}
			})
		})
	}
}
