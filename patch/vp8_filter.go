package patch

import "context"

// vp8Filter is the frame's loop filter (RFC 6386, 9.6 and 15).
type vp8Filter struct {
	simple    bool
	level     int
	sharpness int
	deltas    bool
	reference int // added to the level of macroblocks that are predicted from their own frame: all
	blocks    int // and of those whose luma is predicted block by block
}

// vp8Limits are what a macroblock's edges are compared with.
type vp8Limits struct {
	edge, interior, variance uint8 // edge 0: no filter
	inner                    bool  // the edges of its blocks, too
}

func (l *vp8Filter) read(b *boolReader) {
	l.simple, l.level, l.sharpness = b.flag(), b.number(6), b.number(3)
	if l.deltas = b.flag(); l.deltas && b.flag() {
		var reference, mode [4]int
		for i := range reference {
			reference[i] = b.optional(6)
		}
		for i := range mode {
			mode[i] = b.optional(6)
		}
		l.reference, l.blocks = reference[0], mode[0]
	}
}

// limits makes those of each segment, of macroblocks predicted as a whole and
// block by block (15.2).
func (l *vp8Filter) limits(f *vp8Frame) (table [4][2]vp8Limits) {
	for segment := range table {
		for blocks := range 2 {
			level := l.level
			if f.segments {
				if level = f.segmentLevel[segment]; f.relative {
					level += l.level
				}
			}
			if l.deltas {
				level += l.reference + blocks*l.blocks
			}
			level = min(max(level, 0), 63)
			t := &table[segment][blocks]
			t.inner = blocks == 1
			if level == 0 {
				continue
			}
			interior := level
			if l.sharpness > 0 {
				interior >>= 1
				if l.sharpness > 4 {
					interior >>= 1
				}
				interior = min(interior, 9-l.sharpness)
			}
			interior = max(interior, 1)
			t.edge, t.interior = uint8(2*level+interior), uint8(interior)
			switch {
			case level >= 40:
				t.variance = 2
			case level >= 15:
				t.variance = 1
			}
		}
	}
	return table
}

// smooth filters the whole frame, macroblock by macroblock.
func (f *vp8Frame) smooth(ctx context.Context) error {
	for y := range f.down {
		if err := ctx.Err(); err != nil {
			return err
		}
		for x := range f.across {
			l := f.limits[y*f.across+x]
			if l.edge == 0 {
				continue
			}
			f.y.smooth(16, x, y, l, f.filter.simple)
			if !f.filter.simple {
				f.u.smooth(8, x, y, l, false)
				f.v.smooth(8, x, y, l, false)
			}
		}
	}
	return nil
}

// smooth filters the left edge of a macroblock of n × n samples, its blocks'
// vertical edges, its upper edge and the horizontal ones.
func (p *vp8Plane) smooth(n, x, y int, l vp8Limits, simple bool) {
	at := p.at(n*x, n*y)
	filter := func(at, along, across int, outer bool) {
		limit := int(l.edge)
		if outer {
			limit += 4
		}
		if simple {
			smoothSimple(p.pix, at, along, across, n, limit)
		} else {
			smoothEdge(p.pix, at, along, across, n, limit, int(l.interior), int(l.variance), outer)
		}
	}
	if x > 0 {
		filter(at, p.stride, 1, true)
	}
	if l.inner {
		for i := 4; i < n; i += 4 {
			filter(at+i, p.stride, 1, false)
		}
	}
	if y > 0 {
		filter(at, 1, p.stride, true)
	}
	if l.inner {
		for i := 4; i < n; i += 4 {
			filter(at+i*p.stride, 1, p.stride, false)
		}
	}
}

func absolute(v int) int { return max(v, -v) }

func signed8(v int) int { return min(max(v, -128), 127) }

// signed5 is (v + round) / 8, as five bits hold it.
func signed5(v, round int) int { return min(max((v+round)>>3, -16), 15) }

// smoothSimple filters n samples along an edge; across leads over it (15.2).
func smoothSimple(pix []byte, at, along, across, n, limit int) {
	for range n {
		p1, p0, q0, q1 := int(pix[at-2*across]), int(pix[at-across]), int(pix[at]), int(pix[at+across])
		if 2*absolute(p0-q0)+absolute(p1-q1)>>1 <= limit {
			a := 3*(q0-p0) + signed8(p1-q1)
			pix[at-across] = clip(p0 + signed5(a, 3))
			pix[at] = clip(q0 - signed5(a, 4))
		}
		at += along
	}
}

// smoothEdge filters n samples along an edge: two samples of each where there
// is much variance, else four, or six at an edge between macroblocks (15.3).
func smoothEdge(pix []byte, at, along, across, n, limit, interior, variance int, outer bool) {
	for ; n > 0; n, at = n-1, at+along {
		p1, p0, q0, q1 := int(pix[at-2*across]), int(pix[at-across]), int(pix[at]), int(pix[at+across])
		if 2*absolute(p0-q0)+absolute(p1-q1)>>1 > limit {
			continue
		}
		dp, dq := absolute(p1-p0), absolute(q1-q0)
		if dp > interior || dq > interior {
			continue
		}
		p3, p2, q2, q3 := int(pix[at-4*across]), int(pix[at-3*across]), int(pix[at+2*across]), int(pix[at+3*across])
		if absolute(p3-p2) > interior || absolute(p2-p1) > interior || absolute(q2-q1) > interior || absolute(q3-q2) > interior {
			continue
		}
		switch {
		case dp > variance || dq > variance:
			a := 3*(q0-p0) + signed8(p1-q1)
			pix[at-across] = clip(p0 + signed5(a, 3))
			pix[at] = clip(q0 - signed5(a, 4))
		case outer:
			a := signed8(3*(q0-p0) + signed8(p1-q1))
			near, next, far := (27*a+63)>>7, (18*a+63)>>7, (9*a+63)>>7
			pix[at-3*across], pix[at+2*across] = clip(p2+far), clip(q2-far)
			pix[at-2*across], pix[at+across] = clip(p1+next), clip(q1-next)
			pix[at-across], pix[at] = clip(p0+near), clip(q0-near)
		default:
			a := 3 * (q0 - p0)
			near := signed5(a, 4)
			half := (near + 1) >> 1
			pix[at-2*across], pix[at+across] = clip(p1+half), clip(q1-half)
			pix[at-across], pix[at] = clip(p0+signed5(a, 3)), clip(q0-near)
		}
	}
}
