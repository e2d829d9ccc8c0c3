// Package jpegtest writes JPEG files for tests: any scans of any coefficients,
// with Huffman tables made for them. Section numbers are those of ITU-T T.81.
package jpegtest

import (
	"encoding/binary"
	"image"
	"math"
)

// Picture is the coefficients of a picture.
type Picture struct {
	Width, Height int
	Components    []Component
	Quant         [][64]byte // tables, in the file's order
	Adobe         int        // transform of an APP14 segment less one; 0: JFIF's segment, -1: neither
}

// Component is a component's blocks, whole MCUs of them.
type Component struct {
	ID, H, V, Table byte
	Wide            int // blocks in a row
	Blocks          [][64]int
}

// Scan is what one scan has of the components.
type Scan struct {
	Components     []int
	Ss, Se, Ah, Al int
}

// Options say how a picture is written.
type Options struct {
	Progressive bool
	Scans       []Scan // none: one of everything
	Restart     int    // MCUs between restart markers
}

// Progression is libjpeg's script for n components.
func Progression(n int) []Scan {
	if n == 1 {
		return []Scan{
			{[]int{0}, 0, 0, 0, 1}, {[]int{0}, 1, 5, 0, 2}, {[]int{0}, 6, 63, 0, 2},
			{[]int{0}, 1, 63, 2, 1}, {[]int{0}, 0, 0, 1, 0}, {[]int{0}, 1, 63, 1, 0},
		}
	}
	all := []int{0, 1, 2, 3}[:n]
	scans := []Scan{{all, 0, 0, 0, 1}, {[]int{0}, 1, 5, 0, 2}}
	for i := n - 1; i > 0; i-- {
		scans = append(scans, Scan{[]int{i}, 1, 63, 0, 1})
	}
	scans = append(scans, Scan{[]int{0}, 6, 63, 0, 2}, Scan{[]int{0}, 1, 63, 2, 1}, Scan{all, 0, 0, 1, 0})
	for i := n - 1; i >= 0; i-- {
		scans = append(scans, Scan{[]int{i}, 1, 63, 1, 0})
	}
	return scans
}

// Zigzag is the row-major place of each coefficient in the file's order.
var Zigzag = func() (t [64]int) {
	i := 0
	for d := range 15 { // the diagonals, every other one from its lower end
		for j := range d + 1 {
			x, y := j, d-j
			if d%2 == 1 {
				x, y = y, x
			}
			if x < 8 && y < 8 {
				t[i] = 8*y + x
				i++
			}
		}
	}
	return t
}()

// FromImage is the coefficients of m in YCbCr with luma of h × v samples for
// one of chroma, quantized by scale times 1, 2, 3 and so on along the
// diagonals.
func FromImage(m *image.NRGBA, h, v int, scale float64) *Picture {
	w, height := m.Rect.Dx(), m.Rect.Dy()
	p := &Picture{Width: w, Height: height, Quant: make([][64]byte, 1)}
	for k, at := range Zigzag {
		p.Quant[0][k] = byte(min(max(scale*float64(1+at/8+at%8), 1), 255))
	}
	across, down := (w+8*h-1)/(8*h), (height+8*v-1)/(8*v)
	for i := range 3 {
		c := Component{ID: byte(i + 1), H: 1, V: 1}
		sx, sy := h, v
		if i == 0 {
			c.H, c.V, sx, sy = byte(h), byte(v), 1, 1
		}
		c.Wide = across * int(c.H)
		c.Blocks = make([][64]int, c.Wide*down*int(c.V))
		for b := range c.Blocks {
			var block [64]float64
			for j := range block {
				block[j] = mean(m, i, (b%c.Wide*8+j%8)*sx, (b/c.Wide*8+j/8)*sy, sx, sy) - 128
			}
			c.Blocks[b] = quantized(&block, &p.Quant[0])
		}
		p.Components = append(p.Components, c)
	}
	return p
}

// mean is component i of the w × h pixels from (x, y) on.
func mean(m *image.NRGBA, i, x, y, w, h int) float64 {
	weights := [3][4]float64{{0.299, 0.587, 0.114, 0}, {-0.168736, -0.331264, 0.5, 128}, {0.5, -0.418688, -0.081312, 128}}[i]
	sum := 0.0
	for dy := range h {
		for dx := range w {
			at := m.PixOffset(min(x+dx, m.Rect.Dx()-1), min(y+dy, m.Rect.Dy()-1))
			px := m.Pix[at : at+3]
			sum += weights[0]*float64(px[0]) + weights[1]*float64(px[1]) + weights[2]*float64(px[2]) + weights[3]
		}
	}
	return sum / float64(w*h)
}

// cosines are the transform's (A.3.3).
var cosines = func() (t [8][8]float64) {
	for u := range 8 {
		c := 0.5
		if u == 0 {
			c = math.Sqrt(0.125)
		}
		for x := range 8 {
			t[u][x] = c * math.Cos(float64((2*x+1)*u)*math.Pi/16)
		}
	}
	return t
}()

func quantized(block *[64]float64, q *[64]byte) (out [64]int) {
	var rows [64]float64
	for y := range 8 {
		for u := range 8 {
			for x := range 8 {
				rows[8*y+u] += cosines[u][x] * block[8*y+x]
			}
		}
	}
	for k, at := range Zigzag {
		sum := 0.0
		for y := range 8 {
			sum += cosines[at/8][y] * rows[8*y+at%8]
		}
		out[k] = int(math.Round(sum / float64(q[k])))
	}
	return out
}

// Encode writes a picture.
func (p *Picture) Encode(o Options) []byte {
	out := []byte{0xff, 0xd8}
	segment := func(marker byte, body []byte) {
		out = append(out, 0xff, marker)
		out = binary.BigEndian.AppendUint16(out, uint16(len(body)+2))
		out = append(out, body...)
	}
	switch {
	case p.Adobe == 0:
		segment(0xe0, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"))
	case p.Adobe > 0:
		segment(0xee, append([]byte("Adobe\x00\x64\x00\x00\x00\x00"), byte(p.Adobe-1)))
	}
	for i, q := range p.Quant {
		segment(0xdb, append([]byte{byte(i)}, q[:]...))
	}
	frame := []byte{8, byte(p.Height >> 8), byte(p.Height), byte(p.Width >> 8), byte(p.Width), byte(len(p.Components))}
	all := Scan{Se: 63}
	for i, c := range p.Components {
		frame = append(frame, c.ID, c.H<<4|c.V, c.Table)
		all.Components = append(all.Components, i)
	}
	sof, scans := byte(0xc1), o.Scans
	if o.Progressive {
		sof = 0xc2
	}
	segment(sof, frame)
	if o.Restart > 0 {
		segment(0xdd, binary.BigEndian.AppendUint16(nil, uint16(o.Restart)))
	}
	if len(scans) == 0 {
		scans = []Scan{all}
	}
	for _, s := range scans {
		e := &encoder{p: p, s: s, o: o}
		e.walk()
		var codes [2][256]code
		for class := range 2 {
			if table, ok := e.table(class, &codes[class]); ok {
				segment(0xc4, table)
			}
		}
		header := []byte{byte(len(s.Components))}
		for _, i := range s.Components {
			header = append(header, p.Components[i].ID, 0)
		}
		segment(0xda, append(header, byte(s.Ss), byte(s.Se), byte(s.Ah<<4|s.Al)))
		out = e.write(out, &codes)
	}
	return append(out, 0xff, 0xd9)
}
