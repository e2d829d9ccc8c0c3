package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// TestSplit tests that every row is somebody's once, in order, whatever the
// numbers, and that shares and parts start at even rows.
func TestSplit(t *testing.T) {
	for _, b := range []int{1, 2, 3, 8} {
		for _, n := range []int{1, 2, 5, 197, 577} {
			for _, workers := range []int{1, 2, 3, 8} {
				for _, limit := range []int{2, 50, math.MaxInt} {
					flat := view{mem: &mem{}, b: b, n: n, c: 1, row: 1, batch: n}
					c := &compiler{workers: workers}
					whole, apart := c.splitFlat(limit, &flat), split(b, n, workers, limit)
					require.Equal(t, 1, flat.b)
					next, nextFlat := 0, 0
					for w := range workers {
						for _, p := range apart[w] {
							require.Equal(t, next, p.b*n+p.lo)
							require.Less(t, p.lo, p.hi)
							require.LessOrEqual(t, p.hi-p.lo, limit)
							require.LessOrEqual(t, p.hi, n)
							require.Zero(t, p.lo%2)
							next += p.hi - p.lo
						}
						for _, p := range whole[w] {
							require.Zero(t, p.b)
							require.Equal(t, nextFlat, p.lo)
							nextFlat = p.hi
						}
						require.Equal(t, next, nextFlat, "both split at the same rows")
						if b%workers == 0 {
							require.Equal(t, b*n*(w+1)/workers, next, "whole images")
						}
					}
					require.Equal(t, b*n, next)
				}
			}
		}
	}
}

