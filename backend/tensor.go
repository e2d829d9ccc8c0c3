package backend

import (
	"fmt"

	"gorgonia.org/tensor"
)

// Memory is what a Tensor looks at: opaque to everyone but its backend.
type Memory interface {
	Floats() int     // how many float32 it holds
	Temporary() bool // it is a Temp's
}

// Tensor is a view of device memory: plain float32 values, the last dimension
// contiguous. Element (b, i, …, j, k) of a tensor of three or more dimensions
// is at Offset + b·Batch + r·Row + k, where r counts the rows between the
// first and the last dimension densely. A tensor of two dimensions has rows
// only, one of one dimension is contiguous. The zero Tensor means none.
type Tensor struct {
	Mem    Memory
	Offset int // in float32 values, as are the strides
	Shape  tensor.Shape
	Batch  int // from one image to the next; 0 shares one among all
	Row    int // from one row to the next
}

// IsZero reports whether t is the zero Tensor: none.
func (t Tensor) IsZero() bool { return t.Mem == nil }

// First returns the first n images.
func (t Tensor) First(n int) Tensor {
	if n < 0 || n > t.Shape[0] {
		panic(fmt.Sprintf("backend: first %d images of %v", n, t.Shape))
	}
	t.Shape = t.Shape.Clone()
	t.Shape[0] = n
	return t
}

// Rows returns rows lo to hi of the dimension before the last.
func (t Tensor) Rows(lo, hi int) Tensor {
	d := len(t.Shape) - 2
	if d < 0 || d > 1 || lo < 0 || hi < lo || hi > t.Shape[d] {
		panic(fmt.Sprintf("backend: rows %d to %d of %v", lo, hi, t.Shape))
	}
	t.Shape = t.Shape.Clone()
	t.Shape[d] = hi - lo
	t.Offset += lo * t.Row
	return t
}

// Cols returns columns lo to hi of the last dimension.
func (t Tensor) Cols(lo, hi int) Tensor {
	d := len(t.Shape) - 1
	if d < 0 || lo < 0 || hi < lo || hi > t.Shape[d] {
		panic(fmt.Sprintf("backend: columns %d to %d of %v", lo, hi, t.Shape))
	}
	t.Shape = t.Shape.Clone()
	t.Shape[d] = hi - lo
	t.Offset += lo
	return t
}
