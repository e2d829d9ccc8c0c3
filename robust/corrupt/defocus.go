package corrupt

import "math"

// lens are the parameters of defocusBlur.
type lens struct {
	radius int
	alias  float64 // deviation of the Gaussian that the disk's edge is smoothed by
}

// Of a disk of bytes, three channels are summed in one word of 64 bits: a sum
// of runs is a difference of prefix sums, which is right whatever overflows on
// the way, and each channel's sum fits its lane.
const (
	lane     = 21 // bits
	laneMask = 1<<lane - 1
)

// defocusBlur is the mean over a disk whose edge is smoothed: a sum over runs
// of equal weights, one a row of the disk, and then the smoothing itself.
//
// The programs smooth the disk's table, with its border reflected (c b | a b c)
// and cut, where a disk touches it. That is an error at the four poles of the
// disk which poles adds.
func defocusBlur(w *work, dst, src *Picture, l lens) {
	m, taps := 8, 1 // half the edge of the disk's table, and of the smoothing's
	if l.radius > 8 {
		m, taps = l.radius, 2
	}
	pad := m + taps
	wide := w.padded(src, pad)
	across, down := wide.prefix(w, false), wide.prefix(w, true)
	half := make([]int, m+taps+1) // of the disk's row y; -1: none
	area := 0
	for y := range half {
		half[y] = -1
		if y <= l.radius {
			half[y] = int(math.Sqrt(float64(l.radius*l.radius - y*y)))
			area += (2*half[y] + 1) * (1 + min(y, 1))
		}
	}
	g := smoothing(taps, l.alias)
	k := 1 / float64(area)

	disk := w.field(src.H, src.W, 3)
	sums := take(&w.words, src.W)
	for y := range src.H {
		clear(sums)
		for dy := -l.radius; dy <= l.radius; dy++ {
			r := half[max(dy, -dy)]
			row := across.row(y + pad + dy)
			addRun(sums, row[pad+r+1:], row[pad-r:])
		}
		unpack(disk.row(y), sums, k)
	}
	poles := m == l.radius
	for _, vertical := range []bool{true, false} {
		next := w.field(src.H, src.W, 3)
		disk.smooth(w, next, g, vertical)
		if poles {
			prefix := across
			if !vertical {
				prefix = down
			}
			// The smoothing of the other axis is still to come for the
			// poles of the first, and is past for those of the second.
			p := w.poles(src, prefix, pad, m, half, g, k, !vertical)
			if !vertical {
				more := w.field(src.H, src.W, 3)
				p.smooth(w, more, g, true)
				p = more
			}
			for i, v := range p.v {
				next.v[i] += v
			}
		}
		disk = next
	}
	disk.write(dst)
}

// smoothing is OpenCV's Gaussian of taps on either side, the middle first.
func smoothing(taps int, sigma float64) []float64 {
	g := make([]float64, taps+1)
	sum := 0.0
	for i := range g {
		g[i] = math.Exp(-float64(i*i) / (2 * sigma * sigma))
		sum += g[i] * float64(1+min(i, 1))
	}
	for i := range g {
		g[i] /= sum
	}
	return g
}

// packed is a picture with its border, three channels in a word.
type packed struct {
	w, h int
	v    []uint64
}

func (p packed) row(y int) []uint64 { return p.v[y*p.w:][:p.w] }

// padded packs a picture; the border is reflected.
func (w *work) padded(src *Picture, pad int) packed {
	p := packed{src.W + 2*pad, src.H + 2*pad, nil}
	p.v = take(&w.words, p.w*p.h)
	for y := range p.h {
		from, to := src.Pix[3*src.W*reflect101(y-pad, src.H):][:3*src.W], p.row(y)
		for x := range src.W {
			px := from[3*x : 3*x+3 : 3*x+3]
			to[pad+x] = uint64(px[0]) | uint64(px[1])<<lane | uint64(px[2])<<(2*lane)
		}
		for x := range pad {
			to[x] = to[pad+reflect101(x-pad, src.W)]
			to[pad+src.W+x] = to[pad+reflect101(src.W+x, src.W)]
		}
	}
	return p
}

