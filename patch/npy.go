package patch

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteNpy writes a NumPy file of float32, byte for byte as numpy.save does:
// format version 1.0 of
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. That
// is a magic string, the header padded with blanks so that the values begin at
// a multiple of 64 bytes, and the values in row-major order, little end first.
// Values may be given in parts.
func WriteNpy(w io.Writer, shape []int, values ...[]float32) error {
	var dims []string
	for _, n := range shape {
		dims = append(dims, strconv.Itoa(n))
	}
	if len(dims) == 1 {
		dims = append(dims, "") // a tuple of one: (3,)
	}
	tuple := strings.TrimSuffix(strings.Join(dims, ", "), " ")
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", tuple)
	const before = 10 // magic string, version, length of the header
	header += strings.Repeat(" ", 63-(before+len(header))%64) + "\n"
	out := bufio.NewWriterSize(w, 1<<16)
	out.WriteString("\x93NUMPY\x01\x00")
	binary.Write(out, binary.LittleEndian, uint16(len(header)))
	out.WriteString(header)
	for _, v := range values {
		if err := binary.Write(out, binary.LittleEndian, v); err != nil {
			return fmt.Errorf("write npy: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write npy: %w", err)
	}
	return nil
}
