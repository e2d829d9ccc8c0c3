package jpeg

// upsampler makes rows of full width by the rules of libjpeg's jdsample.c:
// triangle ("fancy") filters for 2×1, 1×2 and 2×2, repetition otherwise.
type upsampler struct {
	sums  []uint16 // weighted sums of two rows, one more on either side
	lines [4][]byte

	repeat bool // by no filter
}

// rowSlack is how far vector code reads beyond the last sample of a row.
const rowSlack = 64

// samples is row y of a plane that keeps ring rows of MCUs.
func (c *component) samples(size, ring, y int) []byte {
	y = min(max(y, 0), c.height-1) % (ring * c.v * size)
	return c.plane[y*c.stride:][: c.width+planeSlack : c.width+planeSlack]
}

// line returns n samples for row y of the picture from column x on, and a
// little memory behind them.
func (u *upsampler) line(to *[]byte, c *component, size, ring, y, x, n int) []byte {
	cy := min(y/c.vs, c.height-1)
	near := c.samples(size, ring, cy)
	if c.hs == 1 && c.vs == 1 {
		return near[x:]
	}
	first, end := x/c.hs, ceilDiv(x+n, c.hs)
	*to = grow(*to, (end-first)*c.hs+2*rowSlack)
	dst := *to
	far := near
	if c.vs == 2 { // the neighbour that is nearer
		far = c.samples(size, ring, cy-1+2*(y&1))
	}
	switch {
	case u.repeat:
		repeat(dst, near[first:end], c.hs)
	case c.hs == 2 && c.vs <= 2 && c.width > 2: // libjpeg leaves the triangle filter out for planes of up to two columns
		lo, hi := max(first-1, 0), min(end+1, c.width)
		u.sums = grow(u.sums, end-first+2+rowSlack)
		sums := u.sums[lo-first+1:][:hi-lo]
		addRows(sums, near[lo:hi], far[lo:hi])
		if first == 0 {
			u.sums[0] = u.sums[1]
		}
		if end == c.width {
			u.sums[end-first+1] = u.sums[end-first]
		}
		left, right := uint16(8), uint16(7)
		if c.vs == 1 { // 4·near: (3n+l+1)/4 and (3n+r+2)/4
			left, right = 4, 8
		}
		widen(dst, u.sums, end-first, left, right)
	case c.hs == 1 && c.vs == 2:
		bias := 1 + y&1
		for i, v := range near[first:end] {
			dst[i] = uint8((3*int(v) + int(far[first+i]) + bias) >> 2)
		}
	default:
		repeat(dst, near[first:end], c.hs)
	}
	return dst[x%c.hs:]
}

// repeat writes each sample n times.
func repeat(dst, src []byte, n int) {
	for i, v := range src {
		for j := range n {
			dst[i*n+j] = v
		}
	}
}

// addRowsGo is the vertical step of a triangle filter.
func addRowsGo(sums []uint16, near, far []byte) {
	for i := range sums {
		sums[i] = 3*uint16(near[i]) + uint16(far[i])
	}
}

// widenGo is the horizontal one: of each two outputs, the left leans on the
// sum before, the right on the one after. sums[0] comes before the first.
func widenGo(dst []byte, sums []uint16, n int, left, right uint16) {
	for i := range n {
		v := 3 * sums[i+1]
		dst[2*i] = uint8((v + sums[i] + left) >> 4)
		dst[2*i+1] = uint8((v + sums[i+2] + right) >> 4)
	}
}