// TestAnyQueue runs queues of random operations on random views of a few
// tensors with one worker, who does one thing after the other, and with
// several, and a batch as a whole and in rounds. Where a barrier is missing, or
// a round sees another's images, the bits differ, or the race detector sees it.
func TestAnyQueue(t *testing.T) {
	const dim = 32
	run := func(t *testing.T, threads, atOnce int, seed uint64) [][]float32 {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := openTest(t, &portable, backend.Options{Threads: threads})
		s := newTestStream(t, b, 0)
		s.atOnce = atOnce
		batch, n := 1+rng.IntN(4), 2+rng.IntN(9)
		norm := backend.Norm{Weight: upload(t, b, dense(rng, dim)), Bias: upload(t, b, dense(rng, dim)), Eps: 1}
		up := newLinear(t, b, rng, 2*dim, dim, backend.LinearOptions{})
		down := newLinear(t, b, rng, dim, 2*dim, backend.LinearOptions{})
		same := newLinear(t, b, rng, dim, dim, backend.LinearOptions{})
		triple := newLinear(t, b, rng, 3*dim, dim, backend.LinearOptions{})
		var all []backend.Tensor
		for range 3 {
			x := s.Alloc(batch, n, 3*dim)
			s.Write(x, dense(rng, batch, n, 3*dim))
			all = append(all, x)
		}
		probs := s.Alloc(batch, 2, 1, n)
		hidden := s.Temp(batch, n, 2*dim)
		twice := upload(t, b, dense(rng, dim))
		table := upload(t, b, dense(rng, 2*n-3+3, 2))
		bias, own := s.Alloc(2, n, n), s.Alloc(batch, 2, n, n)
		angles := [2]backend.Tensor{s.Alloc(batch, n, dim/2), s.Alloc(batch, n, dim/2)}
		// named returns rows of tokens, of all images or of each.
		named := func(rows int) []int {
			if rng.IntN(2) == 0 {
				rows *= batch
			}
			picked := make([]int, rows)
			for i := range picked {
				picked[i] = rng.IntN(n)
			}
			return picked
		}
		// tokens returns some columns of some tensor, with at most rows rows.
		tokens := func(rows int) backend.Tensor {
			x := all[rng.IntN(len(all))].Cols(0, 3*dim)
			c := rng.IntN(3) * dim
			return x.Rows(0, rows).Cols(c, c+dim)
		}
		// other returns tokens that have no value in common with x.
		other := func(rows int, x ...backend.Tensor) backend.Tensor {
			for {
				y := tokens(rows)
				free := true
				for _, x := range x {
					free = free && !overlap(newView(y), newView(x))
				}
				if free {
					return y
				}
			}
		}
		var reads [][]float32
		for range 30 {
			rows := n
			if rng.IntN(4) == 0 {
				rows = 1 + rng.IntN(n)
			}
			x := tokens(rows)
			switch rng.IntN(11) {
			case 0:
				s.LayerNorm(tokens(rows), x, norm)
			case 1:
				y := other(rows, x)
				s.Linear(y, x, same, backend.Epilogue{Act: backend.GELU, Residual: y})
			case 2:
				s.Linear(hidden.Rows(0, rows), x, up, backend.Epilogue{Act: backend.GELU})
				y := tokens(rows)
				s.Linear(y, hidden.Rows(0, rows), down, backend.Epilogue{Residual: y})
			case 3:
				k, v := tokens(n), tokens(n)
				s.Attention(other(rows, x, k, v), x, k, v, backend.Attention{Heads: 2, Scale: 0.2, Probs: probs, Rows: []int{0}})
			case 4:
				x := tokens(n)
				s.Pool(other(1, x), x, backend.Span{Lo: 0, Hi: n})
			case 5:
				x := tokens(n)
				if rng.IntN(3) == 0 {
					y := tokens(rows)
					s.GatherGrad(other(n, y), y, named(rows))
				} else {
					s.Gather(other(rows, x), x, named(rows))
				}
			case 6:
				d := tensor.New(tensor.WithShape(batch, rows, dim), tensor.Of(tensor.Float32))
				s.Read(d, x)
				reads = append(reads, d.Float32s())
			case 7:
				i, j := rng.IntN(len(all)), rng.IntN(3)*dim
				if i == 0 {
					continue
				}
				y, k, v := all[i], all[i].Cols(dim, 2*dim), all[i].Cols(2*dim, 3*dim)
				s.Linear(y, all[0].Cols(j, j+dim), triple, backend.Epilogue{})
				s.Attention(all[0].Cols(j, j+dim), y.Cols(0, dim), k, v, backend.Attention{Heads: 2, Scale: 0.2, Spend: true})
				s.LayerNorm(k, all[0].Cols(j, j+dim), norm)
				s.LayerNorm(v, k, norm)
			case 8:
				k, v := tokens(n), tokens(n)
				a := backend.Attention{Heads: 2, Scale: 0.2, Probs: probs, Rows: []int{0}, Causal: rng.IntN(2) == 0}
				p := &backend.Relative{Table: table, Grid: [2]int{1, n - 1}, Prefix: 1}
				switch rng.IntN(4) {
				case 0:
					a.Bias = bias.Rows(0, rows)
				case 1:
					a.Bias = bias.Rows(0, rows)
					s.RelativeBias(a.Bias, p, nil)
				case 2:
					a.Bias = bias.Rows(0, rows)
					s.RelativeBias(a.Bias, p, rng.Perm(n))
				case 3:
					if rows != n {
						continue
					}
					a.Bias = own
					var each []int
					for range batch {
						each = append(each, rng.Perm(n)...)
					}
					s.RelativeBias(a.Bias, p, each)
				}
				s.Attention(other(rows, x, k, v), x, k, v, a)
			case 10:
				h := hidden.Rows(0, rows)
				s.Linear(h, x, up, backend.Epilogue{Act: backend.GELU})
				if rng.IntN(3) == 0 {
					s.LayerNorm(h, h, backend.Norm{Weight: twice, RMS: true, Heads: 2})
				}
				for range 1 + rng.IntN(3) {
					if some := 1 + rng.IntN(rows); rng.IntN(2) == 0 {
						s.Linear(h.Rows(0, some), tokens(some), up, backend.Epilogue{})
						s.Linear(tokens(some), h.Rows(0, some), down, backend.Epilogue{})
					} else {
						y := tokens(rows)
						s.Linear(y, h, down, backend.Epilogue{Residual: y})
					}
				}
			case 9:
				k, v := tokens(n), tokens(n)
				half := tokens(n)
				for i := range angles {
					s.Gather(angles[i], half.Cols(i*dim/2, (i+1)*dim/2), named(n))
				}
				s.Attention(other(rows, x, k, v), x, k, v, backend.Attention{Heads: 2, Scale: 0.2, Rope: &backend.Rope{Cos: angles[0], Sin: angles[1]}})
			}
		}
		for _, x := range append(all, probs, bias, own, angles[0], angles[1]) {
			d := tensor.New(tensor.WithShape(x.Shape...), tensor.Of(tensor.Float32))
			s.Read(d, x)
			reads = append(reads, d.Float32s())
		}
		require.NoError(t, s.Sync())
		return reads
	}
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range uint64(seeds) {
		want := run(t, 1, maxRows, seed)
		for _, threads := range []int{1, 2, 3} {
			for _, atOnce := range []int{1, maxRows} {
				require.Equal(t, bits(want), bits(run(t, threads, atOnce, seed)), fmt.Sprintf("seed %d, %d threads, %d rows at once", seed, threads, atOnce))
			}
		}
	}
}

