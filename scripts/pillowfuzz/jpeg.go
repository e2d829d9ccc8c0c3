package main

import (
	"bytes"
	"math/rand/v2"
)

// component of a JPEG that is made of random coefficients.
type component struct {
	id, h, v      byte
	across, down  int       // blocks, whole units
	width, height int       // blocks that a scan of its own has
	blocks        [][64]int // in zigzag order
}

// drawn is a JPEG of random coefficients, sampling, tables and scans: what no
// encoder at hand writes.
type drawn struct {
	rng           *rand.Rand
	out           bytes.Buffer
	width, height int
	comps         []component
	hmax, vmax    int
	restart       int // units; 0: none
	steps         [2][64]byte
	adobe, jfif   []byte // segments; nil: none
	dc, ac        [256]code
	acc           uint64
	have          int
}

type code struct {
	bits uint32
	n    int
}

// drawJPEG writes a whole file.
func drawJPEG(rng *rand.Rand) []byte {
	return newDrawn(rng).file(rng.IntN(3) > 0)
}

// newDrawn draws the size, the components and their coefficients.
func newDrawn(rng *rand.Rand) *drawn {
	d := &drawn{rng: rng, width: 1 + rng.IntN(60), height: 1 + rng.IntN(60)}
	n := pick(rng, 1, 3, 3, 3, 3, 4)
	first := pick(rng, 0, 1, 1, 1, int('R'))
	d.hmax, d.vmax = pick(rng, 1, 2, 2, 3, 4), pick(rng, 1, 2, 2, 3, 4)
	for i := range n {
		c := component{id: byte(first + i), h: byte(d.hmax), v: byte(d.vmax)}
		if first == 'R' {
			c.id = "RGBK"[i]
		}
		if i > 0 {
			c.h, c.v = factor(rng, d.hmax), factor(rng, d.vmax)
		}
		d.comps = append(d.comps, c)
	}
	if rng.IntN(3) == 0 { // the largest is not the first
		d.comps[0].h, d.comps[n-1].h = d.comps[n-1].h, d.comps[0].h
		d.comps[0].v, d.comps[n-1].v = d.comps[n-1].v, d.comps[0].v
	}
	for i := range d.comps {
		d.comps[i].fill(d)
	}
	for i := range 2 * 64 {
		d.steps[i/64][i%64] = byte(1 + rng.IntN(3+i%64/8))
	}
	if rng.IntN(3) == 0 {
		d.restart = 1 + rng.IntN(6)
	}
	if rng.IntN(3) == 0 {
		d.jfif = []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
	}
	if rng.IntN(3) == 0 {
		d.adobe = append([]byte("Adobe\x00\x64\x00\x00\x00\x00"), byte(rng.IntN(3)))
	}
	return d
}

// factor is a sampling factor beside the largest: most of them divide it, as
// libjpeg-turbo wants.
func factor(rng *rand.Rand, largest int) byte {
	f := 1 + rng.IntN(largest)
	for largest%f != 0 && rng.IntN(10) > 0 {
		f = 1 + rng.IntN(largest)
	}
	return byte(f)
}

// file writes the coefficients, each time with other tables and scans.
func (d *drawn) file(progressive bool) []byte {
	d.out.Reset()
	d.header(progressive)
	units := 0
	for _, c := range d.comps {
		units += int(c.h) * int(c.v)
	}
	together := units <= 10 && d.rng.IntN(4) > 0
	if progressive {
		d.progression(together)
	} else {
		for _, group := range d.groups(together) {
			d.scan(group, 0, 63, 0, 0, false)
		}
	}
	d.out.Write([]byte{0xff, 0xd9})
	return bytes.Clone(d.out.Bytes())
}

