package backendtest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// backward enqueues dx = ∂L/∂x from dy, after a forward pass that kept taps.
func (m *familyModel) backward(dx, dy backend.Tensor) {
	r, batch, n := m.r, dy.Shape[0], m.tokens()
	if m.probe {
		m.attendGrad(dx, dy)
	} else {
		rows := []int{0}
		if m.last {
			rows = m.rows
		}
		kept := r.Alloc(batch, 1, m.dim)
		r.LayerNormGrad(kept, dy, m.pooled, m.norm, backend.Tensor{})
		r.GatherGrad(dx, kept, rows)
	}
	for i := range slices.Backward(m.layers) {
		l, t := &m.layers[i], &m.taps[i]
		g := dx.Rows(0, t.rows)
		m.mlpGrad(&l.hidden, t, g)
		do := r.Temp(batch, t.rows, m.dim)
		r.LinearGrad(do, m.behindGrad(g, t.attended, l.norm), l.proj, backend.Epilogue{})
		if m.inner {
			r.LayerNormGrad(do, do, t.o, l.on, backend.Tensor{})
		}
		dq, dkv, y := r.Temp(batch, t.rows, m.dim), r.Temp(batch, n, 2*m.dim), r.Alloc(batch, n, m.dim)
		if m.relative {
			r.RelativeBias(m.bias.Rows(0, t.rows), l.table, nil)
		}
		dk := dkv.Cols(0, m.dim)
		r.AttentionGrad(dq, dk, dkv.Cols(m.dim, 2*m.dim), do, t.qn, t.kn, t.kv.Cols(m.dim, 2*m.dim), m.attention(&l.mix, t.rows))
		if m.qkNorm {
			r.LayerNormGrad(dq, dq, t.q, l.qn, backend.Tensor{})
			r.LayerNormGrad(dk, dk, t.kv.Cols(0, m.dim), l.kn, backend.Tensor{})
		}
		var e backend.Epilogue
		if m.behind {
			y, e.Residual = dx, dx
		}
		r.LinearGrad(y, dkv, l.kv, e)
		r.LinearGrad(y.Rows(0, t.rows), dq, l.q, backend.Epilogue{Residual: y.Rows(0, t.rows)})
		if !m.behind {
			r.LayerNormGrad(dx, y, t.x, l.norm, dx)
		}
	}
}

// behindGrad is the gradient at the end of a branch, of its norm where that
// is behind it.
func (m *familyModel) behindGrad(g, inner backend.Tensor, n backend.Norm) backend.Tensor {
	if !m.behind {
		return g
	}
	d := m.r.Temp(g.Shape...)
	m.r.LayerNormGrad(d, g, inner, n, backend.Tensor{})
	return d
}

// mlpGrad derives g += ∂MLP(norm(mid))/∂mid.
func (m *familyModel) mlpGrad(l *hidden, t *taps, g backend.Tensor) {
	r, batch := m.r, g.Shape[0]
	dh, dz := r.Temp(batch, t.rows, m.width), r.Temp(batch, t.rows, m.dim)
	r.LinearGrad(dh, m.behindGrad(g, t.mixed, l.norm), l.fc2, backend.Epilogue{})
	if m.mlpInner {
		r.LayerNormGrad(dh, dh, t.h, l.inner, backend.Tensor{})
	}
	e := backend.Epilogue{Act: m.act, Pre: t.pre}
	if m.behind {
		e.Residual = g
		r.LinearGrad(g, dh, l.fc1, e)
		return
	}
	r.LinearGrad(dz, dh, l.fc1, e)
	r.LayerNormGrad(g, dz, t.mid, l.norm, g)
}

