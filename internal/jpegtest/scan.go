package jpegtest

import (
	"math/bits"
	"sort"
)

// token is a symbol, bits by themselves, or a restart marker.
type token struct {
	class  int8 // of the symbol's table: 0 DC, 1 AC; -1: no symbol
	symbol byte
	value  uint32
	n      int8 // bits of value; -1: a restart marker
}

// encoder turns a scan into tokens.
type encoder struct {
	p       *Picture
	s       Scan
	o       Options
	tokens  []token
	last    [4]int // DC
	run     int    // of blocks that are at their end
	pending []token
}

func (e *encoder) symbol(class int8, s byte, value, n int) {
	e.tokens = append(e.tokens, token{class, s, uint32(value) & (1<<n - 1), int8(n)})
}

// walk goes through the MCUs of a scan (A.2).
func (e *encoder) walk() {
	maxH, maxV := 1, 1
	for _, c := range e.p.Components {
		maxH, maxV = max(maxH, int(c.H)), max(maxV, int(c.V))
	}
	ceil := func(a, b int) int { return (a + b - 1) / b }
	wide, high := ceil(e.p.Width, 8*maxH), ceil(e.p.Height, 8*maxV)
	alone := len(e.s.Components) == 1
	if alone {
		c := e.p.Components[e.s.Components[0]]
		wide, high = ceil(e.p.Width*int(c.H), 8*maxH), ceil(e.p.Height*int(c.V), 8*maxV)
	}
	for mcu := range wide * high {
		if e.o.Restart > 0 && mcu > 0 && mcu%e.o.Restart == 0 {
			e.end()
			e.last = [4]int{}
			e.tokens = append(e.tokens, token{-1, byte((mcu/e.o.Restart - 1) & 7), 0, -1})
		}
		for i, j := range e.s.Components {
			c := &e.p.Components[j]
			h, v := int(c.H), int(c.V)
			if alone {
				h, v = 1, 1
			}
			for b := range h * v {
				x, y := mcu%wide*h+b%h, mcu/wide*v+b/h
				e.block(&c.Blocks[y*c.Wide+x], &e.last[i])
			}
		}
	}
	e.end()
}

func (e *encoder) block(b *[64]int, last *int) {
	switch {
	case !e.o.Progressive:
		e.dc(b[0], last)
		e.all(b)
	case e.s.Ss == 0 && e.s.Ah == 0:
		e.dc(b[0]>>e.s.Al, last)
	case e.s.Ss == 0:
		e.symbol(-1, 0, b[0]>>e.s.Al, 1)
	case e.s.Ah == 0:
		e.first(b)
	default:
		e.refine(b)
	}
}

func (e *encoder) dc(v int, last *int) {
	d := v - *last
	*last = v
	n := size(d)
	e.symbol(0, byte(n), signed(d), n)
}

// size is how many bits a value takes.
func size(v int) int { return bits.Len(uint(max(v, -v))) }

// signed is a value's bits (F.1.2.1).
func signed(v int) int {
	if v < 0 {
		v--
	}
	return v
}

// shifted is a coefficient without its al lowest bits.
func shifted(v, al int) int {
	if v < 0 {
		return -(-v >> al)
	}
	return v >> al
}

// all is the AC coefficients of a sequential block (F.1.2.2).
func (e *encoder) all(b *[64]int) {
	zeros := 0
	for _, v := range b[1:] {
		if v == 0 {
			zeros++
			continue
		}
		for ; zeros > 15; zeros -= 16 {
			e.symbol(1, 0xf0, 0, 0)
		}
		e.symbol(1, byte(zeros<<4|size(v)), signed(v), size(v))
		zeros = 0
	}
	if zeros > 0 {
		e.symbol(1, 0, 0, 0)
	}
}

// first is G.1.2.2.
func (e *encoder) first(b *[64]int) {
	zeros := 0
	for k := e.s.Ss; k <= e.s.Se; k++ {
		v := shifted(b[k], e.s.Al)
		if v == 0 {
			zeros++
			continue
		}
		e.end()
		for ; zeros > 15; zeros -= 16 {
			e.symbol(1, 0xf0, 0, 0)
		}
		e.symbol(1, byte(zeros<<4|size(v)), signed(v), size(v))
		zeros = 0
	}
	if zeros > 0 {
		e.more()
	}
}

// more adds a block to the run.
func (e *encoder) more() {
	if e.run++; e.run == 0x7fff {
		e.end()
	}
}

// end writes the run of blocks, and the bits that refine coefficients in it.
func (e *encoder) end() {
	if e.run > 0 {
		n := size(e.run) - 1
		e.symbol(1, byte(n<<4), e.run, n)
	}
	e.tokens = append(e.tokens, e.pending...)
	e.run, e.pending = 0, nil
}

