package patch

// look returns the next n bits, and zeros beyond the code's end.
func (f *fax) look(n int) (uint32, error) {
	for f.have < n {
		if f.at == len(f.data) {
			if f.have == 0 {
				return 0, errFaxEnd
			}
			f.bits <<= n - f.have
			f.have = n
			break
		}
		f.bits = f.bits<<8 | uint32(f.data[f.at])
		f.at++
		f.have += 8
	}
	return f.bits >> (f.have - n) & (1<<n - 1), nil
}

func (f *fax) skip(n int) { f.have -= n }

// code looks up the next code.
func (f *fax) code(table []faxCode, n int) (faxCode, error) {
	v, err := f.look(n)
	if err != nil {
		return faxCode{}, err
	}
	c := table[v]
	f.have -= int(c.width)
	return c, nil
}

// fill writes the runs, which it cuts to the row.
func (f *fax) fill(dst []byte) {
	x := 0
	clear(dst[:(f.width+7)/8])
	for i := 0; i < f.n; i++ {
		run := f.runs[i]
		if x+run > f.width || run > f.width || run < 0 {
			run = f.width - x
			f.runs[i] = run
		}
		if i&1 == 1 {
			blacken(dst, x, x+run)
		}
		x += run
	}
}

// blacken sets the bits of pixels x to end.
func blacken(dst []byte, x, end int) {
	if x >= end {
		return
	}
	first, last := byte(0xff>>(x&7)), byte(0xff<<(7-(end-1)&7))
	i, j := x>>3, (end-1)>>3
	if i == j {
		dst[i] |= first & last
		return
	}
	dst[i] |= first
	fill(dst[i+1:j], 0xff)
	dst[j] |= last
}
