package jpeg

import (
	"context"
	"encoding/binary"
	"fmt"
)

// quantizer is a quantization table, row-major.
type quantizer struct {
	set  bool
	deep bool      // of samples of twelve bits
	v    [64]int16 // as libjpeg keeps it: what is beyond 32767 is negative
}

// open reads a file up to the entropy-coded data of its first scan. What comes
// before a picture may end with a marker of its own, as tables by themselves
// do; they stay for the picture.
func (r *Reader) open(ctx context.Context, data []byte) error {
	r.ctx, r.err = ctx, nil
	r.file = stream{data: data}
	for i := range r.quant {
		r.quant[i].set = false
	}
	for i := range r.dc {
		r.dc[i].state, r.ac[i].state = absent, absent
	}
	for {
		if f := &r.file; len(data)-f.at < 2 || data[f.at] != 0xff || data[f.at+1] != soi {
			return fmt.Errorf("no start of an image at byte %d", f.at)
		}
		r.file.at += 2
		r.Header, r.restart, r.color = Header{}, 0, colors{adobe: -1}
		r.arith.standard()
		marker, err := r.markers(true)
		if err != nil {
			return err
		}
		if marker == sos {
			break
		}
		if r.Width > 0 {
			return fmt.Errorf("the image ends without a scan")
		}
	}
	return r.setup()
}

// markers reads segments up to a scan's header, which it reads too, or to the
// end of the image. In a file's header those that have no segment tell Pillow
// that this is no JPEG.
func (r *Reader) markers(header bool) (byte, error) {
	f := &r.file
	for {
		if f.marker == 0 && !f.next() {
			return 0, errCut
		}
		marker := f.marker
		f.marker = 0
		if marker == eoi {
			return marker, nil
		}
		if bare(marker) {
			if header && marker == tem {
				return 0, fmt.Errorf("marker %#x in the header", marker)
			}
			continue
		}
		if err := named(marker); err != nil {
			return 0, err
		}
		body, ok := f.body()
		if !ok {
			if r.torn(marker, f.data[f.at:]) {
				return 0, fmt.Errorf("a segment of marker %#x that is wrong before it is cut off", marker)
			}
			return 0, errCut
		}
		if length := f.data[f.at-len(body)-2:]; length[0] == 0 && length[1] < 2 && !skipped(marker) {
			return 0, fmt.Errorf("a segment of marker %#x and length %d, want at least 2", marker, length[1])
		}
		if err := r.segment(marker, body); err != nil {
			return 0, err
		}
		if marker == sos {
			return marker, nil
		}
	}
}

// errCut: the bytes end before the image does.
var errCut = fmt.Errorf("the file is cut off")

// named refuses markers of kinds that are not decoded and those that may not
// stand between segments.
func named(marker byte) error {
	switch marker {
	case sof9 + 2:
		return fmt.Errorf("lossless arithmetic coding (marker %#x): %w", marker, ErrUnsupported)
	case sof3 + 2, sof3 + 3, sof3 + 4, sof9 + 4, sof9 + 5, sof15:
		return fmt.Errorf("hierarchical coding (marker %#x): %w", marker, ErrUnsupported)
	case sof0, sof1, sof2, sof3, sof9, sof10, dht, sos, dqt, dri:
		return nil
	}
	if skipped(marker) {
		return nil
	}
	return fmt.Errorf("marker %#x where a segment should begin", marker)
}

// segment reads one segment.
func (r *Reader) segment(marker byte, b []byte) error {
	switch marker {
	case sof0, sof1, sof2, sof3, sof9, sof10:
		return r.readFrame(b, marker)
	case dht:
		return r.readHuffman(b)
	case dqt:
		return r.readQuant(b)
	case sos:
		return r.readScan(b)
	case dri:
		if len(b) != 2 {
			return fmt.Errorf("a restart interval of %d bytes, want 2", len(b))
		}
		r.restart = int(binary.BigEndian.Uint16(b))
	case dac:
		if !conditions(b) {
			return fmt.Errorf("conditioning of arithmetic coding % x", b[:min(len(b), 32)])
		}
		r.arith.condition(b)
	case app0:
		if len(b) >= 14 && string(b[:5]) == "JFIF\x00" {
			r.color.jfif = true
		}
	case app14:
		if len(b) >= 12 && string(b[:5]) == "Adobe" {
			r.color.adobe = int(b[11])
		}
	}
	return nil
}

// readFrame reads a frame header (B.2.2).
func (r *Reader) readFrame(b []byte, marker byte) error {
	if r.Width > 0 {
		return fmt.Errorf("a second frame")
	}
	if len(b) < 6 {
		return fmt.Errorf("a frame header of %d bytes", len(b))
	}
	if want := r.precision(); int(b[0]) != want {
		return fmt.Errorf("precision of %d bits, want %d: %w", b[0], want, ErrUnsupported)
	}
	h, w, n := int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:])), int(b[5])
	if w == 0 || h == 0 {
		return fmt.Errorf("%d×%d pixels", w, h)
	}
	if n < 1 || n > 4 || n == 2 && r.as < AsSamples || n > 1 && r.as == AsTwelve {
		return fmt.Errorf("%d components: %w", n, ErrUnsupported)
	}
	if len(b) != 6+3*n {
		return fmt.Errorf("a frame header of %d bytes for %d components, want %d", len(b), n, 6+3*n)
	}
	r.Header = Header{Width: w, Height: h, Components: n, Progressive: marker == sof2 || marker == sof10, Arithmetic: marker >= sof9, Lossless: marker == sof3}
	for i := range n {
		c := &r.comps[i]
		c.id, c.h, c.v, c.tq = int(b[6+3*i]), int(b[7+3*i]>>4), int(b[7+3*i]&15), int(b[8+3*i])
	}
	return nil
}

