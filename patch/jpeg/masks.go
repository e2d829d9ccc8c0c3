package jpeg

// masks say of each block of a component which of its coefficients are not
// zero, in the file's order, and of groups of blocks which of any of theirs
// are, so that the next block that matters is found without looking at those
// between.
type masks struct {
	leaf   []uint64
	levels [][]uint64 // of fan blocks, of fan² and so on
	all    uint64     // of any block, at any time
}

const (
	fanBits = 4
	fan     = 1 << fanBits
)

// reset makes room for n blocks that are all zero.
func (m *masks) reset(n int) {
	m.all = 0
	m.leaf = grow(m.leaf, n)
	clear(m.leaf)
	for i := 0; n > fan; i++ {
		n = ceilDiv(n, fan)
		if i == len(m.levels) {
			m.levels = append(m.levels, nil)
		}
		m.levels[i] = grow(m.levels[i], n)
		clear(m.levels[i])
		if n <= fan {
			m.levels = m.levels[:i+1]
		}
	}
	if len(m.leaf) <= fan {
		m.levels = m.levels[:0]
	}
}

// set changes the mask of block i.
func (m *masks) set(i int, mask uint64) {
	gone := m.leaf[i]&^mask != 0
	m.leaf[i] = mask
	m.all |= mask
	below := m.leaf
	for _, level := range m.levels {
		i >>= fanBits
		if gone {
			mask = 0
			for _, v := range below[i<<fanBits : min((i+1)<<fanBits, len(below))] {
				mask |= v
			}
		} else {
			mask |= level[i]
		}
		if level[i] == mask {
			return
		}
		level[i] = mask
		below = level
	}
}

// find is the first block of [from, to) that has a coefficient of band, to if
// there is none.
func (m *masks) find(from, to int, band uint64) int {
	if m.all&band == 0 {
		return to
	}
	for i := from; i < to; {
		if m.leaf[i]&band != 0 {
			return i
		}
		i++
		// Go up as long as whole groups begin here and have nothing.
		for up := len(m.levels) - 1; up >= 0; up-- {
			shift := fanBits * (up + 1)
			if i&(1<<shift-1) != 0 {
				continue
			}
			for i < to && m.levels[up][i>>shift]&band == 0 {
				i += 1 << shift
			}
		}
	}
	return to
}