// attendGrad derives the pooling by the probe.
func (m *familyModel) attendGrad(dx, dy backend.Tensor) {
	r, batch, n := m.r, dy.Shape[0], m.tokens()
	g := r.Alloc(batch, 1, m.dim)
	r.Gather(g, dy, []int{0})
	m.mlpGrad(&m.poolMLP, &m.poolTaps, g)
	do, dkv, dn := r.Temp(batch, 1, m.dim), r.Temp(batch, n, 2*m.dim), r.Temp(batch, n, m.dim)
	r.LinearGrad(do, g, m.pool.proj, backend.Epilogue{})
	r.AttentionGrad(backend.Tensor{}, dkv.Cols(0, m.dim), dkv.Cols(m.dim, 2*m.dim), do,
		m.queryOf(batch), m.poolKV.Cols(0, m.dim), m.poolKV.Cols(m.dim, 2*m.dim), m.probeAttention())
	r.LinearGrad(dn, dkv, m.pool.kv, backend.Epilogue{})
	r.LayerNormGrad(dx, dn, m.pooled, m.norm, backend.Tensor{})
}

// lastOf are the tokens that are the features of images.
func lastOf(batch, n int) (rows []int) {
	for b := range batch {
		rows = append(rows, (3*b+n-1)%n)
	}
	return rows
}

// families compares whole encoders with the oracle's, where every tensor
// between two operations is a Temp, and where taps are kept and derived.
func (s suite) families(t *testing.T) {
	for name, f := range families {
		for _, batch := range []int{1, 3, 8} {
			t.Run(fmt.Sprintf("%s/%d", name, batch), func(t *testing.T) {
				s.compare(t, "Families", false, func(r *rig) []backend.Tensor {
					m := newFamily(r, f, 64, 100, 1e-6, [2]int{3, 5})
					m.rows = lastOf(batch, m.tokens())
					y, maps := r.full(7, batch, 1, m.dim), r.full(7, batch, m.heads, 1, m.tokens())
					m.forward(y, maps, r.tokens(batch, m.tokens(), m.dim))
					return []backend.Tensor{y, maps}
				})
				s.compare(t, "FamiliesGrad", false, func(r *rig) []backend.Tensor {
					m := newFamily(r, f, 64, 100, 1e-6, [2]int{3, 5})
					m.rows, m.keep = lastOf(batch, m.tokens()), true
					y, maps := r.full(7, batch, 1, m.dim), r.full(7, batch, m.heads, 1, m.tokens())
					dx := r.full(7, batch, m.tokens(), m.dim)
					m.forward(y, maps, r.tokens(batch, m.tokens(), m.dim))
					m.backward(dx, r.tokens(batch, 1, m.dim))
					return []backend.Tensor{y, maps, dx}
				})
			})
		}
	}
}

// familiesCompany tests that an image of any family gets the same bits alone
// and in a batch, on any number of threads, forward and backward.
func (s suite) familiesCompany(t *testing.T) {
	const images = 4
	for name, f := range families {
		t.Run(name, func(t *testing.T) {
			run := func(first, count, threads int, keep bool) []*tensor.Dense {
				return runCase(t, s.b, func(r *rig) []backend.Tensor {
					r.Threads(threads)
					m := newFamily(r, f, 64, 100, 1e-6, [2]int{4, 4})
					m.rows, m.keep = lastOf(images, m.tokens())[first:first+count], keep
					pick := func(n int) backend.Tensor {
						x := r.Alloc(count, n, m.dim)
						all := r.normal(1, images, n, m.dim)
						r.Write(x, dense(all.Float32s()[first*n*m.dim:(first+count)*n*m.dim], count, n, m.dim))
						return x
					}
					x, dy := pick(m.tokens()), pick(1)
					y, maps, dx := r.Alloc(count, 1, m.dim), r.Alloc(count, m.heads, 1, m.tokens()), r.Alloc(count, m.tokens(), m.dim)
					m.forward(y, maps, x)
					if keep {
						m.backward(dx, dy)
					}
					return []backend.Tensor{y, maps, dx}
				})
			}
			for _, keep := range []bool{false, true} {
				want := run(0, images, 0, keep)
				for _, part := range [][3]int{{0, images, 1}, {0, images, 2}, {0, 1, 0}, {3, 1, 2}, {1, 3, 0}, {2, 2, 1}} {
					for i, got := range run(part[0], part[1], part[2], keep) {
						n := want[i].Shape().TotalSize() / images
						require.Equal(t, bits(want[i].Float32s()[part[0]*n:(part[0]+part[1])*n]), bits(got.Float32s()), "output %d of %v", i, part)
					}
				}
			}
		})
	}
}