// readQuant reads quantization tables (B.2.4.1).
func (r *Reader) readQuant(b []byte) error {
	for len(b) > 0 {
		wide, id := b[0]>>4 > 0, b[0]&15
		n := 64
		if wide {
			n = 128
		}
		if id <= 3 && len(b)+len(r.file.data)-r.file.at < 1+n {
			return errCut // libjpeg reads on behind the segment
		}
		if id > 3 || len(b) < 1+n {
			return fmt.Errorf("quantization table %d of %d bytes, want %d and a number up to 3", id, len(b)-1, n)
		}
		q := &r.quant[id]
		q.set = true
		for i := range 64 {
			if wide {
				q.v[zigzag[i]] = int16(binary.BigEndian.Uint16(b[1+2*i:]))
			} else {
				q.v[zigzag[i]] = int16(b[1+i])
			}
		}
		b = b[1+n:]
	}
	return nil
}

// setup computes what the frame and the first scan say of the whole picture.
func (r *Reader) setup() error {
	comps := r.comps[:r.Components]
	for i := range comps {
		comps[i].tall = comps[i].v
	}
	if r.Components == 1 && comps[0].h > 0 && comps[0].h <= 4 && comps[0].v > 0 && comps[0].v <= 4 {
		// A scan of one component has one block an MCU, whatever its
		// factors (A.2.2).
		comps[0].h, comps[0].v = 1, 1
	}
	r.maxH, r.maxV = 1, 1
	for i := range comps {
		c := &comps[i]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return fmt.Errorf("subsampling of component %d by factors %d×%d, want 1 to 4", i, c.h, c.v)
		}
		r.maxH, r.maxV = max(r.maxH, c.h), max(r.maxV, c.v)
		r.Sampling[i] = [2]int{c.h, c.v}
	}
	r.across, r.down = ceilDiv(r.Width, 8*r.maxH), ceilDiv(r.Height, 8*r.maxV)
	base := 0
	for i := range comps {
		c := &comps[i]
		if r.maxH%c.h != 0 || r.maxV%c.v != 0 {
			return fmt.Errorf("subsampling of component %d by factors %d×%d beside %d×%d", i, c.h, c.v, r.maxH, r.maxV)
		}
		c.hs, c.vs = r.maxH/c.h, r.maxV/c.v
		c.blocks, c.base = r.across*c.h, base
		base += c.blocks * c.v
		c.wide, c.high = ceilDiv(r.Width*c.h, 8*r.maxH), ceilDiv(r.Height*c.v, 8*r.maxV)
		c.q, c.predicted = nil, 0
	}
	r.blocks = base
	r.Scans = r.Progressive || len(r.scan.comps) < r.Components
	switch {
	case r.as >= AsSamples:
		r.color.kind = samples
	case r.as == AsYCbCr && r.Components == 3:
		r.color.kind = ycc
	default:
		r.color.choose(r.Components, comps, r.Lossless)
	}
	r.up.repeat = r.as == AsRepeated
	r.visits, r.ring, r.done, r.picture = 0, 0, 0, nil
	r.need.x0, r.need.y0, r.need.x1, r.need.y1 = 0, 0, r.across, r.down
	if !r.Progressive && !r.Arithmetic && !r.Lossless {
		r.standardTables()
	}
	if r.Lossless {
		return r.setupLossless()
	}
	return nil
}

// Cost is the memory that decoding takes at its peak, in bytes.
type Cost struct {
	Rows    int64 // to rows, beside those
	Planes  int64 // to planes of whole blocks, with them
	Picture int64 // Decode, with its picture
}

// Cost is that of a file of n bytes. What a reader keeps for the next file
// counts for each.
func (h Header) Cost(n int) Cost {
	maxH, maxV := 1, 1
	for _, s := range h.Sampling[:h.Components] {
		maxH, maxV = max(maxH, s[0]), max(maxV, s[1])
	}
	across, down := int64(ceilDiv(h.Width, 8*maxH)), int64(ceilDiv(h.Height, 8*maxV))
	blocks := int64(0) // of a row of MCUs
	for _, s := range h.Sampling[:h.Components] {
		blocks += across * int64(s[0]*s[1])
	}
	if h.Lossless { // differences, two lines of samples and bytes, of a row of MCUs
		rows := int64(n) + 4*9*int64(h.Width+4)*int64(maxV)
		if h.Scans {
			for _, s := range h.Sampling[:h.Components] {
				rows += int64(ceilDiv(h.Width, maxH)*s[0]) * int64(ceilDiv(h.Height, maxV)*s[1])
			}
		}
		return Cost{Rows: rows, Planes: rows, Picture: rows + 4*int64(h.Width)*int64(h.Height)}
	}
	const samples, coefficients, masks = 64, 128, 11 // of a block; and the means of those that are guessed
	file := int64(n)
	strip := min(2, down) * blocks * samples
	picture := 4 * int64(h.Width) * int64(h.Height)
	c := Cost{Rows: file + strip, Planes: file + down*blocks*samples, Picture: file + strip + picture}
	if !h.Scans {
		return c
	}
	all := down * blocks * (coefficients + masks)
	all += all/32 + 2*chunkSize // rows of blocks do not fill a chunk
	c.Rows += all
	c.Planes += all
	// Coefficients lie in the picture's memory as far as it is lent.
	l := lend(h, int(across), int(picture))
	c.Picture += all - min(int64(l.rows), down)*int64(2*l.n)
	return c
}
