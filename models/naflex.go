package models

import (
	"errors"
	"fmt"
	"math"

	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

// timmNaFlex is timm's NaFlexVit, whose embedding has names of its own and may
// be given pictures of any shape. It is read for those of one.
//
// Dehghani et al., "Patch n' Pack: NaViT", https://arxiv.org/abs/2307.06304.
var timmNaFlex = layout{
	name:      "timm",
	library:   "timm",
	anchor:    "embeds.proj.weight",
	positions: patch.PosTimm,
	read:      readNaFlex,
}

// naflexRules are how positions are brought to another grid, by what
// timm_archs.csv says of an architecture: filter, whether it is antialiased,
// whether corners are aligned, and whether the table keeps its proportions.
// Those of rows and of columns are interpolated apart, which is bilinear where
// they are added up.
var naflexRules = map[string]patch.PosRule{
	"bicubic+antialias":               patch.PosTimm,
	"bicubic+antialias+proportion":    patch.PosTimmSquare,
	"bilinear+antialias":              patch.PosBilinear,
	"bilinear+proportion":             patch.PosRADIO,
	"bilinear+corners+proportion":     patch.PosRADIOCorners,
	"factorized+antialias+proportion": patch.PosRADIO,
}

// readNaFlex reads the layout of timm's NaFlexVit: the patch projection is a
// matrix over pixels row by row, their channels last, and positions are a grid.
//
// Names and order of operations: timm/models/naflexvit.py of
// https://github.com/huggingface/pytorch-image-models.
func readNaFlex(l *loader) error {
	const weight = "embeds.proj.weight"
	arch := ""
	if l.config != nil {
		arch = l.config.Architecture
	}
	a, known := timmArchs()[arch]
	rule, read := naflexRules[a.positions]
	switch {
	case !known:
		return errors.New("the file has the names of timm's NaFlexVit; a config.json with its architecture would decide the patch size, the heads and how positions are resampled")
	case !read:
		return fmt.Errorf("config.json: architecture %s has positions of the kind %q, which are not supported", arch, a.positions)
	}
	l.rule = rule
	inputs := l.Dim(weight, 1, 2)
	side := int(math.Sqrt(float64(inputs / 3)))
	if side < 1 || 3*side*side != inputs {
		return fmt.Errorf("%s takes %d values, want three channels of a square patch", weight, inputs)
	}
	l.cfg.Dim, l.cfg.Patch = l.Dim(weight, 0, 2), [2]int{side, side}
	l.decide("dim", l.cfg.Dim, "shape of %s", weight)
	l.decide("patch", sizeText(l.cfg.Patch), "shape of %s", weight)
	l.raw.proj = channelsFirst(l.Get(weight, l.cfg.Dim, inputs), side)
	l.raw.projBias = l.Maybe("embeds.proj.bias", l.cfg.Dim)
	l.prefixToken("embeds.cls_token")
	l.prefixToken("embeds.reg_token")
	image, by, err := l.timmImage()
	if err != nil {
		return err
	}
	if image == [2]int{} {
		image, by = [2]int{a.image, a.image}, "architecture "+arch
	}
	grid, positions := l.naflexPositions()
	l.decide("positions", fmt.Sprintf("%s patches, no prefix tokens", sizeText(grid)), "shape of %s", positions)
	if err := l.inputSize(image, grid, by); err != nil {
		return err
	}
	return l.timmBody()
}

// naflexPositions reads the positions of a grid, or those of its rows and
// columns, which are added up; and says by which tensor.
func (l *loader) naflexPositions() (grid [2]int, name string) {
	const all, rows, cols = "embeds.pos_embed", "embeds.pos_embed_y", "embeds.pos_embed_x"
	c := l.cfg.Dim
	if !l.Has(rows) {
		grid = [2]int{l.Dim(all, 1, 4), l.Dim(all, 2, 4)}
		if pos := l.Get(all, grid[0], grid[1], c); pos.Shape().TotalSize() == grid[0]*grid[1]*c {
			l.raw.pos = dense(pos.Float32s(), grid[0]*grid[1], c)
		}
		return grid, all
	}
	grid = [2]int{l.Dim(rows, 1, 3), l.Dim(cols, 1, 3)}
	y, x := l.Get(rows, grid[0], c).Float32s(), l.Get(cols, grid[1], c).Float32s()
	if len(y) != grid[0]*c || len(x) != grid[1]*c {
		return grid, rows // reported
	}
	sum := make([]float32, 0, grid[0]*grid[1]*c)
	for i := range grid[0] {
		for j := range grid[1] {
			for k := range c {
				sum = append(sum, y[i*c+k]+x[j*c+k])
			}
		}
	}
	l.raw.pos = dense(sum, grid[0]*grid[1], c)
	return grid, rows
}

// channelsFirst makes a convolution (C, 3, p, p) of a matrix (C, p·p·3) over
// pixels whose channels come last.
func channelsFirst(m *tensor.Dense, side int) *tensor.Dense {
	area := side * side
	s := m.Shape()
	if len(s) != 2 || s[1] != 3*area {
		return nil // it stands in for what is reported
	}
	out := make([]float32, s.TotalSize())
	for c := range s[0] {
		row, to := m.Float32s()[c*3*area:][:3*area], out[c*3*area:][:3*area]
		for i, v := range row {
			to[i%3*area+i/3] = v
		}
	}
	return dense(out, s[0], 3, side, side)
}