// TestPacks tests when a Linear packs the keys and values that it computes.
func TestPacks(t *testing.T) {
	for name, c := range map[string]struct {
		cached, batch, threads, d int
		spend, packs              bool
	}{
		"one image, two workers":        {0, 1, 2, 32, true, true},
		"three images, two workers":     {0, 3, 2, 64, true, true},
		"one worker":                    {0, 1, 1, 32, true, true},
		"workers with their own images": {0, 4, 2, 32, true, true},
		"keys that are read later":      {0, 1, 2, 32, false, false},
		"heads across panels":           {0, 1, 2, 20, true, false},
		"few":                           {2 * 17 * 2 * 32 * 4, 1, 2, 32, true, false},
		"not so few":                    {2*17*2*32*4 - 1, 1, 2, 32, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			const n, heads = 17, 2
			dim := heads * c.d
			b := openTest(t, &portable, backend.Options{Threads: c.threads})
			b.cached = c.cached
			s := newTestStream(t, b, 0)
			l := newLinear(t, b, newRand(), 3*dim, dim, backend.LinearOptions{})
			x, qkv := s.Alloc(c.batch, n, dim), s.Alloc(c.batch, n, 3*dim)
			s.Linear(qkv, x, l, backend.Epilogue{})
			s.Attention(x, qkv.Cols(0, dim), qkv.Cols(dim, 2*dim), qkv.Cols(2*dim, 3*dim), backend.Attention{Heads: heads, Scale: 1, Spend: c.spend})
			require.NoError(t, s.Sync())
			p := s.programs[0]
			require.Equal(t, c.packs, p.segments[0][0].(*linearStep).into != nil)
			require.Equal(t, c.batch%c.threads != 0, len(p.segments) > 1, "whether somebody waits")
		})
	}
}

// TestLargerAttention tests that attentions of one queue agree about the
// memory of packed keys and values when a later one needs more of it.
func TestLargerAttention(t *testing.T) {
	b := openTest(t, &portable, backend.Options{Threads: 2})
	s := newTestStream(t, b, 0)
	for _, n := range []int{5, 9, 40, 3} {
		for _, n := range []int{n, n, 2 * n, 2 * n} { // the first and the third in one memory, and the second and the fourth
			x := s.Alloc(1, n, 32)
			s.Attention(s.Alloc(1, n, 32), x, x, x, backend.Attention{Heads: 1, Scale: 1})
		}
		require.NoError(t, s.Sync())
		for _, segment := range s.programs[len(s.programs)-1].segments {
			for _, step := range segment {
				if a, ok := step.(*sharedAttention); ok {
					require.True(t, a.shared == s.kv[0].mem || a.shared == s.kv[1].mem, "memory that was given back")
				}
			}
		}
	}
}

