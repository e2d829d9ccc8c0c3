package vit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Weights are the host tensors that Config speaks of, all float32. They may
// look at a memory map: New copies what it needs.
type Weights struct {
	PatchProj, PatchBias *tensor.Dense  // (C, 3·ph·pw), inputs ordered channel, row, column; (C) or nil
	Prefix               *tensor.Dense  // (P, C) with positions added; nil if P is 0
	Pos                  *tensor.Dense  // (N-P, C) patch positions; nil: none
	Angles               *tensor.Dense  // (N-P, D/2) rotary positions, radians, of all heads of all blocks
	EmbedNorm            NormWeights    // as Config says; unused ones are nil
	PreNorm, Norm        NormWeights    // likewise
	Blocks               []BlockWeights // L
	Probe                ProbeWeights   // nil without one
	Head, HeadBias       *tensor.Dense  // (K, len(Pool)·C), (K) or nil; nil without a head
}

// NormWeights are a norm's vectors (C); of root mean squares there is no bias.
type NormWeights struct{ Weight, Bias *tensor.Dense }

// BlockWeights are one encoder block's. Any bias may be nil.
type BlockWeights struct {
	Norm1, Norm2   NormWeights   // a parallel block has one
	QKV, QKVBias   *tensor.Dense // (3C, C), rows q then k then v; (3C)
	Proj, ProjBias *tensor.Dense // (C, C), (C)
	FC1, FC1Bias   *tensor.Dense // (M, C) or (2M, C) gated: gate then value
	FC2, FC2Bias   *tensor.Dense // (C, M)

	Angles            *tensor.Dense // (N-P, C/2) where they are learned: heads side by side
	Table             *tensor.Dense // relative positions: ((2h-1)(2w-1), H), with prefix tokens three rows more
	Inner, HiddenNorm NormWeights   // (C), (M)

	QueryNorm, KeyNorm NormWeights // (C/H)
}

// slot is one tensor of Weights and what Config wants of it.
type slot struct {
	name     string
	at       **tensor.Dense
	shape    tensor.Shape // nil: the configuration has no such tensor
	optional bool
	kind     kind
	block    int // from 0; -1 before the first, L after the last
}

// kind says how Random fills a tensor.
type kind uint8

const (
	matrix kind = iota // keeps the variance of what it is applied to
	offset             // around zero
	gain               // around one
	angle              // radians; no weight
)

// slots lists every tensor of w that c speaks of: the one place that knows
// the shapes. w.Blocks has L blocks.
func (w *Weights) slots(c Config) []slot {
	rows, cols := c.Grid()
	hidden := c.Hidden
	if c.Gated() {
		hidden *= 2
	}
	only := func(has bool, shape ...int) tensor.Shape {
		if !has {
			return nil
		}
		return shape
	}
	normOf := func(name string, n *NormWeights, dim int, has bool) []slot {
		return []slot{
			{name: name + ".weight", at: &n.Weight, shape: only(has, dim), kind: gain},
			{name: name + ".bias", at: &n.Bias, shape: only(has && !c.RMS, dim), kind: offset},
		}
	}
	norm := func(name string, n *NormWeights, has bool) []slot { return normOf(name, n, c.Dim, has) }
	angles := func(name string, at **tensor.Dense, pairs int, has bool) []slot {
		return []slot{{name: name, at: at, shape: only(has, rows*cols, pairs), kind: angle}}
	}
	linear := func(name string, weight, bias **tensor.Dense, out, in int, has bool) []slot {
		return []slot{
			{name: name + ".weight", at: weight, shape: only(has, out, in), kind: matrix},
			{name: name + ".bias", at: bias, shape: only(has, out), optional: true, kind: offset},
		}
	}
	in := func(block int, slots ...[]slot) []slot {
		all := slices.Concat(slots...)
		for i := range all {
			all[i].block = block
		}
		return all
	}
	all := in(-1,
		linear("patch projection", &w.PatchProj, &w.PatchBias, c.Dim, 3*c.Patch[0]*c.Patch[1], true),
		[]slot{
			{name: "prefix tokens", at: &w.Prefix, shape: only(c.Prefix > 0, c.Prefix, c.Dim), kind: offset},
			{name: "patch positions", at: &w.Pos, shape: tensor.Shape{rows * cols, c.Dim}, optional: true, kind: offset},
		},
		angles("angles", &w.Angles, c.Dim/c.Heads/2, c.Rope != RopeNone && !c.RopeLearned),
		norm("embedding norm", &w.EmbedNorm, c.EmbedNorm),
		norm("pre-norm", &w.PreNorm, c.PreNorm),
	)
	for i := range w.Blocks {
		b, name := &w.Blocks[i], fmt.Sprintf("block %d ", i)
		all = append(all, in(i,
			norm(name+"norm1", &b.Norm1, true),
			linear(name+"qkv", &b.QKV, &b.QKVBias, 3*c.Dim, c.Dim, true),
			linear(name+"proj", &b.Proj, &b.ProjBias, c.Dim, c.Dim, true),
			norm(name+"norm2", &b.Norm2, c.Form != FormParallel),
			linear(name+"fc1", &b.FC1, &b.FC1Bias, hidden, c.Dim, true),
			linear(name+"fc2", &b.FC2, &b.FC2Bias, c.Dim, c.Hidden, true),
			angles(name+"angles", &b.Angles, c.Dim/2, c.RopeLearned),
			[]slot{{name: name + "relative positions", at: &b.Table, shape: only(c.Relative, c.relativeRows(), c.Heads), kind: offset}},
			normOf(name+"query norm", &b.QueryNorm, c.Dim/c.Heads, c.QKNorm),
			normOf(name+"key norm", &b.KeyNorm, c.Dim/c.Heads, c.QKNorm),
			norm(name+"inner norm", &b.Inner, c.InnerNorm),
			normOf(name+"hidden norm", &b.HiddenNorm, c.Hidden, c.HiddenNorm),
		)...)
	}
	p, has, mlp := &w.Probe, c.Probe.Heads > 0, c.Probe.Hidden > 0
	probe := slices.Concat(
		[]slot{{name: "probe.query", at: &p.Query, shape: only(has, 1, c.Dim), kind: gain}},
		linear("probe.kv", &p.KV, &p.KVBias, 2*c.Dim, c.Dim, has),
		linear("probe.proj", &p.Proj, &p.ProjBias, c.Dim, c.Dim, has),
		norm("probe.norm", &p.Norm, mlp),
		linear("probe.fc1", &p.FC1, &p.FC1Bias, c.Probe.Hidden, c.Dim, mlp),
		linear("probe.fc2", &p.FC2, &p.FC2Bias, c.Dim, c.Probe.Hidden, mlp),
	)
	// A probe looks at what is normed, as the blocks look at theirs: it counts
	// among the last block.
	looks := c.Depth
	if has {
		looks--
	}
	all = append(all, in(looks, norm("norm", &w.Norm, c.FinalNorm != NormNone), probe)...)
	return append(all, in(c.Depth,
		linear("head", &w.Head, &w.HeadBias, c.outputs(), c.pooledWidth(), c.outputs() > 0),
	)...)
}

