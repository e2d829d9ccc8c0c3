package patch

import "image"

// rgbFromJPEG converts a decoded JPEG as libjpeg does: chroma is brought to
// full size by triangle ("fancy") upsampling, then converted with 16-bit
// fixed-point constants. image/jpeg's own conversion repeats chroma samples,
// which is off by up to 100 grey levels at coloured edges.
func rgbFromJPEG(m *image.YCbCr) *image.NRGBA {
	j := jpegImage{width: m.Rect.Dx(), height: m.Rect.Dy(), color: 3}
	j.hs, j.vs = subsampling(m.SubsampleRatio)
	cw, ch := ceilDiv(j.width, j.hs), ceilDiv(j.height, j.vs)
	j.comps = [3]jpegComponent{
		{plane: m.Y, stride: m.YStride, width: j.width, height: j.height},
		{plane: m.Cb, stride: m.CStride, width: cw, height: ch},
		{plane: m.Cr, stride: m.CStride, width: cw, height: ch},
	}
	return j.rgb()
}

// rgb converts decoded planes to a picture.
func (m *jpegImage) rgb() *image.NRGBA {
	w, h := m.width, m.height
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		m.pixels(out.Pix[y*out.Stride:][:4*w], y, 0, w)
	}
	return out
}

// pixels makes m a source of its pixels; they are written to buf.
func (m *jpegImage) pixels(buf []byte, y, x, n int) []byte {
	luma := m.comps[0].plane[y*m.comps[0].stride+x:]
	if m.color == 1 {
		grayRow(buf[:4*n], luma[:n])
		return buf
	}
	m.chroma.row(&m.chroma.cb, &m.comps[1], m.hs, m.vs, y, x, n)
	m.chroma.row(&m.chroma.cr, &m.comps[2], m.hs, m.vs, y, x, n)
	skip := x % m.hs
	yccRow(buf, luma, m.chroma.cb[skip:], m.chroma.cr[skip:], n)
	return buf
}

func grayRow(dst, y []byte) {
	for i, v := range y {
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0], d[1], d[2], d[3] = v, v, v, 255
	}
}

func subsampling(r image.YCbCrSubsampleRatio) (h, v int) {
	switch r {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}

// upsampler makes chroma rows of full width by the rules of libjpeg's
// jdsample.c: triangle filters for 2×1, 1×2 and 2×2, repetition otherwise.
type upsampler struct {
	sums   []uint16 // weighted sums of two rows, one more on either side
	cb, cr []byte   // a row each
}

// row makes columns [x, x+n) of row y of a plane whose samples are hs × vs
// pixels, from the column that is a multiple of hs.
func (u *upsampler) row(to *[]byte, c *jpegComponent, hs, vs, y, x, n int) {
	first, end := x/hs, ceilDiv(x+n, hs)
	*to = grow(*to, (end-first)*hs+2*rowSlack)
	dst := *to
	cy := min(y/vs, c.height-1)
	row := func(y int) []byte { return c.plane[min(max(y, 0), c.height-1)*c.stride:][:c.width] }
	near, far := row(cy), row(cy)
	if vs == 2 { // the neighbour that is nearer
		far = row(cy - 1 + 2*(y&1))
	}
	switch {
	case hs == 2 && c.width > 2: // libjpeg leaves the triangle filter out for planes of up to two columns
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
		if vs == 1 { // 4·near: (3n+l+1)/4 and (3n+r+2)/4
			left, right = 4, 8
		}
		widen(dst, u.sums, end-first, left, right)
	case hs == 1 && vs == 2:
		bias := 1 + y&1
		for i, v := range near[first:end] {
			dst[i] = uint8((3*int(v) + int(far[first+i]) + bias) >> 2)
		}
	default:
		for i, v := range near[first:end] {
			for j := range hs {
				dst[i*hs+j] = v
			}
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

// Fixed-point constants of JFIF's conversion, scaled by 2¹⁶ as in libjpeg's
// jdcolor.c.
const (
	crR = 91881  // 1.40200
	cbB = 116130 // 1.77200
	crG = 46802  // 0.71414
	cbG = 22554  // 0.34414
)

func yccRowGo(dst, y, cb, cr []byte, n int) {
	for i, v := range y[:n] {
		u, w := int(cb[i])-128, int(cr[i])-128
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0] = clip(int(v) + (crR*w+1<<15)>>16)
		d[1] = clip(int(v) + (-cbG*u-crG*w+1<<15)>>16)
		d[2] = clip(int(v) + (cbB*u+1<<15)>>16)
		d[3] = 255
	}
}
