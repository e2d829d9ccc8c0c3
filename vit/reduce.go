package vit

import (
	"fmt"
	"math"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Reduce is how the tokens of a pooled span become one.
type Reduce uint8

// Ways of reducing tokens, of each channel by itself.
const (
	ReduceMean    Reduce = iota
	ReduceMax            // timm's max
	ReduceMeanMax        // the mean of both, timm's avgmax
)

// String returns "mean", "maximum" or "mean and maximum".
func (r Reduce) String() string {
	names := [...]string{"mean", "maximum", "mean and maximum"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("Reduce(%d)", r)
}

// reduce enqueues pooled (B, 1, len(Pool)·C) from tokens y (B, R, C), R as
// many as are pooled. refined (B, R, C) is memory for Config.Refine. A maximum
// is taken on the host: the stream is synced on the way.
func (m *Model) reduce(s backend.Stream, pooled, y, refined backend.Tensor, c Config) error {
	if c.Refine {
		rows := refined.Rows(0, poolEnd(c.Pool))
		s.Attention(rows, y.Rows(0, rows.Shape[1]), y, y, c.refining())
		y = rows
	}
	if c.Reduce == ReduceMean {
		s.Pool(pooled, y, c.Pool...)
		return nil
	}
	tokens := read(s, y)
	if err := s.Sync(); err != nil {
		return err
	}
	d := tensor.New(tensor.WithShape(pooled.Shape...), tensor.Of(tensor.Float32))
	spread(tokens, c, func(image, channel int, of []float32, top float32, _ int) {
		v := float64(top)
		if c.Reduce == ReduceMeanMax {
			v = (v + meanOf(of)) / 2
		}
		d.Float32s()[image*c.Dim+channel] = float32(v)
	})
	s.Write(pooled, d)
	return nil
}

// reduceGrad enqueues dy (B, N, C) from d (B, 1, len(Pool)·C) and what reduce
// was given, y (B, N, C). dqkv (B, N, 3C) is memory. Of several equal maxima
// each has its share, as in PyTorch.
func (m *Model) reduceGrad(s backend.Stream, dy, d, y, dqkv backend.Tensor) error {
	c := m.cfg
	if c.Reduce == ReduceMean {
		s.PoolGrad(dy, d, c.Pool...)
	} else {
		tokens, grad := read(s, y.Rows(0, poolEnd(c.Pool))), read(s, d)
		if err := s.Sync(); err != nil {
			return err
		}
		back := tensor.New(tensor.WithShape(dy.Shape...), tensor.Of(tensor.Float32))
		size := dy.Shape[1] * c.Dim
		spread(tokens, c, func(image, channel int, of []float32, top float32, tops int) {
			g := grad.Float32s()[image*c.Dim+channel]
			for i, v := range of {
				var part float32
				if v == top {
					part = g / float32(tops)
				}
				if c.Reduce == ReduceMeanMax {
					part = (part + g/float32(len(of))) / 2
				}
				back.Float32s()[image*size+(c.Pool[0].Lo+i)*c.Dim+channel] = part
			}
		})
		s.Write(dy, back)
	}
	if c.Refine {
		q, k, v := dqkv.Cols(0, c.Dim), dqkv.Cols(c.Dim, 2*c.Dim), dqkv.Cols(2*c.Dim, 3*c.Dim)
		s.AttentionGrad(q, k, v, dy, y, y, y, c.refining())
		s.LinearGrad(dy, dqkv, m.refine, backend.Epilogue{})
	}
	return nil
}

// spread calls f with each channel of the pooled tokens (B, R, C) of each
// image, their largest value and how often it is there. A NaN is the largest.
func spread(tokens *tensor.Dense, c Config, f func(image, channel int, of []float32, top float32, tops int)) {
	shape, x := tokens.Shape(), tokens.Float32s()
	of := make([]float32, c.Pool[0].Hi-c.Pool[0].Lo)
	for image := range shape[0] {
		for channel := range c.Dim {
			top, tops := float32(math.Inf(-1)), 0
			for i := range of {
				v := x[(image*shape[1]+c.Pool[0].Lo+i)*c.Dim+channel]
				switch of[i] = v; {
				case v > top || v != v:
					top, tops = v, 1
				case v == top:
					tops++
				}
			}
			f(image, channel, of, top, tops)
		}
	}
}

func meanOf(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	return sum / float64(len(x))
}

// refining is the attention of Config.Refine.
func (c Config) refining() backend.Attention {
	return backend.Attention{Heads: c.Heads, Scale: float32(1 / math.Sqrt(float64(c.Dim/c.Heads)))}
}

// thrice is the layer whose gradient adds up those of queries, keys and
// values that are all the tokens: three identities on each other.
func (u *uploader) thrice(c Config) backend.Linear {
	if !c.Refine {
		return nil
	}
	w := make([]float32, 3*c.Dim*c.Dim)
	for i := range 3 * c.Dim {
		w[i*c.Dim+i%c.Dim] = 1
	}
	return u.linear(tensor.New(tensor.WithShape(3*c.Dim, c.Dim), tensor.WithBacking(w)), nil, backend.LinearOptions{Exact: true})
}

// pool enqueues the features: the final norm, where it stands, over the
// tokens that they are made of. The spans are those of c. A probe leaves its
// keys and values in mem.qkv.
func (m *Model) pool(s backend.Stream, mem *memory, c Config, probs attention.Capture) error {
	rows := min(c.pooledRows(), mem.x.Shape[1])
	x := mem.x.Rows(0, rows)
	if c.FinalNorm.tokens() {
		y := mem.y.Rows(0, rows)
		s.LayerNorm(y, x, m.norm)
		x = y
	}
	if m.probe != nil {
		m.probe.forward(s, mem.pooled, x, mem.qkv.Cols(c.Dim, 3*c.Dim), mem.probed, probs)
	} else if err := m.reduce(s, mem.pooled, x, mem.qkv.Cols(0, c.Dim), c); err != nil {
		return err
	}
	if c.FinalNorm.pooled() {
		s.LayerNorm(mem.pooled, mem.pooled, m.norm)
	}
	return nil
}