// TestRounds tests that a batch of large images goes through all operations as
// many at a time as there are workers, without a barrier, where these are of
// the whole batch; and that it does not where a round would have to wait.
func TestRounds(t *testing.T) {
	for name, c := range map[string]struct{ batch, threads, rounds int }{
		"one worker":                   {3, 1, 3},
		"two workers":                  {6, 2, 3},
		"no more images than workers":  {2, 2, 1},
		"images that divide unevenly":  {3, 2, 1},
		"more workers than it divides": {4, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			const depth, n = 2, maxRows/2 + 1
			b := openTest(t, available()[0], backend.Options{Threads: c.threads})
			s := newTestStream(t, b, 0)
			e := newBlocks(t, b, s, c.batch, n, depth, 64, 2)
			first := tensor.New(tensor.WithShape(c.batch, n, 64), tensor.Of(tensor.Float32))
			s.Read(first, e.x)
			require.NoError(t, s.Sync())
			run := func(atOnce int) (out []float32, p *program) {
				s.Write(e.x, first)
				s.atOnce, s.programs = atOnce, nil
				e.enqueue(s)
				read := tensor.New(tensor.WithShape(c.batch, 1, 10), tensor.Of(tensor.Float32))
				s.Read(read, e.out)
				require.NoError(t, s.Sync())
				return read.Float32s(), s.programs[0]
			}
			want, whole := run(1 << 20)
			got, p := run(maxRows)
			require.Equal(t, want, got)
			steps := func(p *program) (n int) {
				for _, segment := range p.segments {
					n += len(segment)
				}
				return n
			}
			require.Equal(t, c.rounds*steps(whole), steps(p))
			require.Len(t, p.segments, len(whole.segments))
		})
	}
}

// TestChunks tests that a row of an MLP with several chunks of hidden columns
// is the same to the bit among others, where it is computed in chunks, and
// alone, where workers share its columns.
func TestChunks(t *testing.T) {
	const n, dim, hidden = 50, 70, 2*chunk + 75
	for _, k := range available() {
		for _, p := range []backend.Precision{backend.F32, backend.BF16, backend.Int8} {
			if len(k.missing[p]) > 0 {
				continue
			}
			for _, act := range []backend.Activation{backend.GELU, backend.SwiGLU} {
				t.Run(fmt.Sprintf("%s/%v/%v", k.name, p, act), func(t *testing.T) {
					run := func(threads, rows int) []float32 {
						rng := newRand()
						b := openTest(t, k, backend.Options{Precision: p, Threads: threads})
						s := newTestStream(t, b, 0)
						width := hidden
						if act == backend.SwiGLU {
							width *= 2
						}
						up := newLinear(t, b, rng, width, dim, backend.LinearOptions{Gated: act == backend.SwiGLU})
						down := newLinear(t, b, rng, dim, hidden, backend.LinearOptions{})
						x, y, h := s.Alloc(1, n, dim), s.Alloc(1, n, dim), s.Temp(1, n, hidden)
						s.Write(x, dense(rng, 1, n, dim))
						s.Linear(h.Rows(0, rows), x.Rows(0, rows), up, backend.Epilogue{Act: act})
						s.Linear(y.Rows(0, rows), h.Rows(0, rows), down, backend.Epilogue{Residual: x.Rows(0, rows)})
						got := tensor.New(tensor.WithShape(1, rows, dim), tensor.Of(tensor.Float32))
						s.Read(got, y.Rows(0, rows))
						require.NoError(t, s.Sync())
						require.Equal(t, rows < threads, h.Mem.(*mem).base != nil, "whether the hidden layer exists")
						return got.Float32s()
					}
					want := run(1, n)
					for _, rows := range []int{1, 2, n} {
						for _, threads := range []int{1, 3} {
							require.Equal(t, bits([][]float32{want[:rows*dim]}), bits([][]float32{run(threads, rows)}),
								"%d rows, %d threads", rows, threads)
						}
					}
				})
			}
		}
	}
}

// bits compares NaN with NaN.
func bits(values [][]float32) (u [][]uint32) {
	for _, f := range values {
		var row []uint32
		for _, v := range f {
			row = append(row, math.Float32bits(v))
		}
		u = append(u, row)
	}
	return u
}
