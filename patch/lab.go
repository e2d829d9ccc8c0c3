package patch

import (
	"math"
	"sync"
)

// labEdge is how many colors of each of L, a and b are computed; Little CMS, which
// Pillow asks, keeps as many and interpolates.
const labEdge = 33

// labTable is those colors in RGB of sixteen bits.
type labTable [labEdge][labEdge][labEdge][3]uint16

// labColors is CIELab of D50 in sRGB: by CIE's formulas to XYZ, from there by the
// matrix that sRGB's primaries and white become under D50 (Bradford's
// adaptation, in sixteen bits of fraction, as ICC profiles have it), and by IEC
// 61966-2-1.
var labColors = sync.OnceValue(func() *labTable {
	t := &labTable{}
	inverse := invert([3][3]float64{
		{28576. / 65536, 25239. / 65536, 9375. / 65536},
		{14581. / 65536, 46983. / 65536, 3972. / 65536},
		{912. / 65536, 6361. / 65536, 46787. / 65536},
	})
	cube := func(v float64) float64 {
		if v <= 24./116 {
			return 108. / 841 * (v - 16./116)
		}
		return v * v * v
	}
	at := func(i int) float64 { return math.Round(float64(i)*65535/(labEdge-1)) / 65535 }
	for l := range labEdge {
		for a := range labEdge {
			for b := range labEdge {
				y := (100*at(l) + 16) / 116
				xyz := [3]float64{
					0.9642 * cube(y+(255*at(a)-128)/500),
					cube(y),
					0.8249 * cube(y-(255*at(b)-128)/200),
				}
				for c, row := range inverse {
					v := row[0]*xyz[0] + row[1]*xyz[1] + row[2]*xyz[2]
					v = min(max(v, 0), 1)
					if v <= 0.0031308 {
						v *= 12.92
					} else {
						v = 1.055*math.Pow(v, 1/2.4) - 0.055
					}
					t[l][a][b][c] = uint16(math.Round(65535 * v))
				}
			}
		}
	}
	return t
})

// invert is the inverse of a matrix.
func invert(m [3][3]float64) (out [3][3]float64) {
	minor := func(i, j int) float64 {
		a, b, c, d := (i+1)%3, (i+2)%3, (j+1)%3, (j+2)%3
		return m[a][c]*m[b][d] - m[a][d]*m[b][c]
	}
	det := m[0][0]*minor(0, 0) + m[0][1]*minor(0, 1) + m[0][2]*minor(0, 2)
	for i := range 3 {
		for j := range 3 {
			out[j][i] = minor(i, j) / det
		}
	}
	return out
}

// labPixel writes a color of CIELab, a and b of which are 0 at 128. Between the
// colors that are computed it goes along the edges of a tetrahedron: first along
// the longest way.
func (t *labTable) labPixel(dst []byte, l, a, b byte) {
	const steps = labEdge - 1
	at := [3]int{int(l) * steps / 255, int(a) * steps / 255, int(b) * steps / 255}
	part := [3]int{int(l)*steps - 255*at[0], int(a)*steps - 255*at[1], int(b)*steps - 255*at[2]}
	first, second, third := 0, 1, 2
	if part[first] < part[second] {
		first, second = second, first
	}
	if part[second] < part[third] {
		second, third = third, second
	}
	if part[first] < part[second] {
		first, second = second, first
	}
	node := &t[at[0]][at[1]][at[2]]
	r, g, blue := 255*int(node[0]), 255*int(node[1]), 255*int(node[2])
	for _, i := range [3]int{first, second, third} {
		p := part[i]
		if p == 0 {
			break
		}
		at[i]++
		next := &t[at[0]][at[1]][at[2]]
		r += p * (int(next[0]) - int(node[0]))
		g += p * (int(next[1]) - int(node[1]))
		blue += p * (int(next[2]) - int(node[2]))
		node = next
	}
	const whole, half = 255 * 257, 255 * 257 / 2
	d := dst[:4:4]
	d[0], d[1], d[2], d[3] = byte((r+half)/whole), byte((g+half)/whole), byte((blue+half)/whole), 255
}

// labPixel is the method of the table there is.
func labPixel(dst []byte, l, a, b byte) { labColors().labPixel(dst, l, a, b) }

// labRow writes a row of colors whose a and b have a sign, each so many bytes
// behind the one before. A color like the one before is copied.
func labRow(dst, src []byte, pixel int) {
	t := labColors()
	var last [3]byte
	for i := 0; i < len(dst); i += 4 {
		color := [3]byte(src)
		if color == last && i > 0 {
			copy(dst[i:i+4], dst[i-4:i])
		} else {
			t.labPixel(dst[i:i+4], color[0], color[1]^0x80, color[2]^0x80)
		}
		last = color
		src = src[pixel:]
	}
}
