package patch

import (
	"errors"
	"fmt"
	"image"

	"github.com/vitserve/vitserve/patch/jpeg"
)

// TIFF 6.0, section 22, as libtiff reads it (tif_ojpeg.c): the picture is one JPEG
// whose parts lie about the file. First come the bytes that the tag of an
// interchange format names, then strips or tiles one after the other. What is
// not said there, tags say.
type oldJPEG struct {
	f       *tiffFile
	src     [][]byte // what is left of each part
	part    int      // the first of src is the interchange format
	restart int      // MCUs, of strips that are fewer rows than the picture
	tables  []byte   // segments
	frame   []byte   // segment
	scan    []byte
}

// Tags of section 22.
const (
	tiffInterchange       = 513
	tiffInterchangeLength = 514
	tiffQTables           = 519
	tiffDCTables          = 520
	tiffACTables          = 521
)

var errOldJPEGCut = errors.New("truncated JPEG of the old kind")

// next is the next byte, of the next part where one has ended.
func (o *oldJPEG) next() (byte, bool) {
	for o.part < len(o.src) {
		if s := o.src[o.part]; len(s) > 0 {
			o.src[o.part] = s[1:]
			return s[0], true
		}
		o.part++
	}
	return 0, false
}

// take is the next n bytes.
func (o *oldJPEG) take(n int) ([]byte, error) {
	out := make([]byte, 0, n)
	for range n {
		b, ok := o.next()
		if !ok {
			return nil, errOldJPEGCut
		}
		out = append(out, b)
	}
	return out, nil
}

// segment reads a segment from its length on.
func (o *oldJPEG) segment(marker byte) ([]byte, error) {
	head, err := o.take(2)
	if err != nil {
		return nil, err
	}
	n := int(head[0])<<8 | int(head[1])
	if n < 2 {
		return nil, fmt.Errorf("a segment of marker %#x and length %d in a JPEG of the old kind", marker, n)
	}
	body, err := o.take(n - 2)
	return append(append([]byte{0xff, marker}, head...), body...), err
}

// openOldJPEG gathers the parts.
func (f *tiffFile) openOldJPEG() (*oldJPEG, error) {
	o := &oldJPEG{f: f}
	size := len(f.data)
	clipped := func(at, n int64) []byte {
		if at <= 0 || at >= int64(size) {
			return nil
		}
		rest := f.data[at:]
		if n <= 0 || n > int64(len(rest)) {
			n = int64(len(rest))
		}
		return rest[:n]
	}
	o.src = append(o.src, clipped(int64(f.number(tiffInterchange, 0)), int64(f.number(tiffInterchangeLength, 0))))
	across, down := f.blocks()
	if across > 1 {
		return nil, lacking("JPEG of the old kind in %d tiles across", across)
	}
	all := len(o.src[0])
	for i := range min(down, f.offsets.len()) {
		n := int64(0)
		if i < f.counts.len() {
			n = f.counts.at(i)
		}
		part := clipped(f.offsets.at(i), n)
		all += len(part)
		o.src = append(o.src, part)
	}
	if most := 3*size + 4096; all > most {
		return nil, fmt.Errorf("a JPEG of the old kind in parts of %d bytes, want at most %d in a file of %d", all, most, size)
	}
	return o, o.readHeaders()
}

// readHeaders reads segments up to the scan's.
func (o *oldJPEG) readHeaders() error {
	for o.scan == nil {
		b, ok := o.next()
		if !ok {
			return errOldJPEGCut
		}
		if b != 0xff { // entropy-coded data; it is given back
			o.src[o.part] = append([]byte{b}, o.src[o.part]...)
			break
		}
		for b == 0xff {
			if b, ok = o.next(); !ok {
				return errOldJPEGCut
			}
		}
		if b == 0xd8 {
			continue
		}
		s, err := o.segment(b)
		if err != nil {
			return err
		}
		switch {
		case b == 0xc4 || b == 0xdb || b == 0xdd:
			o.tables = append(o.tables, s...)
			if b == 0xdd {
				o.restart = -1
			}
		case b == 0xc0 || b == 0xc1:
			o.frame = s
		case b == 0xda:
			o.scan = s
		case b >= 0xe0 && b <= 0xef || b == 0xfe:
		default:
			return fmt.Errorf("marker %#x in a JPEG of the old kind", b)
		}
	}
	if o.frame == nil {
		return o.fromTags()
	}
	if len(o.frame) < 19 {
		return fmt.Errorf("a frame header of %d bytes in a JPEG of the old kind, want 17", len(o.frame)-2)
	}
	return nil
}

