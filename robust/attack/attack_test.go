package attack_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/backend/ref"
	"github.com/vitserve/vitserve/robust/attack"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// tiny is a model of random weights in float64, behind the library's lane.
type tiny struct {
	lane  *vitserve.Lane
	asked []int // pictures at a time
}

func openTiny(t *testing.T) *tiny {
	m, err := vitserve.Open(filepath.Join("..", "..", "models", "testdata", "golden", "timm_vit"), vitserve.Options{On: ref.Backend{}})
	require.NoError(t, err)
	lane := m.NewLane(vit.SessionOptions{MaxBatch: 4})
	t.Cleanup(func() {
		require.NoError(t, lane.Close())
		require.NoError(t, m.Close())
	})
	return &tiny{lane: lane}
}

func batch(x []attack.Picture) *tensor.Dense {
	var v []float32
	for _, p := range x {
		for _, f := range p.X {
			v = append(v, float32(f))
		}
	}
	return tensor.New(tensor.WithShape(len(x), 3, x[0].H, x[0].W), tensor.WithBacking(v))
}

func rows(t *tensor.Dense, n int) (out [][]float64) {
	each := len(t.Float32s()) / n
	for i := range n {
		var row []float64
		for _, v := range t.Float32s()[i*each : (i+1)*each] {
			row = append(row, float64(v))
		}
		out = append(out, row)
	}
	return out
}

func (m *tiny) Logits(_ context.Context, x []attack.Picture) ([][]float64, error) {
	m.asked = append(m.asked, len(x))
	o, err := m.lane.Run(0, batch(x), vit.Wants{})
	if err != nil {
		return nil, err
	}
	return rows(o.Logits, len(x)), nil
}

func (m *tiny) Gradients(_ context.Context, x []attack.Picture, seed func(int, []float64) []float64) (z, g [][]float64, err error) {
	m.asked = append(m.asked, len(x))
	logits, grads, err := m.lane.Gradients(0, batch(x), func(l *tensor.Dense) *tensor.Dense {
		var d []float32
		for i, row := range rows(l, len(x)) {
			for _, v := range seed(i, row) {
				d = append(d, float32(v))
			}
		}
		return tensor.New(tensor.WithShape(l.Shape()...), tensor.WithBacking(d))
	})
	if err != nil {
		return nil, nil, err
	}
	return rows(logits, len(x)), rows(grads, len(x)), nil
}

// golden is a case that torchattacks went through.
type golden struct {
	Attack  string
	Params  attack.Params
	Picture int
	Label   int
	Target  *int
	Draws   [2]int
	X       [2]int
	Answer  int
}