// prefix is the sums of all values before each one, in its row or its column;
// a zero comes before.
func (p packed) prefix(w *work, down bool) packed {
	s := packed{p.w + 1, p.h, nil}
	if down {
		s.w, s.h = p.w, p.h+1
	}
	s.v = take(&w.words, s.w*s.h)
	if down {
		clear(s.row(0))
		for y := range p.h {
			a, b, v := s.row(y), s.row(y+1), p.row(y)
			for x := range v {
				b[x] = a[x] + v[x]
			}
		}
		return s
	}
	for y := range p.h {
		to := s.row(y)
		sum := uint64(0)
		to[0] = 0
		for x, v := range p.row(y) {
			sum += v
			to[x+1] = sum
		}
	}
	return s
}

func addRun(sums, end, begin []uint64) {
	end, begin = end[:len(sums)], begin[:len(sums)]
	for i := range sums {
		sums[i] += end[i] - begin[i]
	}
}

// unpack spreads sums over channels in [0, 1], times k.
func unpack(to []float64, sums []uint64, k float64) {
	k /= 255
	for i, s := range sums {
		t := to[3*i : 3*i+3 : 3*i+3]
		t[0], t[1], t[2] = float64(s&laneMask)*k, float64(s>>lane&laneMask)*k, float64(s>>(2*lane))*k
	}
}

// smooth convolves with a few taps; the border is reflected as the picture's is.
func (f field) smooth(w *work, to field, g []float64, vertical bool) {
	if vertical {
		for y := range f.h {
			out := to.row(y)
			scale(out, f.row(y), g[0])
			for j := 1; j < len(g); j++ {
				addPair(out, f.row(reflect101(y-j, f.h)), f.row(reflect101(y+j, f.h)), g[j])
			}
		}
		return
	}
	r := len(g) - 1
	line := take(&w.floats, (f.w+2*r)*f.c)
	for y := range f.h {
		from, out := f.row(y), to.row(y)
		copy(line[r*f.c:], from)
		for i := range r {
			copy(line[i*f.c:(i+1)*f.c], from[reflect101(i-r, f.w)*f.c:])
			copy(line[(r+f.w+i)*f.c:][:f.c], from[reflect101(f.w+i, f.w)*f.c:])
		}
		scale(out, from, g[0])
		for j := 1; j < len(g); j++ {
			addPair(out, line[(r-j)*f.c:], line[(r+j)*f.c:], g[j])
		}
	}
}

// poles is what the table's border adds at the two poles of the disk on one
// axis: in row m-i what row m-i of a table that goes on does not get from the
// reflected rows, and minus what goes beyond.
func (w *work) poles(src *Picture, prefix packed, pad, m int, half []int, g []float64, k float64, sideways bool) field {
	out := w.field(src.H, src.W, 3)
	clear(out.v)
	sums, part := take(&w.words, src.W), take(&w.floats, 3*src.W)
	taps := len(g) - 1
	for at := m - taps + 1; at <= m+taps; at++ { // row of the smoothed table
		for row := m - taps; row <= m; row++ { // of the disk
			weight := 0.0
			if j := at - row; at > m && j <= taps {
				weight = -g[j]
			} else if j := 2*m - at - row; at <= m && row < m && at+(2*m-row)-2*at <= taps && j >= 0 {
				weight = g[2*m-row-at] // row 2m-row beyond the border is this one
			}
			if r := half[row]; weight != 0 && r >= 0 {
				for y := range src.H {
					clear(sums)
					if sideways {
						a, b := prefix.row(y+pad+r+1), prefix.row(y+pad-r)
						addRun(sums, a[pad-at:], b[pad-at:])
						addRun(sums, a[pad+at:], b[pad+at:])
					} else {
						for _, dy := range [2]int{-at, at} {
							line := prefix.row(y + pad + dy)
							addRun(sums, line[pad+r+1:], line[pad-r:])
						}
					}
					unpack(part, sums, k*weight)
					to := out.row(y)
					for i, v := range part {
						to[i] += v
					}
				}
			}
		}
	}
	return out
}
