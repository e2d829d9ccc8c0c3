package main

import "math/bits"

// scan writes a scan of components (ITU-T T.81, F.1 and G.1).
func (d *drawn) scan(group []int, ss, se, ah, al int, progressive bool) {
	body := []byte{byte(len(group))}
	for _, i := range group {
		body = append(body, d.comps[i].id, 0)
	}
	d.segment(0xda, append(body, byte(ss), byte(se), byte(ah<<4|al))...)
	last := make([]int, len(d.comps))
	run, pending := 0, []bool(nil) // blocks that have ended, and their correction bits
	flush := func() {
		if run == 0 {
			return
		}
		n := bits.Len(uint(run)) - 1
		d.put(d.ac[n<<4])
		d.raw(run&(1<<n-1), n)
		for _, b := range pending {
			d.bit(b)
		}
		run, pending = 0, nil
	}
	block := func(i int, b *[64]int) {
		switch {
		case !progressive:
			d.dcFirst(b[0], &last[i])
			d.acFirst(b, 1, 63, 0, nil, nil)
		case ss == 0 && ah == 0:
			d.dcFirst(b[0]>>al, &last[i])
		case ss == 0:
			d.raw(b[0]>>al&1, 1)
		case ah == 0:
			d.acFirst(b, ss, se, al, &run, flush)
		default:
			d.acRefine(b, ss, se, al, &run, &pending, flush)
		}
		if run == 0x7fff {
			flush()
		}
	}
	units, done := d.units(group)
	for u := range units {
		if d.restart > 0 && u > 0 && u%d.restart == 0 {
			flush()
			d.pad()
			d.out.Write([]byte{0xff, byte(0xd0 + (u/d.restart-1)%8)})
			clear(last)
		}
		done(u, block)
	}
	flush()
	d.pad()
}

// units returns how many units a scan has, and a function that visits the
// blocks of one.
func (d *drawn) units(group []int) (int, func(int, func(int, *[64]int))) {
	if len(group) == 1 {
		i := group[0]
		c := &d.comps[i]
		return c.width * c.height, func(u int, visit func(int, *[64]int)) {
			visit(i, &c.blocks[u/c.width*c.across+u%c.width])
		}
	}
	across := d.comps[0].across / int(d.comps[0].h)
	down := d.comps[0].down / int(d.comps[0].v)
	return across * down, func(u int, visit func(int, *[64]int)) {
		for _, i := range group {
			c := &d.comps[i]
			for y := range int(c.v) {
				for x := range int(c.h) {
					visit(i, &c.blocks[(u/across*int(c.v)+y)*c.across+u%across*int(c.h)+x])
				}
			}
		}
	}
}

func (d *drawn) dcFirst(v int, last *int) {
	diff := v - *last
	*last = v
	n := bits.Len(uint(max(diff, -diff)))
	d.put(d.dc[n])
	d.magnitude(diff, n)
}

// magnitude writes the n bits of a value (T.81, F.1.2.1).
func (d *drawn) magnitude(v, n int) {
	if v < 0 {
		v += 1<<n - 1
	}
	d.raw(v, n)
}

// shifted divides by a power of two towards zero.
func shifted(v, al int) int {
	if v < 0 {
		return -(-v >> al)
	}
	return v >> al
}

// acFirst writes a band for the first time; with run, the ends of blocks are
// counted.
func (d *drawn) acFirst(b *[64]int, ss, se, al int, run *int, flush func()) {
	zeros := 0
	for k := ss; k <= se; k++ {
		v := shifted(b[k], al)
		if v == 0 {
			zeros++
			continue
		}
		if run != nil {
			flush()
		}
		for ; zeros > 15; zeros -= 16 {
			d.put(d.ac[0xf0])
		}
		n := bits.Len(uint(max(v, -v)))
		d.put(d.ac[zeros<<4|n])
		d.magnitude(v, n)
		zeros = 0
	}
	switch {
	case zeros > 0 && run != nil:
		*run++
	case zeros > 0:
		d.put(d.ac[0])
	}
}

// acRefine writes one more bit of a band (T.81, G.1.2.3).
func (d *drawn) acRefine(b *[64]int, ss, se, al int, run *int, pending *[]bool, flush func()) {
	end := ss - 1 // the last coefficient that is new
	for k := ss; k <= se; k++ {
		if v := shifted(b[k], al); v == 1 || v == -1 {
			end = k
		}
	}
	zeros := 0
	var corrections []bool
	for k := ss; k <= se; k++ {
		v := shifted(b[k], al)
		if v == 0 {
			zeros++
			continue
		}
		for zeros > 15 && k <= end {
			flush()
			d.put(d.ac[0xf0])
			zeros -= 16
			for _, c := range corrections {
				d.bit(c)
			}
			corrections = nil
		}
		if v != 1 && v != -1 {
			corrections = append(corrections, max(v, -v)&1 == 1)
			continue
		}
		flush()
		d.put(d.ac[zeros<<4|1])
		d.bit(v > 0)
		for _, c := range corrections {
			d.bit(c)
		}
		corrections, zeros = nil, 0
	}
	if zeros > 0 || len(corrections) > 0 {
		*run++
		*pending = append(*pending, corrections...)
		if len(*pending) > 900 {
			flush()
		}
	}
}

func (d *drawn) put(c code) { d.raw(int(c.bits), c.n) }

func (d *drawn) bit(b bool) {
	if b {
		d.raw(1, 1)
	} else {
		d.raw(0, 1)
	}
}

func (d *drawn) raw(v, n int) {
	d.acc, d.have = d.acc<<n|uint64(v)&(1<<n-1), d.have+n
	for d.have >= 8 {
		c := byte(d.acc >> (d.have - 8))
		d.out.WriteByte(c)
		if c == 0xff {
			d.out.WriteByte(0)
		}
		d.have -= 8
	}
}

// pad fills the last byte with ones.
func (d *drawn) pad() {
	if d.have > 0 {
		d.raw(0xff, 8-d.have)
	}
}
