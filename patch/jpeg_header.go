package patch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
)

// This is a decoder for the JPEG files that cameras and phones write: eight
// bits, sequential Huffman coding, gray or YCbCr, one scan. Its pixels are
// libjpeg-turbo's, bit for bit. Everything else, and every file it finds fault
// with, is left to image/jpeg. Section numbers are those of ITU-T T.81.

// errNotOurs: the file is for image/jpeg to decode or to refuse.
var errNotOurs = errors.New("not a plain sequential JPEG")

// jpegImage is one file being decoded, and its memory, which is reused.
type jpegImage struct {
	width, height  int
	color          int // number of components: 1 gray, 3 YCbCr
	hs, vs         int // luma samples per chroma sample, across and down
	restart        int // MCUs between restart markers, 0: none
	comps          [3]jpegComponent
	quant          [4][64]int32 // row-major; quant[i][0] is 0 where there is no table
	dc, ac         [4]huffman
	haveDC, haveAC [4]bool
	size           int // samples a block has on each edge: 8, or 4, 2, 1 when scaled down
	chroma         upsampler
	bits           []byte // entropy-coded bytes of a segment without stuffing
}

// jpegComponent is a plane of samples.
type jpegComponent struct {
	id, h, v   int
	tq, td, ta int
	blocks     int // in a row of the plane, whole MCUs
	rows       int // rows of blocks
	width      int // samples that count
	height     int
	stride     int
	plane      []byte // rows·size × stride
	predicted  int32  // DC
}

var jpegImages = sync.Pool{New: func() any { return new(jpegImage) }}

// readHeader reads markers up to the first scan's entropy-coded data, which
// it returns.
func (m *jpegImage) readHeader(data []byte) (scan []byte, err error) {
	const (
		sof0, sof1, dht, sos, dqt, dri = 0xc0, 0xc1, 0xc4, 0xda, 0xdb, 0xdd
		app0, app14                    = 0xe0, 0xee
	)
	m.width, m.restart = 0, 0
	m.haveDC, m.haveAC = [4]bool{}, [4]bool{}
	for i := range m.quant {
		m.quant[i][0] = 0
	}
	jfif, adobe := false, -1
	data = data[min(2, len(data)):]
	for len(data) >= 4 {
		if data[0] != 0xff {
			return nil, errNotOurs
		}
		marker := data[1]
		if marker == 0xff {
			data = data[1:]
			continue
		}
		n := int(binary.BigEndian.Uint16(data[2:]))
		if marker < 0xc0 || marker >= 0xd0 && marker <= 0xd9 || n < 2 || 2+n > len(data) {
			return nil, errNotOurs
		}
		body := data[4 : 2+n]
		data = data[2+n:]
		ok := true
		switch marker {
		case sof0, sof1:
			ok = m.width == 0 && m.readFrame(body)
		case dht:
			ok = m.readHuffman(body)
		case dqt:
			ok = m.readQuant(body)
		case dri:
			if ok = len(body) == 2; ok {
				m.restart = int(binary.BigEndian.Uint16(body))
			}
		case app0:
			jfif = jfif || matches(body, "JFIF\x00")
		case app14:
			if matches(body, "Adobe") && len(body) >= 12 {
				adobe = int(body[11])
			}
		case sos:
			rgb := !jfif && (adobe == 0 || m.comps[0].id == 'R' && m.comps[1].id == 'G' && m.comps[2].id == 'B')
			if m.width == 0 || m.color == 3 && rgb || !m.readScan(body) {
				return nil, errNotOurs
			}
			return data, nil
		default: // other frames (progressive, arithmetic, lossless)
			ok = marker < 0xc0 || marker > 0xcf
		}
		if !ok {
			return nil, errNotOurs
		}
	}
	return nil, errNotOurs
}

// readFrame reads a frame header (B.2.2).
func (m *jpegImage) readFrame(b []byte) bool {
	if len(b) < 6 || b[0] != 8 {
		return false
	}
	m.height, m.width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	m.color = int(b[5])
	if m.width == 0 || m.height == 0 || m.color != 1 && m.color != 3 || len(b) != 6+3*m.color {
		return false
	}
	for i := range m.color {
		c := &m.comps[i]
		c.id, c.h, c.v, c.tq = int(b[6+3*i]), int(b[7+3*i]>>4), int(b[7+3*i]&15), int(b[8+3*i])
		if c.tq > 3 {
			return false
		}
		for _, other := range m.comps[:i] {
			if other.id == c.id {
				return false
			}
		}
	}
	if m.color == 1 {
		// A scan of one component has one block an MCU, whatever its
		// factors (A.2.2).
		m.comps[0].h, m.comps[0].v = 1, 1
	}
	c := &m.comps
	m.hs, m.vs = c[0].h, c[0].v
	switch [2]int{m.hs, m.vs} {
	case [2]int{1, 1}, [2]int{2, 1}, [2]int{1, 2}, [2]int{2, 2}, [2]int{4, 1}:
	default:
		return false
	}
	return m.color == 1 || c[1].h == 1 && c[1].v == 1 && c[2].h == 1 && c[2].v == 1
}

