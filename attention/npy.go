package attention

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"gorgonia.org/tensor"
)

// WriteNpy writes the map's values (rows, cols) as a NumPy file of float32.
func (m *Map) WriteNpy(w io.Writer) error {
	return writeNpy(w, m.Values.Shape(), m.Values.Float32s())
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
	return writeNpy(w, tensor.Shape{len(r.Attn), heads, rows, tokens}, layers...)
}

// writeNpy writes format version 1.0 of
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html:
// a magic string, the header padded with blanks so that the values begin at a
// multiple of 64 bytes, and the values, little end first.
func writeNpy(w io.Writer, shape tensor.Shape, values ...[]float32) error {
	var dims strings.Builder
	for _, n := range shape {
		fmt.Fprintf(&dims, "%d, ", n)
	}
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", dims.String())
	const before = 10 // magic string, version, length of the header
	header += strings.Repeat(" ", 63-(before+len(header))%64) + "\n"
	out := bufio.NewWriterSize(w, 1<<16)
	out.WriteString("\x93NUMPY\x01\x00")
	binary.Write(out, binary.LittleEndian, uint16(len(header)))
	out.WriteString(header)
	for _, v := range values {
		if err := binary.Write(out, binary.LittleEndian, v); err != nil {
			return fmt.Errorf("attention: write npy: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("attention: write npy: %w", err)
	}
	return nil
}