func readGolden(t *testing.T) (cases []golden, numbers []float64) {
	data, err := os.ReadFile(filepath.Join("testdata", "golden.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &cases))
	data, err = os.ReadFile(filepath.Join("testdata", "golden.f64"))
	require.NoError(t, err)
	for ; len(data) > 0; data = data[8:] {
		numbers = append(numbers, math.Float64frombits(binary.LittleEndian.Uint64(data)))
	}
	return cases, numbers
}

// recorded are the random numbers of the reference, in its order.
type recorded struct{ left []float64 }

func (r *recorded) Uniform(dst []float64) { r.left = r.left[copy(dst, r.left):] }
func (r *recorded) Normal(dst []float64)  { r.Uniform(dst) }
func (r *recorded) Perm(int) []int        { panic("no permutation was recorded") }

func pixels(t *testing.T) [][]float64 {
	data, err := os.ReadFile(filepath.Join("..", "..", "models", "testdata", "golden", "timm_vit", "pixels.npy"))
	require.NoError(t, err)
	data = data[10+int(binary.LittleEndian.Uint16(data[8:])):]
	require.Len(t, data, 2*4*3*32*32)
	var all [][]float64
	for range 2 {
		var x []float64
		for range 3 * 32 * 32 {
			x = append(x, min(max(float64(math.Float32frombits(binary.LittleEndian.Uint32(data))), 0), 1))
			data = data[4:]
		}
		all = append(all, x)
	}
	return all
}

// TestGolden: with the random numbers that torchattacks drew, every attack ends
// with its picture.
func TestGolden(t *testing.T) {
	m := openTiny(t)
	cases, numbers := readGolden(t)
	require.GreaterOrEqual(t, len(cases), 26)
	x := pixels(t)
	worst := map[string]float64{}
	for _, c := range cases {
		a, ok := attack.Find(c.Attack)
		require.True(t, ok)
		p := attack.Problem{Params: c.Params, X: x[c.Picture], W: 32, H: 32, Class: c.Label}
		p.Through = true // the reference makes all steps
		draws := &recorded{numbers[c.Draws[0]:c.Draws[1]]}
		p.Draws = draws
		if c.Target != nil {
			p.Target = *c.Target
		}
		var res attack.Result
		require.NoError(t, attack.Each(t.Context(), m, 1, 1, func(_ int, o *attack.Oracle) (err error) {
			res, err = a.Run(o, &p)
			return err
		}, func(int) error { return nil }))
		require.Empty(t, draws.left, "%s draws other numbers", c.Attack)
		far := 0.0
		for i, v := range numbers[c.X[0]:c.X[1]] {
			far = max(far, math.Abs(v-res.X[i]))
		}
		key := c.Attack + " " + string(c.Params.Norm)
		worst[key] = max(worst[key], far)
		require.Equal(t, c.Params.Targeted && c.Answer == p.Target || !c.Params.Targeted && c.Answer != c.Label, res.Fooled, key)
	}
	for key, far := range worst {
		t.Logf("%s: %.2g", key, far)
		bound := 1e-9
		if strings.HasSuffix(key, string(attack.L2)) {
			bound = 1e-7 // the gradient itself, and not its sign: backends hand out floats of 32 bits
		}
		require.Less(t, far, bound, key)
	}
}

// drawn are random numbers of a small generator.
type drawn struct{ rng *rand.Rand }

func draws(seed uint64) drawn { return drawn{rand.New(rand.NewPCG(seed, 1))} }

func (d drawn) Uniform(dst []float64) {
	for i := range dst {
		dst[i] = d.rng.Float64()
	}
}

func (d drawn) Normal(dst []float64) {
	for i := range dst {
		dst[i] = d.rng.NormFloat64()
	}
}

func (d drawn) Perm(n int) []int { return d.rng.Perm(n) }

// attackAll attacks both pictures of the tiny model with every level of every
// row of the table, several at a time.
func attackAll(t *testing.T, m attack.Model, batch int, steps int) (all []attack.Result, of []attack.Problem) {
	x := pixels(t)
	var rows []attack.Attack
	for _, a := range attack.Table() {
		for _, l := range a.Levels {
			for i, class := range []int{1, 1} {
				l.Steps = min(l.Steps, steps)
				p := attack.Problem{Params: l, X: x[i], W: 32, H: 32, Class: class, Target: 3, Draws: draws(uint64(len(of)))}
				if l.Tokens > 0 {
					p.Free = make([]bool, 32*32)
					for j := range p.Free {
						p.Free[j] = j/32 < 8 && j%32 < 8*l.Tokens
					}
				}
				rows, of = append(rows, a), append(of, p)
			}
		}
	}
	all = make([]attack.Result, len(of))
	var done []int
	require.NoError(t, attack.Each(t.Context(), m, batch, len(of), func(i int, o *attack.Oracle) (err error) {
		all[i], err = rows[i].Run(o, &of[i])
		return err
	}, func(i int) error {
		done = append(done, i)
		return nil
	}))
	require.Len(t, done, len(of))
	return all, of
}

// TestCompany: what an attack finds does not depend on what else is under
// attack, the model is asked about several pictures at a time, and every picture
// is in its ball, in [0, 1], and changed where it may be alone; an attack says
// that a picture fools if and only if it does.
func TestCompany(t *testing.T) {
	alone, _ := attackAll(t, openTiny(t), 1, 6)
	m := openTiny(t)
	together, of := attackAll(t, m, 4, 6)
	require.Equal(t, alone, together)
	full := 0
	for _, n := range m.asked {
		if n == 4 {
			full++
		}
	}
	require.Greater(t, full, len(m.asked)/3, "batches are mostly full")
	fooled := 0
	for i, r := range together {
		p := of[i]
		z, err := m.Logits(t.Context(), []attack.Picture{{W: 32, H: 32, X: r.X}})
		require.NoError(t, err)
		answer := slices.Index(z[0], slices.Max(z[0]))
		require.Equal(t, p.Targeted && answer == p.Target || !p.Targeted && answer != p.Class, r.Fooled)
		if r.Fooled {
			fooled++
		}
		l2 := 0.0
		for j, v := range r.X {
			require.True(t, v >= 0 && v <= 1)
			d := v - p.X[j]
			l2 += d * d
			if p.Norm == attack.Linf {
				require.LessOrEqual(t, math.Abs(d), p.Epsilon+1e-12)
			}
			require.True(t, d == 0 || p.Free == nil || p.Free[j%(32*32)])
		}
		if p.Norm == attack.L2 {
			require.LessOrEqual(t, math.Sqrt(l2), p.Epsilon+1e-9)
		}
		require.LessOrEqual(t, r.Queries, p.Most()+1)
	}
	require.Greater(t, fooled, len(of)/4)
	require.Less(t, fooled, len(of))
}

// tired answers a few times.
type tired struct {
	attack.Model
	left int
}

var errTired = errors.New("tired")

func (m *tired) Gradients(ctx context.Context, x []attack.Picture, seed func(int, []float64) []float64) (z, g [][]float64, err error) {
	if m.left--; m.left < 0 {
		return nil, nil, errTired
	}
	return m.Model.Gradients(ctx, x, seed)
}

// TestEachEnds: a failure of the model ends all attacks, and so does whoever
// waits for them.
func TestEachEnds(t *testing.T) {
	x, a := pixels(t), attack.Table()[1]
	run := func(ctx context.Context, m attack.Model) error {
		return attack.Each(ctx, m, 3, 7, func(i int, o *attack.Oracle) error {
			p := attack.Problem{Params: a.Levels[0], X: x[i%2], W: 32, H: 32, Class: 1, Draws: draws(1)}
			p.Through = true
			_, err := a.Run(o, &p)
			return err
		}, func(int) error { return nil })
	}
	require.ErrorIs(t, run(t.Context(), &tired{openTiny(t), 5}), errTired)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, openTiny(t)), context.Canceled)
}

// TestTable: a row says where it is from, and its parameters are possible.
func TestTable(t *testing.T) {
	for _, a := range attack.Table() {
		require.Contains(t, a.Paper, "https://")
		require.NotEmpty(t, a.Equations)
		require.NotEmpty(t, a.Help)
		for _, p := range a.Levels {
			require.NoError(t, a.Check(p), a.Name)
		}
	}
	a, _ := attack.Find("square")
	for _, p := range []attack.Params{{}, {Norm: attack.L2, Epsilon: 1, Steps: 1, Restarts: 1}, {Norm: attack.Linf, Epsilon: 2, Steps: 1, Restarts: 1}, {Norm: attack.Linf, Epsilon: 1, Restarts: 1}} {
		require.Error(t, a.Check(p))
	}
}
