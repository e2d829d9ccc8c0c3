package patch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
)

// heif is what the boxes of a HEIF file say of its primary picture (ISO/IEC
// 14496-12, ISO/IEC 23008-12).
type heif struct {
	width, height int    // of the coded picture
	clean         [2]int // width and height of what a clean aperture leaves of it; 0: all
	coding        string // item type of the picture, or of the tiles of a grid: hvc1, av01
	turns         []turn // in their order
}

// turn is a transformation of the picture: irot, so many quarter turns
// anticlockwise, or imir about an axis, 0 for the horizontal one (upside down)
// and 1 for the vertical one.
type turn struct {
	mirror bool
	by     byte
}

var errHEIF = errors.New("not a whole HEIF file")

// eachBox calls f for each box of b, with all of it and with what lies behind its
// header.
func eachBox(b []byte, f func(kind string, whole, body []byte) error) error {
	for len(b) >= 8 {
		size, header := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		switch {
		case size == 0:
			size = uint64(len(b))
		case size == 1 && len(b) >= 16:
			size, header = binary.BigEndian.Uint64(b[8:]), 16
		}
		if size < header || size > uint64(len(b)) {
			return fmt.Errorf("%w: a box %q of %d bytes where %d are left", errHEIF, b[4:8], size, len(b))
		}
		if err := f(string(b[4:8]), b[:size], b[header:size]); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// item is one of a HEIF file.
type item struct {
	kind  string
	entry []byte // its infe
	props []int  // indices into the properties, from 1
}

// boxesHEIF are the boxes of a HEIF file that say what its items are.
type boxesHEIF struct {
	primary uint32
	items   map[uint32]*item
	props   []property
	tiles   map[uint32]uint32 // the first tile of each grid
}

type property struct {
	kind        string
	whole, body []byte
}

// heifItems and heifProps bound what is kept of a file's boxes.
const (
	heifItems = 4096
	heifProps = 4096
	heifUses  = 64 // properties of an item
)

var errBoxesDone = errors.New("meta found")

// parseHEIF reads the boxes of the first meta box.
func parseHEIF(data []byte) (*boxesHEIF, error) {
	b := &boxesHEIF{items: map[uint32]*item{}, tiles: map[uint32]uint32{}}
	err := eachBox(data, func(kind string, _, body []byte) error {
		if kind != "meta" {
			return nil
		}
		if len(body) < 4 {
			return fmt.Errorf("%w: an empty meta box", errHEIF)
		}
		if err := eachBox(body[4:], b.meta); err != nil {
			return err
		}
		return errBoxesDone
	})
	switch {
	case err == nil:
		return nil, fmt.Errorf("%w: no meta box", errHEIF)
	case !errors.Is(err, errBoxesDone):
		return nil, err
	}
	return b, nil
}

func (b *boxesHEIF) meta(kind string, _, body []byte) error {
	switch kind {
	case "pitm":
		r := fields{b: body}
		r.bytes(4)
		b.primary = r.id(body)
		return r.err
	case "iinf":
		n := 6
		if len(body) > 0 && body[0] > 0 {
			n = 8
		}
		if len(body) < n {
			return fmt.Errorf("%w: an iinf box of %d bytes", errHEIF, len(body))
		}
		return eachBox(body[n:], b.info)
	case "iref":
		if len(body) < 4 {
			return fmt.Errorf("%w: an iref box of %d bytes", errHEIF, len(body))
		}
		return eachBox(body[4:], func(kind string, _, of []byte) error {
			if kind != "dimg" {
				return nil
			}
			r := fields{b: of}
			from, _ := r.id(body), r.u16()
			b.tiles[from] = r.id(body)
			if len(b.tiles) > heifItems {
				return fmt.Errorf("%w: more than %d grids", errHEIF, heifItems)
			}
			return r.err
		})
	case "iprp":
		return eachBox(body, b.properties)
	}
	return nil
}

// info reads an infe box.
func (b *boxesHEIF) info(kind string, _, body []byte) error {
	if kind != "infe" || len(body) == 0 || body[0] < 2 {
		return nil // older ones say nothing of pictures
	}
	r := fields{b: body}
	r.bytes(4)
	wide := []byte{body[0] - 2} // version 3 has identifiers of 32 bits
	i := b.item(r.id(wide))
	r.bytes(2)
	i.kind, i.entry = string(r.bytes(4)), body
	if len(b.items) > heifItems {
		return fmt.Errorf("%w: more than %d items", errHEIF, heifItems)
	}
	return r.err
}

func (b *boxesHEIF) item(id uint32) *item {
	if b.items[id] == nil {
		b.items[id] = &item{}
	}
	return b.items[id]
}

// properties reads a box of iprp.
func (b *boxesHEIF) properties(kind string, _, body []byte) error {
	switch kind {
	case "ipco":
		return eachBox(body, func(kind string, whole, body []byte) error {
			b.props = append(b.props, property{kind, whole, body})
			if len(b.props) > heifProps {
				return fmt.Errorf("%w: more than %d properties", errHEIF, heifProps)
			}
			return nil
		})
	case "ipma":
		r := fields{b: body}
		r.bytes(4)
		count := r.u32()
		for n := uint32(0); n < count && r.err == nil; n++ {
			i := b.item(r.id(body))
			for range r.u8() {
				index := int(r.u8()) & 0x7f
				if len(body) > 3 && body[3]&1 != 0 {
					index = index<<8 | int(r.u8())
				}
				if len(i.props) < heifUses {
					i.props = append(i.props, index)
				}
			}
			if len(b.items) > heifItems {
				return fmt.Errorf("%w: more than %d items", errHEIF, heifItems)
			}
		}
		return r.err
	}
	return nil
}

// readHEIF reads what a file says of its primary picture.
func readHEIF(data []byte) (h heif, err error) {
	b, err := parseHEIF(data)
	if err != nil {
		return h, err
	}
	i := b.items[b.primary]
	if i == nil {
		return h, fmt.Errorf("%w: no item %d, which is the primary one", errHEIF, b.primary)
	}
	h.coding = i.kind
	if tile := b.items[b.tiles[b.primary]]; tile != nil && (i.kind == "grid" || i.kind == "iovl" || i.kind == "iden") {
		h.coding = tile.kind
	}
	for _, n := range i.props {
		if n < 1 || n > len(b.props) {
			continue
		}
		r := fields{b: b.props[n-1].body}
		switch b.props[n-1].kind {
		case "ispe":
			r.bytes(4)
			h.width, h.height = int(r.u32()), int(r.u32())
		case "irot":
			h.turns = append(h.turns, turn{by: r.u8() & 3})
		case "imir":
			h.turns = append(h.turns, turn{mirror: true, by: r.u8() & 1})
		case "clap":
			wn, wd, hn, hd := r.u32(), r.u32(), r.u32(), r.u32()
			if wd != 0 && hd != 0 {
				h.clean = [2]int{int(wn / wd), int(hn / hd)}
			}
		}
		if r.err != nil {
			return h, r.err
		}
	}
	return h, nil
}

// orientation is the EXIF orientation that says what the turns do.
func (h heif) orientation() int {
	var s stored
	for _, t := range h.turns {
		switch {
		case t.mirror:
			s = s.mirrored(t.by == 1)
		default:
			for range t.by {
				s = s.rotated()
			}
		}
	}
	for o := 2; o < len(storage); o++ {
		if storage[o] == s {
			return o
		}
	}
	return 1
}

// mirrored is s when the upright picture is mirrored: left and right change
// places, or top and bottom.
func (s stored) mirrored(leftRight bool) stored {
	if leftRight != s.transposed {
		s.flipX = !s.flipX
	} else {
		s.flipY = !s.flipY
	}
	return s
}

// rotated is s when the upright picture is turned by a quarter anticlockwise.
func (s stored) rotated() stored {
	s = s.mirrored(true)
	s.transposed = !s.transposed
	return s
}

// heifOrientation is what the boxes of a file say of its orientation.
func heifOrientation(data []byte) int {
	h, err := readHEIF(data)
	if err != nil {
		return 1
	}
	return h.orientation()
}

// heicConfig reads the size of what decoders make of a file: they cut a clean
// aperture out.
func heicConfig(data []byte) (image.Config, error) {
	h, err := readHEIF(data)
	if h.clean[0] > 0 && h.clean[1] > 0 && h.clean[0] <= h.width && h.clean[1] <= h.height {
		h.width, h.height = h.clean[0], h.clean[1]
	}
	return image.Config{Width: h.width, Height: h.height}, err
}

// avifConfig reads the size of what decoders make of a file: they pass over a
// clean aperture.
func avifConfig(data []byte) (image.Config, error) {
	h, err := readHEIF(data)
	return image.Config{Width: h.width, Height: h.height}, err
}

// stillHEIF returns a copy of a file whose picture is not turned, and in which
// no other picture is to be seen. Programs differ in whether they turn
// pictures, so it is done here, once, and not by them.
func stillHEIF(data []byte) ([]byte, error) {
	data = bytes.Clone(data)
	b, err := parseHEIF(data)
	if err != nil {
		return nil, err
	}
	for _, p := range b.props {
		if (p.kind == "irot" || p.kind == "imir") && len(p.body) > 0 {
			copy(p.whole[4:], "irot")
			p.body[0] = 0
		}
	}
	for id, i := range b.items {
		if id != b.primary && len(i.entry) > 3 {
			i.entry[3] |= 1 // hidden
		}
	}
	return data, nil
}

// fields reads numbers of a box, the most significant byte first.
type fields struct {
	b   []byte
	err error
}

func (r *fields) bytes(n int) []byte {
	if len(r.b) < n {
		r.b, r.err = nil, fmt.Errorf("%w: a box ends within its fields", errHEIF)
		return make([]byte, n)
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *fields) u8() uint8   { return r.bytes(1)[0] }
func (r *fields) u16() uint16 { return binary.BigEndian.Uint16(r.bytes(2)) }
func (r *fields) u32() uint32 { return binary.BigEndian.Uint32(r.bytes(4)) }

// id reads an item's identifier, of 32 bits where the version that full begins
// with is above 0.
func (r *fields) id(full []byte) uint32 {
	if len(full) > 0 && full[0] > 0 {
		return r.u32()
	}
	return uint32(r.u16())
}
