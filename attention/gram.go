package attention

import (
	"errors"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Parts tell what a layer makes of a token, head by head: head h adds
// f = Wʰ vʰ for every token that it looks at, vʰ (D) its value, Wʰ (C, D) its
// columns of the projection. Only the dot products of such vectors are asked
// for (Gram), and those of heads h and g are vᵍ·(WᵍᵀWʰ vʰ), so that no f is
// ever made. Where a norm stands before the projection, W is what that makes of
// its centred and scaled input: the standard deviation is one number for all
// that a query looks at, and left out.
type Parts struct {
	heads []backend.Linear // by head h (C, D): WᵀWʰ; C² floats together
}

// Parts makes those of a layer. A backend shows nobody its weights, so the
// projection is applied to the identity, and derived. The stream is
// synchronised.
func (m *MultiHead) Parts(b backend.Backend, s backend.Stream, scratch PartsScratch) (_ *Parts, err error) {
	p := &Parts{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	in, out := scratch.in, scratch.out
	dim := in.Shape[2]
	// The last row is zero: what comes of it is the bias.
	eye := tensor.New(tensor.WithShape(1, dim+1, dim), tensor.Of(tensor.Float32))
	for i := range dim {
		eye.Float32s()[i*dim+i] = 1
	}
	s.Write(in, eye)
	s.Linear(out, in, m.Proj, backend.Epilogue{})
	columns := read(s, out)
	if err := s.Sync(); err != nil {
		return nil, err
	}
	w := columns.Float32s()
	bias := w[dim*dim:]
	for i := range w[:dim*dim] {
		w[i] -= bias[i%dim]
	}
	clear(bias)
	s.Write(in, columns)
	s.LinearGrad(out, in, m.Proj, backend.Epilogue{})
	square := read(s, out) // row j is column j of WᵀW
	var gain *tensor.Dense
	if m.Norm != nil {
		gain = read(s, m.Norm.Weight)
	}
	if err := s.Sync(); err != nil {
		return nil, err
	}
	if gain != nil {
		centre(square.Float32s(), gain.Float32s())
	}
	d := dim / m.Heads
	for h := range m.Heads {
		weight := tensor.New(tensor.WithShape(dim, d), tensor.Of(tensor.Float32))
		for j := range d {
			for i, v := range square.Float32s()[(h*d+j)*dim : (h*d+j+1)*dim] {
				weight.Float32s()[i*d+j] = v
			}
		}
		l, err := b.NewLinear(weight, nil, backend.LinearOptions{Exact: true})
		if err != nil {
			return nil, err
		}
		p.heads = append(p.heads, l)
	}
	return p, nil
}

// centre makes WᵀW that of W applied to (x - mean(x)) ∘ gain, which is a norm
// of the heads but for its standard deviation and its bias.
func centre(square, gain []float32) {
	n := len(gain)
	rows, cols, all := make([]float64, n), make([]float64, n), 0.0
	for i, g := range gain {
		for j, h := range gain {
			square[i*n+j] *= g * h
			v := float64(square[i*n+j]) / float64(n)
			rows[i] += v
			cols[j] += v
			all += v / float64(n)
		}
	}
	for i := range gain {
		for j := range gain {
			square[i*n+j] = float32(float64(square[i*n+j]) - rows[i] - cols[j] + all)
		}
	}
}

// PartsScratch is a stream's memory for making the Parts of layers, one after
// the other.
type PartsScratch struct {
	in, out backend.Tensor // (1, C+1, C)
}

// NewPartsScratch allocates for tokens of a width.
func NewPartsScratch(s backend.Stream, dim int) PartsScratch {
	return PartsScratch{in: s.Alloc(1, dim+1, dim), out: s.Alloc(1, dim+1, dim)}
}

// Close frees the weights.
func (p *Parts) Close() (err error) {
	for _, l := range p.heads {
		err = errors.Join(err, l.Close())
	}
	return err
}

// Gram returns (B, N, H, H), for each token the dot products of what the heads
// would add where it alone is attended to, from the values (B, N, C) of the
// layer. It synchronises the stream; in and out (B, N, C) are overwritten.
func (p *Parts) Gram(s backend.Stream, in, out backend.Tensor, values *tensor.Dense) (*tensor.Dense, error) {
	batch, n, dim := in.Shape[0], in.Shape[1], in.Shape[2]
	heads := len(p.heads)
	d := dim / heads
	met := make([][]float32, heads) // by head h, WᵀWʰ vʰ
	s.Write(in, values)
	for h, l := range p.heads {
		s.Linear(out, in.Cols(h*d, (h+1)*d), l, backend.Epilogue{})
		met[h] = read(s, out).Float32s()
	}
	if err := s.Sync(); err != nil {
		return nil, err
	}
	gram := tensor.New(tensor.WithShape(batch, n, heads, heads), tensor.Of(tensor.Float32))
	for t := range batch * n {
		of := gram.Float32s()[t*heads*heads:]
		for g := range heads {
			at := t*dim + g*d
			for h := range g + 1 {
				v := dot(values.Float32s()[at:at+d], met[h][at:at+d])
				of[g*heads+h], of[h*heads+g] = v, v
			}
		}
	}
	return gram, nil
}

func dot(x, y []float32) float32 {
	var sum float64
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return float32(sum)
}