// fromTags makes the tables, the frame and the scan that tags describe.
func (o *oldJPEG) fromTags() error {
	f := o.f
	c := f.colors
	h, w := f.height, f.blockW
	if f.tiled {
		h = ceilDiv(f.height, f.blockH) * f.blockH
	}
	o.frame = []byte{0xff, 0xc0, 0, 17, 8, byte(h >> 8), byte(h), byte(w >> 8), byte(w), 3}
	o.scan = []byte{0xff, 0xda, 0, 12, 3}
	table := func(tag uint16, i int) ([]byte, bool, error) {
		v, _ := f.find(tag)
		if v.len() <= i {
			return nil, false, fmt.Errorf("a JPEG of the old kind whose tag %d has %d values, want 3", tag, v.len())
		}
		at := v.at(i)
		if i > 0 && at == v.at(i-1) {
			return nil, true, nil
		}
		if at <= 0 || at >= int64(len(f.data)) {
			return nil, false, fmt.Errorf("a JPEG of the old kind whose table lies at byte %d", at)
		}
		return f.data[at:], false, nil
	}
	var last [3]byte
	for i := range 3 {
		ids := [3]byte{byte(i), byte(i), byte(i)}
		for j, tag := range []uint16{tiffQTables, tiffDCTables, tiffACTables} {
			t, same, err := table(tag, i)
			if err != nil {
				return err
			}
			if same {
				ids[j] = last[j]
				continue
			}
			n, class, marker := 64, byte(0), byte(0xdb)
			if j > 0 {
				n, class, marker = 16, byte(j-1)<<4, 0xc4
				for _, v := range t[:min(16, len(t))] {
					n += int(v)
				}
			}
			if len(t) < n {
				return errOldJPEGCut
			}
			o.tables = append(o.tables, 0xff, marker, byte((n+3)>>8), byte(n+3), class|byte(i))
			o.tables = append(o.tables, t[:n]...)
		}
		last = ids
		hv := byte(0x11)
		if i == 0 {
			hv = byte(c.across<<4 | c.down)
		}
		o.frame = append(o.frame, byte(i), hv, ids[0])
		o.scan = append(o.scan, byte(i), ids[1]<<4|ids[2])
	}
	o.scan = append(o.scan, 0, 63, 0)
	return nil
}

// sampling is how many pixels share colors by the frame, and whether they are
// such that libtiff passes them on as they are.
func (o *oldJPEG) sampling() (across, down int, plain bool) {
	hv := o.frame[11]
	across, down = int(hv>>4), int(hv&15)
	known := func(n int) bool { return n == 1 || n == 2 || n == 4 }
	return across, down, known(across) && known(down) && o.frame[14] == 0x11 && o.frame[17] == 0x11
}

// file is the JPEG that they all are.
func (o *oldJPEG) file() []byte {
	f := o.f
	out := append([]byte{0xff, 0xd8}, o.tables...)
	if across, down, _ := o.sampling(); f.blockH < f.height && o.restart == 0 && across > 0 && down > 0 {
		n := ceilDiv(f.blockW, 8*across) * (f.blockH / (8 * down))
		out = append(out, 0xff, 0xdd, 0, 4, byte(n>>8), byte(n))
	}
	out = append(append(out, o.frame...), o.scan...)
	number := byte(0)
	for i := o.part; i < len(o.src); i++ {
		out = append(out, o.src[i]...)
		if i > 0 && i < len(o.src)-1 { // strips are restart intervals
			out = append(out, 0xff, 0xd0+number)
			number = (number + 1) & 7
		}
	}
	return append(out, 0xff, 0xd9)
}

// header is the header of the JPEG, which must be as large as the picture.
func (o *oldJPEG) header(data []byte) (jpeg.Header, error) {
	h, err := jpeg.ReadHeaderAs(data, jpeg.AsSamples)
	if err != nil {
		return h, err
	}
	f := o.f
	if h.Components != 3 || h.Width < min(f.width, f.blockW) || h.Width > f.blockW || h.Height < f.height || h.Height > f.height+f.blockH {
		return h, fmt.Errorf("a JPEG of the old kind of %d×%d pixels and %d components, want %d×%d and 3", h.Width, h.Height, h.Components, f.blockW, f.height)
	}
	return h, nil
}

// oldJPEGCost is tiffCost.
func (f *tiffFile) oldJPEGCost() (int64, error) {
	o, err := f.openOldJPEG()
	if err != nil {
		return 0, err
	}
	data := o.file()
	h, err := o.header(data)
	if err != nil {
		return 0, err
	}
	return 4*int64(f.width)*int64(f.height) + 2*int64(len(data)) + h.Cost(len(data)).Rows, nil
}

// readOldJPEG reads the whole picture.
func (f *tiffReader) readOldJPEG(m *image.NRGBA) error {
	o, err := f.openOldJPEG()
	if err != nil {
		return err
	}
	data := o.file()
	if _, err := o.header(data); err != nil {
		return err
	}
	as := jpeg.AsSamples
	if _, _, plain := o.sampling(); plain {
		as = jpeg.AsRepeated
	}
	r, err := jpeg.OpenAs(f.ctx, data, as)
	if err != nil {
		return err
	}
	defer r.Close()
	for y := range f.height {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		row := r.Row(m.Pix[y*m.Stride:][:4*f.width], y, 0, f.width)
		for i := 0; i < len(row); i += 4 {
			d := row[i : i+4 : i+4]
			d[0], d[1], d[2] = f.colors.rgb(d[0], d[1], d[2])
			d[3] = 255
		}
	}
	return r.Finish()
}