// fill draws the coefficients, which fade as those of photos do.
func (c *component) fill(d *drawn) {
	ux, uy := (d.width+8*d.hmax-1)/(8*d.hmax), (d.height+8*d.vmax-1)/(8*d.vmax)
	c.across, c.down = ux*int(c.h), uy*int(c.v)
	w, h := (d.width*int(c.h)+d.hmax-1)/d.hmax, (d.height*int(c.v)+d.vmax-1)/d.vmax
	c.width, c.height = (w+7)/8, (h+7)/8
	c.blocks = make([][64]int, c.across*c.down)
	level, dense := d.rng.IntN(200)-100, d.rng.IntN(4)
	for i := range c.blocks {
		level = max(-120, min(120, level+d.rng.IntN(41)-20))
		c.blocks[i][0] = level
		for k := 1; k < 64 && dense > 0; k++ {
			if d.rng.IntN(64) < 64>>(k/(4*dense)) {
				c.blocks[i][k] = d.rng.IntN(2+60/k) * (1 - 2*d.rng.IntN(2))
			}
		}
	}
}

// groups are the components that share a scan: all, or each its own.
func (d *drawn) groups(together bool) (groups [][]int) {
	if together {
		groups = [][]int{nil}
	}
	for i := range d.comps {
		if together {
			groups[0] = append(groups[0], i)
		} else {
			groups = append(groups, []int{i})
		}
	}
	return groups
}

func (d *drawn) segment(marker byte, body ...byte) {
	d.out.Write([]byte{0xff, marker, byte((len(body) + 2) >> 8), byte(len(body) + 2)})
	d.out.Write(body)
}

func (d *drawn) header(progressive bool) {
	d.out.Write([]byte{0xff, 0xd8})
	if d.jfif != nil {
		d.segment(0xe0, d.jfif...)
	}
	if d.adobe != nil {
		d.segment(0xee, d.adobe...)
	}
	for id := range byte(2) {
		d.segment(0xdb, append([]byte{id}, d.steps[id][:]...)...)
	}
	sof := byte(0xc0 + d.rng.IntN(2))
	if progressive {
		sof = 0xc2
	}
	frame := []byte{8, byte(d.height >> 8), byte(d.height), byte(d.width >> 8), byte(d.width), byte(len(d.comps))}
	for i, c := range d.comps {
		frame = append(frame, c.id, c.h<<4|c.v, byte(min(i, 1)))
	}
	d.segment(sof, frame...)
	d.dc, d.ac = d.table(0, 16), d.table(1, 256)
	if d.restart > 0 {
		d.segment(0xdd, 0, byte(d.restart))
	}
}

// table defines table 0 of a class with n symbols in random order, all but two
// of the same length: no code is all ones.
func (d *drawn) table(class byte, n int) (codes [256]code) {
	length := 4
	if n == 256 {
		length = 8
	}
	body := make([]byte, 17)
	body[0] = class << 4
	short := n - 2
	body[length], body[length+1] = byte(short), 2
	for i, symbol := range d.rng.Perm(n) {
		body = append(body, byte(symbol))
		if i < short {
			codes[symbol] = code{uint32(i), length}
		} else {
			codes[symbol] = code{uint32(short*2 + i - short), length + 1}
		}
	}
	d.segment(0xc4, body...)
	return codes
}

// progression writes scans in a random order that T.81 allows: for each
// component the bits of DC, then of bands of AC, from the high ones down.
func (d *drawn) progression(together bool) {
	low := d.rng.IntN(3)
	for _, g := range d.groups(together) {
		d.scan(g, 0, 0, 0, low, true)
	}
	type step struct{ comp, ss, se, ah, al int }
	var lanes [][]step // each in its order, lanes in any
	for al := low - 1; al >= 0; al-- {
		for _, g := range d.groups(together) {
			d.scan(g, 0, 0, al+1, al, true)
		}
	}
	for c := range d.comps {
		for ss := 1; ss < 64; {
			se := min(63, ss+d.rng.IntN(64))
			top := d.rng.IntN(4)
			lane := []step{{c, ss, se, 0, top}}
			for al := top - 1; al >= 0; al-- {
				lane = append(lane, step{c, ss, se, al + 1, al})
			}
			lanes = append(lanes, lane)
			ss = se + 1
		}
	}
	for len(lanes) > 0 {
		i := d.rng.IntN(len(lanes))
		s := lanes[i][0]
		d.scan([]int{s.comp}, s.ss, s.se, s.ah, s.al, true)
		if lanes[i] = lanes[i][1:]; len(lanes[i]) == 0 {
			lanes = append(lanes[:i], lanes[i+1:]...)
		}
	}
}