// readQuant reads quantization tables (B.2.4.1).
func (m *jpegImage) readQuant(b []byte) bool {
	for len(b) > 0 {
		wide, id := int(b[0]>>4), b[0]&15
		n := 64 << wide
		if wide > 1 || id > 3 || len(b) < 1+n {
			return false
		}
		q := &m.quant[id]
		for i := range 64 {
			if wide == 1 {
				q[zigzag[i]] = int32(binary.BigEndian.Uint16(b[1+2*i:]))
			} else {
				q[zigzag[i]] = int32(b[1+i])
			}
		}
		if q[0] == 0 {
			return false
		}
		b = b[1+n:]
	}
	return true
}

// readHuffman reads Huffman tables (B.2.4.2).
func (m *jpegImage) readHuffman(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 17 || b[0]>>4 > 1 || b[0]&15 > 3 {
			return false
		}
		id, isAC := b[0]&15, b[0]>>4 == 1
		counts := b[1:17]
		n := 0
		for _, c := range counts {
			n += int(c)
		}
		if n == 0 || n > 256 || len(b) < 17+n {
			return false
		}
		h := &m.dc[id]
		if isAC {
			h = &m.ac[id]
		}
		if !h.set(counts, b[17:17+n], isAC) {
			return false
		}
		if isAC {
			m.haveAC[id] = true
		} else {
			m.haveDC[id] = true
		}
		b = b[17+n:]
	}
	return true
}

// readScan reads a scan header (B.2.3): all components, in the frame's order,
// all coefficients.
func (m *jpegImage) readScan(b []byte) bool {
	n := m.color
	if len(b) != 4+2*n || int(b[0]) != n || b[1+2*n] != 0 || b[2+2*n] != 63 || b[3+2*n] != 0 {
		return false
	}
	for i := range n {
		c := &m.comps[i]
		c.td, c.ta = int(b[2+2*i]>>4), int(b[2+2*i]&15)
		if int(b[1+2*i]) != c.id || c.td > 3 || c.ta > 3 || !m.haveDC[c.td] || !m.haveAC[c.ta] || m.quant[c.tq][0] == 0 {
			return false
		}
	}
	return true
}

// allocate makes the planes for blocks of size × size samples.
func (m *jpegImage) allocate(size int) {
	m.size = size
	mcuW, mcuH := 8*m.hs, 8*m.vs
	across, down := (m.width+mcuW-1)/mcuW, (m.height+mcuH-1)/mcuH
	for i := range m.color {
		c := &m.comps[i]
		c.blocks, c.rows = across*c.h, down*c.v
		c.stride = c.blocks * size
		// Samples that count, by libjpeg's rule: rounded up.
		c.width = ceilDiv(m.width*c.h*size, 8*m.hs)
		c.height = ceilDiv(m.height*c.v*size, 8*m.vs)
		c.plane = grow(c.plane, c.stride*c.rows*size+planeSlack)
		c.predicted = 0
	}
}

// planeSlack lets vector code read a little beyond a plane's end.
const planeSlack = 64

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// segment copies entropy-coded bytes up to the next marker into m.bits, with
// the zero after each 0xff taken out (B.1.1.5) and zeros behind, and returns
// how many there are, the marker and what follows it.
func (m *jpegImage) segment(data []byte) (n int, marker byte, rest []byte) {
	m.bits = grow(m.bits, len(data)+bitSlack)
	out := m.bits
	for {
		i := bytes.IndexByte(data, 0xff)
		if i < 0 {
			n += copy(out[n:], data)
			data = nil
			break
		}
		n += copy(out[n:], data[:i])
		data = data[i+1:]
		for len(data) > 0 && data[0] == 0xff { // fill bytes
			data = data[1:]
		}
		if len(data) == 0 {
			break
		}
		b := data[0]
		data = data[1:]
		if b != 0 {
			marker = b
			break
		}
		out[n] = 0xff
		n++
	}
	clear(out[n : n+bitSlack])
	return n, marker, data
}
