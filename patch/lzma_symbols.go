package patch

// prob is the probability that a bit is 0, of 2048.
type prob uint16

const (
	probBits  = 11
	probMoves = 5

	lzmaStates    = 12
	lzmaPositions = 16
	lzmaLiterals  = 7 // states below are those behind a literal
)

// lzmaLengths is how lengths are coded.
type lzmaLengths struct {
	choice   [2]prob
	low, mid [lzmaPositions][1 << 3]prob
	high     [1 << 8]prob
}

// lzmaProbs are the probabilities of a stream.
type lzmaProbs struct {
	literals []prob
	lzmaFixed
}

// lzmaFixed are those of which there are always as many.
type lzmaFixed struct {
	match, rep0Long       [lzmaStates][lzmaPositions]prob
	rep, rep0, rep1, rep2 [lzmaStates]prob
	slots                 [4][1 << 6]prob
	distances             [128]prob
	align                 [1 << 4]prob
	lengths, repLengths   lzmaLengths
}

const evenOdds = prob(1 << (probBits - 1))

func evenly(p []prob) {
	for i := range p {
		p[i] = evenOdds
	}
}

func (l *lzmaLengths) begin() {
	evenly(l.choice[:])
	for i := range l.low {
		evenly(l.low[i][:])
		evenly(l.mid[i][:])
	}
	evenly(l.high[:])
}

func (p *lzmaProbs) begin() {
	evenly(p.literals)
	for i := range lzmaStates {
		evenly(p.match[i][:])
		evenly(p.rep0Long[i][:])
	}
	for _, all := range []*[lzmaStates]prob{&p.rep, &p.rep0, &p.rep1, &p.rep2} {
		evenly(all[:])
	}
	for i := range p.slots {
		evenly(p.slots[i][:])
	}
	evenly(p.distances[:])
	evenly(p.align[:])
	p.lengths.begin()
	p.repLengths.begin()
}

// next reads a symbol: a literal, or a match, whose bytes are still to be copied.
func (r *lzmaReader) next() (b byte, literal bool) {
	pos, s := r.total&r.pb, r.state
	if r.bit(&r.p.match[s][pos]) == 0 {
		b = r.literal()
		return b, r.err == nil
	}
	n, after := 0, [2]int{8, 11} // the state, behind a literal and a match
	switch {
	case r.bit(&r.p.rep[s]) == 0:
		n, after = r.length(&r.p.lengths, pos), [2]int{7, 10}
		r.reps = [4]uint32{r.distance(n), r.reps[0], r.reps[1], r.reps[2]}
	case r.bit(&r.p.rep0[s]) == 0:
		if r.bit(&r.p.rep0Long[s][pos]) == 0 {
			n, after = 1, [2]int{9, 11}
			break
		}
		n = r.length(&r.p.repLengths, pos)
	default:
		which := 1 + r.bit(&r.p.rep1[s])
		if which == 2 {
			which += r.bit(&r.p.rep2[s])
		}
		d := r.reps[which]
		copy(r.reps[1:which+1], r.reps[:which])
		r.reps[0] = d
		n = r.length(&r.p.repLengths, pos)
	}
	r.state = after[0]
	if s >= lzmaLiterals {
		r.state = after[1]
	}
	if uint64(r.reps[0]) >= uint64(r.full) {
		r.fail(errLZMA)
	}
	if r.err == nil {
		r.copy = n
	}
	return 0, false
}

// literal reads a byte, which depends on the one before, and behind a match on
// the one that would have gone on with it.
func (r *lzmaReader) literal() byte {
	before := byte(0)
	if r.full > 0 {
		before = r.back(0)
	}
	p := r.p.literals[0x300*(r.total&r.lp<<r.lc+uint32(before)>>(8-r.lc)):][:0x300]
	v := uint32(1)
	if r.state >= lzmaLiterals {
		other, offset := uint32(r.back(r.reps[0])), uint32(0x100)
		for v < 0x100 {
			other <<= 1
			bit := other & offset
			if b := r.bit(&p[offset+bit+v]); b == 1 {
				v, offset = v<<1|1, offset&bit
			} else {
				v, offset = v<<1, offset&^bit
			}
		}
	} else {
		for v < 0x100 {
			v = v<<1 | r.bit(&p[v])
		}
	}
	switch {
	case r.state < 4:
		r.state = 0
	case r.state < 10:
		r.state -= 3
	default:
		r.state -= 6
	}
	return byte(v)
}

// length reads a match's.
func (r *lzmaReader) length(l *lzmaLengths, pos uint32) int {
	switch {
	case r.bit(&l.choice[0]) == 0:
		return 2 + int(r.tree(l.low[pos][:], 3))
	case r.bit(&l.choice[1]) == 0:
		return 2 + 8 + int(r.tree(l.mid[pos][:], 3))
	}
	return 2 + 16 + int(r.tree(l.high[:], 8))
}

// distance reads that of a match of n bytes, less one.
func (r *lzmaReader) distance(n int) uint32 {
	slot := r.tree(r.p.slots[min(n-2, 3)][:], 6)
	if slot < 4 {
		return slot
	}
	bits := int(slot>>1) - 1
	d := (2 | slot&1) << bits
	if slot < 14 {
		return d + r.reverse(r.p.distances[d-slot:], bits)
	}
	d += r.direct(bits-4) << 4
	return d + r.reverse(r.p.align[:], 4)
}
