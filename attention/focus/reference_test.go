package focus

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

// record returns a record of random softmax rows.
func record(seed uint64, batch, depth, heads, prefix int, grid [2]int) *Record {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := prefix + grid[0]*grid[1]
	r := &Record{Shape: Shape{Grid: grid, Prefix: prefix}}
	for range depth {
		probs := make([]float32, batch*heads*n*n)
		for row := range batch * heads * n {
			p, sum := probs[row*n:(row+1)*n], 0.0
			for j := range p {
				e := math.Exp(2 * rng.NormFloat64())
				p[j], sum = float32(e), sum+e
			}
			for j := range p {
				p[j] = float32(float64(p[j]) / sum)
			}
		}
		r.Attn = append(r.Attn, tensor.New(tensor.WithShape(batch, heads, n, n), tensor.WithBacking(probs)))
	}
	return r
}

// only returns r with nothing but these query rows recorded.
func only(r *Record, rows ...int) *Record {
	batch, heads, _, n := r.shape()
	out := &Record{Shape: Shape{Grid: r.Grid, Prefix: r.Prefix, Pooled: r.Pooled}, Rows: rows}
	for _, a := range r.Attn {
		var probs []float32
		for bh := range batch * heads {
			for _, q := range rows {
				probs = append(probs, a.Float32s()[(bh*n+q)*n:(bh*n+q+1)*n]...)
			}
		}
		out.Attn = append(out.Attn, tensor.New(tensor.WithShape(batch, heads, len(rows), n), tensor.WithBacking(probs)))
	}
	return out
}

func at(r *Record, l, b, h, i, j int) float64 {
	_, heads, _, n := r.shape()
	return float64(r.Attn[l].Float32s()[((b*heads+h)*n+i)*n+j])
}

// fused is the straightforward fusion of heads.
func fused(r *Record, l, b int, f Fusion) [][]float64 {
	_, heads, _, n := r.shape()
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, n)
		for j := range m[i] {
			v := at(r, l, b, 0, i, j)
			for h := 1; h < heads; h++ {
				switch w := at(r, l, b, h, i, j); f {
				case Max:
					v = math.Max(v, w)
				case Min:
					v = math.Min(v, w)
				default:
					v += w
				}
			}
			if f == Mean || f == "" {
				v /= float64(heads)
			}
			m[i][j] = v
		}
	}
	return m
}

// rolloutReference multiplies whole matrices in float64, as the equation is
// written: O(N³) a layer.
func rolloutReference(r *Record, b int, o Options) []float64 {
	_, _, _, n := r.shape()
	result := make([][]float64, n)
	for i := range result {
		result[i] = make([]float64, n)
		result[i][i] = 1
	}
	for l := max(1, o.Start) - 1; l < len(r.Attn); l++ {
		a := fused(r, l, b, o.Fusion)
		var order [][2]int
		for i := range n {
			for j := range n {
				order = append(order, [2]int{i, j})
			}
		}
		slices.SortStableFunc(order, func(p, q [2]int) int {
			switch v, w := a[p[0]][p[1]], a[q[0]][q[1]]; {
			case v < w:
				return -1
			case v > w:
				return 1
			}
			return 0
		})
		for _, p := range order[:int(float64(n*n)*o.Discard)] {
			if p != [2]int{0, 0} {
				a[p[0]][p[1]] = 0
			}
		}
		sums := make([]float64, n)
		for i := range n {
			for j := range n {
				if i == j {
					a[i][j]++
				}
				a[i][j] /= 2
				sums[i] += a[i][j]
			}
		}
		product := make([][]float64, n)
		for i := range n {
			product[i] = make([]float64, n)
			for k := range n {
				by := sums[i]
				if o.Compat == VitExplain {
					by = sums[k]
				}
				for j := range n {
					product[i][j] += a[i][k] / by * result[k][j]
				}
			}
		}
		result = product
	}
	asking := []int{0}
	if len(o.Query) == 2 {
		asking[0] = r.Prefix + o.Query[0]*r.Grid[1] + o.Query[1]
	} else if r.Prefix == 0 || r.Pooled {
		asking = nil
		for i := r.Prefix; i < n; i++ {
			asking = append(asking, i)
		}
	}
	row := make([]float64, n)
	for _, q := range asking {
		for j := range row {
			row[j] += result[q][j] / float64(len(asking))
		}
	}
	return row
}

// BenchmarkMaps reads one image of ViT-B/16: 12 layers, 12 heads, 197 tokens.
func BenchmarkMaps(b *testing.B) {
	r := record(1, 1, 12, 12, 1, [2]int{14, 14})
	for name, o := range map[string]Options{
		"raw": {}, "rollout": {}, "rollout max": {Fusion: Max}, "rollout max discard": {Fusion: Max, Discard: 0.9},
	} {
		method, err := Find(strings.Fields(name)[0])
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := method.Map(context.Background(), Subject{Record: r.Image(0)}, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
