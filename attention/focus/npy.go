package focus

import (
	"fmt"
	"io"

	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

// What a NumPy file may hold: WriteMaps, WriteNpy.
const (
	ValuesMap       = "map"
	ValuesAttention = "attention"
)

// WriteMaps writes the values of maps as a NumPy file of float32: (rows, cols)
// of one map, (maps, rows, cols) of several.
func WriteMaps(w io.Writer, maps ...*Map) error {
	shape := maps[0].Values.Shape().Clone()
	if len(maps) > 1 {
		shape = append(tensor.Shape{len(maps)}, shape...)
	}
	var values [][]float32
	for _, m := range maps {
		values = append(values, m.Values.Float32s())
	}
	return patch.WriteNpy(w, shape, values...)
}

// Part says which of an image's attention is meant.
type Part struct {
	Layer int   // 1-based; 0: all
	Head  int   // 1-based; 0: all
	Rows  []int // query rows; nil: all that are recorded
}

// Bytes returns the size of a part of a record of that depth, heads and
// tokens: 4·L·H·R·N.
func (p Part) Bytes(depth, heads, tokens int) int64 {
	rows := tokens
	if p.Rows != nil {
		rows = len(p.Rows)
	}
	if p.Layer > 0 {
		depth = 1
	}
	if p.Head > 0 {
		heads = 1
	}
	return 4 * int64(depth) * int64(heads) * int64(rows) * int64(tokens)
}

// Cut returns a copy of a part of image b's attention, as a record of one
// image. A row that is not recorded is ErrRows.
func (r *Record) Cut(b int, p Part) (*Record, error) {
	_, heads, recorded, tokens := r.shape()
	out := &Record{Shape: r.Shape, Rows: p.Rows}
	if p.Rows == nil {
		out.Rows = r.Rows
	}
	lo, hi := 0, heads
	if p.Head > 0 {
		lo, hi = p.Head-1, p.Head
	}
	rows := recorded
	if p.Rows != nil {
		rows = len(p.Rows)
	}
	for block := range r.Attn {
		if block != blockOf(p.Layer, block) {
			continue
		}
		v := r.layer(block, b, Options{})
		cut := make([]float32, 0, (hi-lo)*rows*tokens)
		for h := lo; h < hi; h++ {
			v.lo, v.hi = h, h+1
			for i := range rows {
				row := cut[len(cut) : len(cut)+tokens]
				q := i
				switch {
				case p.Rows != nil:
					q = p.Rows[i]
				case r.Rows != nil:
					q = r.Rows[i]
				}
				if err := v.row(row, q); err != nil {
					return nil, err
				}
				cut = cut[:len(cut)+tokens]
			}
		}
		out.Attn = append(out.Attn, tensor.New(tensor.WithShape(1, hi-lo, rows, tokens), tensor.WithBacking(cut)))
	}
	return out, nil
}

// WriteNpy writes image b's attention as a NumPy file of float32 (L, H, R, N):
// layers, heads, recorded query rows, tokens.
func (r *Record) WriteNpy(w io.Writer, b int) error {
	batch, heads, rows, tokens := r.shape()
	if b < 0 || b >= batch {
		panic(fmt.Sprintf("attention: image %d of a batch of %d", b, batch))
	}
	var layers [][]float32
	for _, a := range r.Attn {
		size := heads * rows * tokens
		layers = append(layers, a.Float32s()[b*size:(b+1)*size])
	}
	return patch.WriteNpy(w, tensor.Shape{len(r.Attn), heads, rows, tokens}, layers...)
}