// refine is G.1.2.3.
func (e *encoder) refine(b *[64]int) {
	last := 0 // that becomes known
	for k := e.s.Ss; k <= e.s.Se; k++ {
		if v := shifted(b[k], e.s.Al); v == 1 || v == -1 {
			last = k
		}
	}
	zeros := 0
	var corrections []token
	for k := e.s.Ss; k <= e.s.Se; k++ {
		v := shifted(b[k], e.s.Al)
		if v == 0 {
			zeros++
			continue
		}
		for ; zeros > 15 && k <= last; zeros -= 16 {
			e.end()
			e.symbol(1, 0xf0, 0, 0)
			e.tokens = append(e.tokens, corrections...)
			corrections = nil
		}
		if v > 1 || v < -1 {
			corrections = append(corrections, token{-1, 0, uint32(max(v, -v)) & 1, 1})
			continue
		}
		e.end()
		e.symbol(1, byte(zeros<<4|1), (v+1)/2, 1)
		e.tokens = append(e.tokens, corrections...)
		corrections, zeros = nil, 0
	}
	if zeros > 0 || len(corrections) > 0 {
		e.pending = append(e.pending, corrections...)
		e.more()
	}
}

type code struct {
	bits uint32
	n    int
}

// table makes a Huffman table for the symbols of a class, with codes of up to
// sixteen bits by their rank, which is not the best table but a right one.
func (e *encoder) table(class int, codes *[256]code) (segment []byte, ok bool) {
	var count [256]int
	for _, t := range e.tokens {
		if int(t.class) == class {
			count[t.symbol]++
		}
	}
	var symbols []int
	for s, n := range count {
		if n > 0 {
			symbols = append(symbols, s)
		}
	}
	if len(symbols) == 0 {
		return nil, false
	}
	sort.SliceStable(symbols, func(i, j int) bool { return count[symbols[i]] > count[symbols[j]] })
	lengths := lengths(symbols, &count)
	segment = append([]byte{byte(class << 4)}, make([]byte, 16)...)
	next := uint32(0)
	for i, s := range symbols {
		if i > 0 {
			next = (next + 1) << (lengths[i] - lengths[i-1])
		}
		segment[lengths[i]]++
		codes[s] = code{next, lengths[i]}
	}
	for _, s := range symbols {
		segment = append(segment, byte(s))
	}
	return segment, true
}

// lengths are those of a Huffman code for symbols, the most frequent first, by
// K.2: one code is left over, as none may consist of ones only.
func lengths(symbols []int, count *[256]int) []int {
	type node struct{ weight, left, right int }
	nodes := []node{{0, -1, -1}} // the one left over
	for _, s := range symbols {
		nodes = append(nodes, node{count[s], -1, -1})
	}
	var live []int
	for i := range nodes {
		live = append(live, i)
	}
	for len(live) > 1 {
		sort.Slice(live, func(i, j int) bool { return nodes[live[i]].weight > nodes[live[j]].weight })
		a, b := live[len(live)-1], live[len(live)-2]
		nodes = append(nodes, node{nodes[a].weight + nodes[b].weight, a, b})
		live = append(live[:len(live)-2], len(nodes)-1)
	}
	var counts [300]int // of codes of each length
	var visit func(i, depth int)
	visit = func(i, depth int) {
		if nodes[i].left < 0 {
			counts[depth]++
			return
		}
		visit(nodes[i].left, depth+1)
		visit(nodes[i].right, depth+1)
	}
	visit(live[0], 0)
	for i := len(counts) - 1; i > 16; i-- { // figure K.3
		for counts[i] > 0 {
			j := i - 2
			for counts[j] == 0 {
				j--
			}
			counts[i] -= 2
			counts[i-1]++
			counts[j+1] += 2
			counts[j]--
		}
	}
	longest := 16
	for counts[longest] == 0 {
		longest--
	}
	counts[longest]--
	var out []int
	for n, c := range counts[:17] {
		for range c {
			out = append(out, n)
		}
	}
	return out
}

// write appends the entropy-coded data of a scan.
func (e *encoder) write(out []byte, codes *[2][256]code) []byte {
	acc, n := uint64(0), 0
	put := func(v uint32, size int) {
		acc, n = acc<<size|uint64(v), n+size
		for ; n >= 8; n -= 8 {
			b := byte(acc >> (n - 8))
			if out = append(out, b); b == 0xff {
				out = append(out, 0)
			}
		}
	}
	pad := func() {
		if n > 0 {
			put(1<<(8-n)-1, 8-n)
		}
	}
	for _, t := range e.tokens {
		if t.n < 0 {
			pad()
			out = append(out, 0xff, 0xd0+t.symbol)
			continue
		}
		if t.class >= 0 {
			c := codes[t.class][t.symbol]
			put(c.bits, c.n)
		}
		put(t.value, int(t.n))
	}
	pad()
	return out
}
