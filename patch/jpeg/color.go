package jpeg

// colors is what the components are.
type colors struct {
	jfif  bool
	adobe int // transform of Adobe's APP14 segment; -1: there is none
	kind  colorKind
}

type colorKind int

const (
	gray colorKind = iota
	ycc
	rgb
	cmyk
	ycck // the YCbCr of three inks, inverted, and black
	samples
)

// choose tells the colours as libjpeg does (jdapimin.c): JFIF is YCbCr, then
// Adobe's segment says it, then the components' names do.
//
// Adobe, "Supporting the DCT Filters in PostScript Level 2", Technical Note
// 5116, section 18.
func (c *colors) choose(n int, comps []component, lossless bool) {
	switch {
	case n == 1:
		c.kind = gray
	case n == 4 && c.adobe > 0:
		c.kind = ycck
	case n == 4:
		c.kind = cmyk
	case lossless && !c.jfif && c.adobe < 0: // whatever the names are
		c.kind = rgb
	case !c.jfif && (c.adobe == 0 || c.adobe < 0 && comps[0].id == 'R' && comps[1].id == 'G' && comps[2].id == 'B'):
		c.kind = rgb
	default:
		c.kind = ycc
	}
}

// pixels converts n pixels of row y from column x on to RGBA.
func (r *Reader) pixels(dst []byte, y, x, n int) {
	var lines [4][]byte
	for i := range r.Components {
		lines[i] = r.up.line(&r.up.lines[i], &r.comps[i], r.size, r.ring, y, x, n)
	}
	r.convert(dst, lines, n)
}

// convert makes RGBA of rows of components.
func (r *Reader) convert(dst []byte, lines [4][]byte, n int) {
	switch r.color.kind {
	case samples:
		for i := range r.Components {
			for j, v := range lines[i][:n] {
				dst[4*j+i] = v
			}
		}
	case gray:
		Gray(dst, lines[0][:n])
	case ycc:
		YCC(dst, lines[0], lines[1], lines[2], n)
	case rgb:
		for i, v := range lines[0][:n] {
			d := dst[4*i : 4*i+4 : 4*i+4]
			d[0], d[1], d[2], d[3] = v, lines[1][i], lines[2][i], 255
		}
	case cmyk:
		for i, v := range lines[0][:n] {
			d := dst[4*i : 4*i+4 : 4*i+4]
			d[0], d[1], d[2], d[3] = 255-v, 255-lines[1][i], 255-lines[2][i], 255
		}
		blacken(dst, lines[3])
	case ycck: // the inks' inversion undoes YCCK's own
		YCC(dst, lines[0], lines[1], lines[2], n)
		blacken(dst, lines[3])
	}
}

// blacken is Pillow's way from CMYK to RGB, of inks inverted as Adobe's are.
func blacken(dst, black []byte) {
	for i := 0; i < len(dst); i += 4 {
		k := int(black[i/4])
		for j := range 3 {
			dst[i+j] = clip(k - mulDiv255(int(dst[i+j]), k))
		}
	}
}

// mulDiv255 is round(a·b/255).
func mulDiv255(a, b int) int {
	t := a*b + 128
	return (t>>8 + t) >> 8
}

// Gray makes RGBA pixels of gray ones.
func Gray(dst, y []byte) {
	for i, v := range y {
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0], d[1], d[2], d[3] = v, v, v, 255
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
