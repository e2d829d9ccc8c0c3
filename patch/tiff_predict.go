package patch

// undoDifferences adds to each sample of a row that of the pixel on its left
// (TIFF 6.0, section 14), or does so with the bytes of floats, of which the
// first ones of all come first, then the second (Adobe, TIFF Technical Note 3).
func (f *tiffReader) undoDifferences(row []byte) {
	n := f.samples / f.planes
	switch {
	case f.predictor == floatDifferences:
		f.undoFloats(row, n)
	case f.predictor == horizontalDifferences && f.bits == 8:
		for i := n; i < len(row); i++ {
			row[i] += row[i-n]
		}
	case f.predictor == horizontalDifferences && f.bits == 16:
		for i := 2 * n; i+2 <= len(row); i += 2 {
			f.order.PutUint16(row[i:], f.order.Uint16(row[i:])+f.order.Uint16(row[i-2*n:]))
		}
	case f.predictor == horizontalDifferences:
		for i := 4 * n; i+4 <= len(row); i += 4 {
			f.order.PutUint32(row[i:], f.order.Uint32(row[i:])+f.order.Uint32(row[i-4*n:]))
		}
	}
}

// undoFloats leaves floats with the lowest byte first, whatever the file's order
// is.
func (f *tiffReader) undoFloats(row []byte, n int) {
	for i := n; i < len(row); i++ {
		row[i] += row[i-n]
	}
	f.floats = append(f.floats[:0], row...)
	size := f.bits / 8
	count := len(row) / size
	for i := range count {
		for j := range size {
			row[size*i+j] = f.floats[(size-1-j)*count+i]
		}
	}
}
