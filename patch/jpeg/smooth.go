package jpeg

// A progressive file may end before all of its coefficients are there. libjpeg
// then guesses the first ones from the means of the 5 × 5 blocks around
// (jdcoefct.c, after K.8 of the standard), and so does this decoder.

// known is how many coefficients' bits are kept track of for that.
const known = 10

// guess is one coefficient and the weights of the 25 means that make it; the
// sum is a 256th of the coefficient.
type guess struct {
	k       int // in the file's order
	weights [25]int32
}

// sparse are the guesses where some AC coefficients are there, from the blocks
// next to one; bare those where there are only means, which change with them.
var (
	sparse = []guess{
		{1, [25]int32{10: -7, 11: 50, 13: -50, 14: 7}},
		{2, [25]int32{2: -7, 7: 50, 17: -50, 22: 7}},
		{3, [25]int32{2: -1, 7: 13, 12: -24, 17: 13, 22: -1}},
		{4, [25]int32{9: 1, 15: 1, 16: -10, 18: 10, 1: -1, 19: -1, 21: 1, 23: -1, 3: 1, 5: -1, 6: 10, 8: -10}},
		{5, [25]int32{10: -1, 11: 13, 12: -24, 13: 13, 14: -1}},
	}
	meansOnly = []guess{
		{1, [25]int32{
			-1, -1, 0, 1, 1,
			-3, 13, 0, -13, 3,
			-3, 38, 0, -38, 3,
			-3, 13, 0, -13, 3,
			-1, -1, 0, 1, 1}},
		{2, [25]int32{
			-1, -3, -3, -3, -1,
			-1, 13, 38, 13, -1,
			0, 0, 0, 0, 0,
			1, -13, -38, -13, 1,
			1, 3, 3, 3, 1}},
		{3, [25]int32{
			0, 0, 1, 0, 0,
			0, 2, 7, 2, 0,
			0, -5, -14, -5, 0,
			0, 2, 7, 2, 0,
			0, 0, 1, 0, 0}},
		{4, [25]int32{
			-1, 0, 0, 0, 1,
			0, 9, 0, -9, 0,
			0, 0, 0, 0, 0,
			0, -9, 0, 9, 0,
			1, 0, 0, 0, -1}},
		{5, [25]int32{
			0, 0, 0, 0, 0,
			0, 2, -5, 2, 0,
			1, 7, -14, 7, 1,
			0, 2, -5, 2, 0,
			0, 0, 0, 0, 0}},
		{6, [25]int32{6: 1, 8: -1, 11: 2, 13: -2, 16: 1, 18: -1}},
		{7, [25]int32{6: 1, 7: -3, 8: 1, 16: -1, 17: 3, 18: -1}},
		{8, [25]int32{6: 1, 8: -1, 11: -3, 13: 3, 16: 1, 18: -1}},
		{9, [25]int32{6: 1, 7: 2, 8: 1, 16: -1, 17: -2, 18: -1}},
		{0, [25]int32{
			-2, -6, -8, -6, -2,
			-6, 6, 42, 6, -6,
			-8, 42, 152, 42, -8,
			-6, 6, 42, 6, -6,
			-2, -6, -8, -6, -2}},
	}
)

// smoothing reports whether guessing is possible and of use after n scans.
func (r *Reader) smoothing(n int) bool {
	if !r.Progressive {
		return false
	}
	useful := false
	for i := range r.Components {
		c := &r.comps[i]
		if c.q == nil || c.bits[0] < 0 {
			return false
		}
		for k := range known {
			if c.q.v[zigzag[k]] == 0 {
				return false
			}
		}
		for k := 1; k < known; k++ {
			if n == 1 {
				c.before[k] = -1
			}
			useful = useful || c.bits[k] != 0
		}
	}
	return useful
}

// keepMeans copies the means of all blocks, which are wanted when some of the
// blocks' memory has become picture already.
func (r *Reader) keepMeans() {
	for i := range r.Components {
		c := &r.comps[i]
		c.means = grow(c.means, c.wide*len(c.rows))
		for y := range c.rows {
			for x := range c.wide {
				c.means[y*c.wide+x] = c.read(x, y)[0]
			}
		}
	}
}

// smoothed is block (x, y) of a component with what is not there guessed.
func (r *Reader) smoothed(c *component, x, y int) *[64]int16 {
	work := &r.work
	*work = *c.read(x, y)
	bits := c.bits[:known]
	if y/c.tall > r.goodRow*c.v/c.tall { // the last scan has not come so far
		bits = c.before[:]
	}
	guesses := sparse
	onlyMeans := true
	for _, b := range bits[1:] {
		onlyMeans = onlyMeans && b == -1
	}
	if onlyMeans {
		guesses = meansOnly
	}
	var means [25]int32
	for i, row := range r.around(c, y) {
		for j := range 5 {
			if row < 0 {
				break
			}
			means[5*i+j] = int32(c.means[row*c.wide+min(max(x+j-2, 0), c.wide-1)])
		}
	}
	q := func(k int) int64 { return int64(uint16(c.q.v[zigzag[k]])) }
	for _, g := range guesses {
		al := bits[g.k]
		place := zigzag[g.k]
		if g.k > 0 && (al == 0 || work[place] != 0) {
			continue
		}
		sum := int64(0)
		for i, w := range g.weights {
			sum += int64(w * means[i])
		}
		sum *= q(0)
		size := max(sum, -sum)
		size = (q(g.k)<<7 + size) / (q(g.k) << 8)
		if g.k > 0 && al > 0 {
			size = min(size, 1<<al-1)
		}
		if sum < 0 {
			size = -size
		}
		work[place] = int16(size)
	}
	return work
}

// around are the rows of blocks two above y to two below, by libjpeg's rule of
// what the last row is. It goes by the file's factor of a component that is
// alone, too, below which a row may be one that no scan has: -1.
func (r *Reader) around(c *component, y int) [5]int {
	rows, down := c.tall, ceilDiv(c.high, c.tall)
	if y/c.tall == down-1 && c.high%c.tall != 0 {
		rows = c.high % c.tall
	}
	at, all := y/c.tall*rows+y%c.tall, rows*down
	out := [5]int{y, y, y, y, y}
	if at > 0 {
		out[1], out[0] = y-1, y-1
	}
	if at > 1 {
		out[0] = y - 2
	}
	if at < all-1 {
		out[3], out[4] = y+1, y+1
	}
	if at < all-2 {
		out[4] = y + 2
	}
	for i, row := range out {
		if row >= r.down*c.v {
			out[i] = -1
		}
	}
	return out
}
