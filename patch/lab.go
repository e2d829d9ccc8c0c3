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
func labPixel(dst []byte, l, a, b byte) {
	t := labColors()
	var at, part [3]int
	for i, v := range [3]byte{l, a, b} {
		p := int(v) * (labEdge - 1)
		at[i], part[i] = p/255, p%255
	}
	order := [3]int{0, 1, 2}
	for _, s := range [3][2]int{{0, 1}, {1, 2}, {0, 1}} {
		if part[order[s[0]]] < part[order[s[1]]] {
			order[s[0]], order[s[1]] = order[s[1]], order[s[0]]
		}
	}
	node := &t[at[0]][at[1]][at[2]]
	var sum [3]int
	for c := range sum {
		sum[c] = 255 * int(node[c])
	}
	for _, i := range order {
		if part[i] == 0 {
			break
		}
		at[i]++
		next := &t[at[0]][at[1]][at[2]]
		for c := range sum {
			sum[c] += part[i] * (int(next[c]) - int(node[c]))
		}
		node = next
	}
	for c := range sum {
		dst[c] = byte((sum[c] + 255*257/2) / (255 * 257))
	}
	dst[3] = 255
}
