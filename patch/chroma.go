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
	luma, cb, cr := &m.comps[0], &m.comps[1], &m.comps[2]
	up := newUpsampler(ceilDiv(w, m.hs), m.hs, m.vs)
	for y := range h {
		row, l := out.Pix[y*out.Stride:][:4*w], luma.plane[y*luma.stride:][:w]
		if m.color == 1 {
			grayRow(row, l)
			continue
		}
		u := up.row(up.cb, cb.plane, cb.stride, cb.height, y)
		v := up.row(up.cr, cr.plane, cr.stride, cr.height, y)
		yccRow(row, l, u[:w], v[:w])
	}
	return out
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

// upsampler makes full-width chroma rows by the rules of libjpeg's
// jdsample.c: triangle filters for 2×1, 1×2 and 2×2, repetition otherwise.
type upsampler struct {
	cw, hs, vs int
	fancy      bool  // libjpeg leaves the triangle filter out for planes of up to two columns
	sums       []int // one row of vertical sums
	cb, cr     []byte
}

func newUpsampler(cw, hs, vs int) *upsampler {
	n := cw*hs + 1
	return &upsampler{cw: cw, hs: hs, vs: vs, fancy: cw > 2, sums: make([]int, cw), cb: make([]byte, n), cr: make([]byte, n)}
}

// row returns chroma row y at full width, in dst or straight from plane, of
// which ch rows count.
func (u *upsampler) row(dst, plane []byte, stride, ch, y int) []byte {
	cy := min(y/u.vs, ch-1)
	near := plane[cy*stride:][:u.cw]
	switch {
	case u.hs == 1 && u.vs == 1:
		return near
	case u.hs == 2 && u.vs == 1 && u.fancy:
		tripleH(dst, near)
	case u.hs == 1 && u.vs == 2:
		far, bias := u.far(plane, stride, ch, cy, y)
		for i, v := range near {
			dst[i] = uint8((3*int(v) + int(far[i]) + bias) >> 2)
		}
	case u.hs == 2 && u.vs == 2 && u.fancy:
		far, _ := u.far(plane, stride, ch, cy, y)
		for i, v := range near {
			u.sums[i] = 3*int(v) + int(far[i])
		}
		tripleHV(dst, u.sums)
	default:
		for i, v := range near {
			for j := range u.hs {
				dst[i*u.hs+j] = v
			}
		}
	}
	return dst
}

// far is the neighbouring chroma row that is nearer to row y, and 1×2's
// rounding bias.
func (u *upsampler) far(plane []byte, stride, ch, cy, y int) (row []byte, bias int) {
	fy, bias := cy-1, 1
	if y&1 == 1 {
		fy, bias = cy+1, 2
	}
	fy = min(max(fy, 0), ch-1)
	return plane[fy*stride:][:u.cw], bias
}

// tripleH doubles a row: each output is 3/4 of the nearer sample and 1/4 of
// the further one, rounded down on the left and up on the right.
func tripleH(dst, src []byte) {
	n := len(src)
	for i, v := range src {
		l, r := src[max(i-1, 0)], src[min(i+1, n-1)]
		dst[2*i] = uint8((3*int(v) + int(l) + 1) >> 2)
		dst[2*i+1] = uint8((3*int(v) + int(r) + 2) >> 2)
	}
}

// tripleHV is tripleH on sums that carry a factor of four.
func tripleHV(dst []byte, sums []int) {
	n := len(sums)
	for i, v := range sums {
		l, r := sums[max(i-1, 0)], sums[min(i+1, n-1)]
		dst[2*i] = uint8((3*v + l + 8) >> 4)
		dst[2*i+1] = uint8((3*v + r + 7) >> 4)
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

func yccRow(dst, y, cb, cr []byte) {
	for i, v := range y {
		u, w := int(cb[i])-128, int(cr[i])-128
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0] = clip(int(v) + (crR*w+1<<15)>>16)
		d[1] = clip(int(v) + (-cbG*u-crG*w+1<<15)>>16)
		d[2] = clip(int(v) + (cbB*u+1<<15)>>16)
		d[3] = 255
	}
}