// maxProblems is how many wrong tensors an error names before it counts.
const maxProblems = 20

// check says which tensors are missing, superfluous or misshapen.
func (w *Weights) check(c Config) error {
	if len(w.Blocks) != c.Depth {
		return fmt.Errorf("vit: weights: %d blocks, want %d", len(w.Blocks), c.Depth)
	}
	var wrong []string
	for _, s := range w.slots(c) {
		switch t := *s.at; {
		case s.shape == nil && t != nil:
			wrong = append(wrong, fmt.Sprintf("%s is %v, want none", s.name, t.Shape()))
		case s.shape == nil || t == nil && s.optional:
		case t == nil:
			wrong = append(wrong, fmt.Sprintf("%s is missing, want %v", s.name, s.shape))
		case !slices.Equal(t.Shape(), s.shape):
			wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", s.name, t.Shape(), s.shape))
		default:
			if _, err := backend.HostFloats(t); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: %v", s.name, err))
			}
		}
	}
	if wrong == nil {
		return nil
	}
	if more := len(wrong) - maxProblems; more > 0 {
		wrong = append(wrong[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("vit: weights: %s", strings.Join(wrong, "; "))
}

// Random returns weights that keep a token's variance through every layer,
// the same ones for the same seed: for benchmarks and tests. It panics when
// c is not valid.
func Random(c Config, seed uint64) *Weights {
	if err := c.Validate(); err != nil {
		panic(err)
	}
	w := &Weights{Blocks: make([]BlockWeights, c.Depth)}
	rng := rand.NewPCG(seed, 0)
	for _, s := range w.slots(c) {
		if s.shape == nil {
			continue
		}
		mean, std := 0.0, 0.1
		switch s.kind {
		case matrix:
			std = 1 / math.Sqrt(float64(s.shape[1]))
		case gain:
			mean = 1
		case angle:
			std = 1
		}
		values := make([]float32, s.shape.TotalSize())
		for i := range values {
			values[i] = float32(mean + std*bell(rng.Uint64()))
		}
		*s.at = tensor.New(tensor.WithShape(s.shape...), tensor.WithBacking(values))
	}
	return w
}

// Shuffled returns weights of which every tensor from a block on, up to the
// head, has its own values in random order: block 0 is the first, L leaves
// all blocks as they are, and -1 begins with the embedding. The other tensors
// are w's own. Of one seed a tensor's order is the same whatever else is
// shuffled.
func (w *Weights) Shuffled(c Config, from int, seed uint64) *Weights {
	out := *w
	out.Blocks = slices.Clone(w.Blocks)
	for i, s := range out.slots(c) {
		if s.block < from || *s.at == nil || s.kind == angle {
			continue
		}
		values := slices.Clone((*s.at).Float32s()[:(*s.at).Shape().TotalSize()])
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		rng.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		*s.at = tensor.New(tensor.WithShape((*s.at).Shape()...), tensor.WithBacking(values))
	}
	return &out
}

// bell turns 64 random bits into a value of mean 0 and variance 1, close to
// normal and within ±2√3: the sum of four uniform values, each of variance
// 1/12.
func bell(u uint64) float64 {
	sum := u&0xffff + u>>16&0xffff + u>>32&0xffff + u>>48
	return (float64(sum)/0xffff - 2) * math.Sqrt(3)
}
