package models

import (
	"fmt"
	"math"
	"slices"

	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// tableRule brings a table of relative positions (n, H) of distances of a
// grid of from = rows, columns to one of to. Rows behind them, of prefix
// tokens, are not its.
type tableRule func(table []float32, heads int, from, to [2]int) []float32

// relative reads the table of relative positions of a block, and settles the
// grid that it is of.
func (l *loader) relative(name string) *tensor.Dense {
	if !l.Has(name) {
		return nil
	}
	rows := l.Dim(name, 0, 2)
	table := l.Get(name, rows, l.Dim(name, 1, 2))
	if !l.cfg.Relative {
		l.cfg.Relative = true
		l.decide("relative positions", fmt.Sprintf("%d distances", rows), "shape of %s", name)
	}
	return table
}

// sumTables adds a table of all blocks to that of one; either may be none.
func sumTables(own, shared *tensor.Dense) *tensor.Dense {
	switch {
	case own == nil:
		return shared
	case shared == nil || !own.Shape().Eq(shared.Shape()):
		return own
	}
	sum := slices.Clone(own.Float32s())
	for i, v := range shared.Float32s()[:len(sum)] {
		sum[i] += v
	}
	return dense(sum, own.Shape()...)
}

// distances is how many rows a table of a grid has.
func distances(grid [2]int) int { return (2*grid[0] - 1) * (2*grid[1] - 1) }

// tableGrid is the grid that tables are of: that which the checkpoint was
// saved at, or else a square.
func (l *loader) tableGrid(rows int) ([2]int, error) {
	extra := 0
	if l.cfg.Prefix > 0 {
		extra = 3
	}
	saved := [2]int{l.saved[0] / l.cfg.Patch[0], l.saved[1] / l.cfg.Patch[1]}
	if distances(saved)+extra == rows {
		return saved, nil
	}
	side := int(math.Sqrt(float64(max(rows-extra, 0))))
	if square := (side + 1) / 2; side%2 == 1 && side*side+extra == rows {
		return [2]int{square, square}, nil
	}
	return [2]int{}, fmt.Errorf("a table of %d relative positions is of no square grid, nor of the %s that the configuration says", rows, sizeText(saved))
}

// placeTables brings the tables to the input's grid. Blocks that share one
// share what becomes of it.
func (l *loader) placeTables(w *vit.Weights) error {
	if !l.cfg.Relative {
		return nil
	}
	rows, cols := l.cfg.Grid()
	grid := [2]int{rows, cols}
	done := map[*tensor.Dense]*tensor.Dense{}
	made := map[*relativeMLP]*tensor.Dense{}
	for i := range w.Blocks {
		b := &w.Blocks[i]
		if m := l.raw.blocks[i].relativeMLP; m != nil {
			if made[m] == nil {
				made[m] = m.table(grid, l.cfg.Prefix)
			}
			b.Table = made[m]
			continue
		}
		if done[b.Table] == nil {
			placed, err := l.placeTable(b.Table, grid)
			if err != nil {
				return err
			}
			done[b.Table] = placed
		}
		b.Table = done[b.Table]
	}
	return nil
}

func (l *loader) placeTable(table *tensor.Dense, grid [2]int) (*tensor.Dense, error) {
	s := table.Shape()
	from, err := l.tableGrid(s[0])
	if err != nil || from == grid {
		return table, err
	}
	n := distances(from) * s[1]
	values := table.Float32s()
	rule := l.tableRule
	if rule == nil {
		rule = geometricTable
	}
	placed := rule(values[:n], s[1], from, grid)
	placed = append(placed, values[n:s[0]*s[1]]...)
	return dense(placed, len(placed)/s[1], s[1]), nil
}

// geometricTable puts the known distances at places that grow apart in
// geometric progression, and is linear in between: resize_rel_pos_bias_table
// of timm/layers/pos_embed_rel.py, after BEiT's fine-tuning.
func geometricTable(table []float32, heads int, from, to [2]int) []float32 {
	var taps [2][]linearTap
	for axis := range 2 {
		known := progression(2*from[axis]-1, 2*to[axis]-1)
		for i := range 2*to[axis] - 1 {
			taps[axis] = append(taps[axis], between(known, float32(i-to[axis]+1)))
		}
	}
	return blend(table, heads, 2*from[1]-1, taps)
}

// progression returns the places of n known distances, 0 in the middle, that
// reach as far as those of m.
func progression(n, m int) []float32 {
	left, right, q := 1.01, 1.5, 0.0
	for right-left > 1e-6 {
		q = (left + right) / 2
		if (1-math.Pow(q, float64(n/2)))/(1-q) > float64(m/2) {
			right = q
		} else {
			left = q
		}
	}
	places := make([]float32, n)
	at := 1.0
	for i := range n / 2 {
		places[n/2+1+i], places[n/2-1-i] = float32(at), float32(-at)
		at += math.Pow(q, float64(i+1))
	}
	return places
}

// linearTap are two rows of a table and what they count.
type linearTap struct {
	lo, hi   int
	wlo, whi float32
}

// between returns the two known places around x; beyond them the last counts
// alone.
func between(known []float32, x float32) linearTap {
	hi := 0
	for hi < len(known)-1 && known[hi] < x {
		hi++
	}
	t := linearTap{lo: max(hi-1, 0), hi: hi}
	left, right := max(x-known[t.lo], 0), max(known[hi]-x, 0)
	if left == 0 && right == 0 {
		left, right = 1, 1
	}
	t.wlo, t.whi = right/(left+right), left/(left+right)
	return t
}

// bilinearTable is F.interpolate in mode bilinear, pixel centres at halves:
// BeitRelativePositionBias of models/beit/modeling_beit.py of transformers.
// It takes the table of a grid of rows and columns for one of columns and
// rows, which counts where they differ.
func bilinearTable(table []float32, heads int, from, to [2]int) []float32 {
	from[0], from[1] = from[1], from[0]
	var taps [2][]linearTap
	for axis := range 2 {
		n, m := 2*from[axis]-1, 2*to[axis]-1
		for i := range m {
			at := max(float32(n)/float32(m)*(float32(i)+0.5)-0.5, 0)
			lo := min(int(at), n-1)
			w := at - float32(lo)
			taps[axis] = append(taps[axis], linearTap{lo: lo, hi: min(lo+1, n-1), wlo: 1 - w, whi: w})
		}
	}
	return blend(table, heads, 2*from[1]-1, taps)
}

// blend returns a table of so many columns at taps along rows and columns.
func blend(table []float32, heads, cols int, taps [2][]linearTap) []float32 {
	out := make([]float32, 0, len(taps[0])*len(taps[1])*heads)
	for _, y := range taps[0] {
		for _, x := range taps[1] {
			for h := range heads {
				at := func(r, c int) float32 { return table[(r*cols+c)*heads+h] }
				out = append(out, y.wlo*(x.wlo*at(y.lo, x.lo)+x.whi*at(y.lo, x.hi))+y.whi*(x.wlo*at(y.hi, x.lo)+x.whi*at(y.hi, x.hi)))
			}
		}
	}
	return out
}
