package focus

import "math"

// Upsampling is how the cells of a map become pixels.
type Upsampling string

// Upsamplings. Centres of cells lie at half coordinates, as in every imaging
// library, and the border cells go on beyond the map.
const (
	Bilinear Upsampling = "bilinear"
	Nearest  Upsampling = "nearest" // cells stay squares, as in DINO's pictures
	Bicubic  Upsampling = "bicubic" // Catmull-Rom; overshoot is cut off at the map's own range
)

// Upsamplings returns the names of the upsamplings, the default first.
func Upsamplings() []string { return []string{string(Bilinear), string(Nearest), string(Bicubic)} }

// tap is one cell's share in a pixel.
type tap struct {
	cell   int
	weight float32
}

// taps returns the cells of n whose weighted sum is the value at coordinate
// c, in cells: cell i covers i to i+1.
func (u Upsampling) taps(c float64, n int) []tap {
	clamp := func(i int) int { return min(max(i, 0), n-1) }
	if u == Nearest {
		return []tap{{clamp(int(math.Floor(c))), 1}}
	}
	low := math.Floor(c - 0.5)
	i, f := int(low), c-0.5-low
	if u != Bicubic {
		return []tap{{clamp(i), float32(1 - f)}, {clamp(i + 1), float32(f)}}
	}
	// Catmull-Rom spline: Keys, "Cubic convolution interpolation for digital
	// image processing", IEEE ASSP 1981, equation 15.
	return []tap{
		{clamp(i - 1), float32(f * (-0.5 + f*(1-0.5*f)))},
		{clamp(i), float32(1 + f*f*(1.5*f-2.5))},
		{clamp(i + 1), float32(f * (0.5 + f*(2-1.5*f)))},
		{clamp(i + 2), float32(f * f * (0.5*f - 0.5))},
	}
}

// field is a map stretched over pixels: the columns are resampled once, a
// row for each row of the map, and each row of pixels is a weighted sum of
// those.
type field struct {
	rows [][]float32 // by map row, one value a pixel column
	high float32     // values are 0 to high
	up   Upsampling
}

// newField stretches values (rows, cols) over pixel columns; at gives each
// column's coordinate in cells.
func newField(values []float32, rows, cols int, up Upsampling, width int, at func(x int) float64, high float32) *field {
	f := &field{rows: make([][]float32, rows), high: high, up: up}
	for r := range f.rows {
		f.rows[r] = make([]float32, width)
	}
	for x := range width {
		for _, t := range up.taps(at(x), cols) {
			for r := range f.rows {
				f.rows[r][x] += t.weight * values[r*cols+t.cell]
			}
		}
	}
	return f
}

// row writes the pixel row at coordinate c, in cells, to dst.
func (f *field) row(dst []float32, c float64) {
	taps := f.up.taps(c, len(f.rows))
	if len(taps) == 2 {
		a, b := f.rows[taps[0].cell][:len(dst)], f.rows[taps[1].cell][:len(dst)]
		wa, wb := taps[0].weight, taps[1].weight
		for x := range dst {
			dst[x] = wa*a[x] + wb*b[x]
		}
		return
	}
	clear(dst)
	for _, t := range taps {
		for x, v := range f.rows[t.cell][:len(dst)] {
			dst[x] += t.weight * v
		}
	}
	for x, v := range dst {
		dst[x] = min(max(v, 0), f.high)
	}
}
