package patch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
)

// This is a decoder of WebP's lossless format, RFC 9649, section 3. A pixel of
// it may take no bits at all, so what a file costs follows its size only: here
// that is the picture itself, and a context is looked at in every row.
// x/image/vp8l knows no context and needs up to three times the memory.

// lossless is a VP8L stream being read.
type lossless struct {
	ctx context.Context
	vp8lBits
	width, height int

	alpha bool // of a lossy picture
	bytes bool // of alpha: its pixels may be read as bytes
}

// vp8lTransform is one of the four that a stream undoes after its pixels are
// read, the last one first.
type vp8lTransform struct {
	kind  int
	width int    // of the picture after it is undone
	bits  int    // log2 of a tile's edge; of the pixels in a byte
	pix   []byte // RGBA a tile; the palette
}

const (
	vp8lPredictor = iota
	vp8lCrossColor
	vp8lSubtractGreen
	vp8lPalette
	vp8lKinds
)

// readHeader reads the five bytes before the transforms.
func (d *lossless) readHeader() error {
	magic := d.read(8)
	d.width, d.height = d.read(14)+1, d.read(14)+1
	d.read(1) // whether alpha is used
	if version := d.read(3); magic != 0x2f || version != 0 {
		return fmt.Errorf("signature %#x of version %d, want 0x2f of 0", magic, version)
	}
	return d.short()
}

// decode reads the picture into pix, RGBA, whose alpha is the file's.
func (d *lossless) decode(pix []byte) error {
	var transforms []vp8lTransform
	seen := [vp8lKinds]bool{}
	w := d.width
	for d.read(1) == 1 {
		t := vp8lTransform{kind: d.read(2), width: w}
		if seen[t.kind] {
			return errors.New("repeated transform")
		}
		seen[t.kind] = true
		var err error
		switch t.kind {
		case vp8lPredictor, vp8lCrossColor:
			t.bits = d.read(3) + 2
			t.pix, err = d.small(tiles(w, t.bits), tiles(d.height, t.bits))
		case vp8lPalette:
			err = d.readColors(&t)
			w = tiles(w, t.bits)
		}
		if err != nil {
			return err
		}
		transforms = append(transforms, t)
	}
	if err := d.short(); err != nil {
		return err
	}
	d.bytes = d.alpha && len(transforms) == 1 && transforms[0].kind == vp8lPalette
	// Several pixels in one make a smaller picture, which lies at the end of
	// the memory, so that it can be spread from the beginning on.
	packed := pix[len(pix)-4*w*d.height:]
	if err := d.pixels(packed, w, d.height, true); err != nil {
		return err
	}
	for i := len(transforms) - 1; i >= 0; i-- {
		t := &transforms[i]
		var err error
		switch t.kind {
		case vp8lPredictor:
			err = t.predict(d.ctx, packed, d.height)
		case vp8lCrossColor:
			err = t.crossColor(d.ctx, packed, d.height)
		case vp8lSubtractGreen:
			err = t.addGreen(d.ctx, packed)
		case vp8lPalette:
			err = t.spread(d.ctx, pix, packed, w, d.height)
			packed = pix
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readColors reads a palette, each colour the difference from the one before.
func (d *lossless) readColors(t *vp8lTransform) error {
	n := d.read(8) + 1
	switch {
	case n <= 2:
		t.bits = 3
	case n <= 4:
		t.bits = 2
	case n <= 16:
		t.bits = 1
	}
	pix, err := d.small(n, 1)
	if err != nil {
		return err
	}
	t.pix = make([]byte, 4*256) // an index beyond it is transparent black
	copy(t.pix, pix)
	for i := 4; i < 4*n; i++ {
		t.pix[i] += t.pix[i-4]
	}
	return nil
}

// tiles is how many tiles of an edge of 1<<bits pixels cover n.
func tiles(n, bits int) int { return (n + 1<<bits - 1) >> bits }

// small reads one of the pictures that describe the large one.
func (d *lossless) small(w, h int) ([]byte, error) {
	pix := make([]byte, 4*w*h)
	return pix, d.pixels(pix, w, h, false)
}

// vp8lGroup are the codes of a region: green with lengths and cached colours,
// red, blue, alpha, distances.
type vp8lGroup [5]prefixCode

var vp8lSymbols = [5]int{256 + 24, 256, 256, 256, 40}

// readGroups reads the codes of a picture and, if there are several groups of
// them, which one each tile uses.
func (d *lossless) readGroups(w, h, cache int, large bool) (groups []vp8lGroup, tile []byte, bits int, err error) {
	n, used := 1, []int(nil) // used[i] is where group i is kept, -1: nowhere
	if large && d.read(1) == 1 {
		bits = d.read(3) + 2
		if tile, err = d.small(tiles(w, bits), tiles(h, bits)); err != nil {
			return nil, nil, 0, err
		}
		for p := 0; p < len(tile); p += 4 {
			n = max(n, int(tile[p])<<8+int(tile[p+1])+1)
		}
		const most = 2600 // as many as libwebp's encoder makes
		if n > most {
			return nil, nil, 0, fmt.Errorf("%d groups of codes, want at most %d", n, most)
		}
		if n > 1000 || n > len(tile)/4 { // most of them are not for use
			used = make([]int, n)
			for i := range used {
				used[i] = -1
			}
			kept := 0
			for p := 0; p < len(tile); p += 4 {
				i := int(tile[p])<<8 + int(tile[p+1])
				if used[i] < 0 {
					used[i] = kept
					kept++
				}
				tile[p], tile[p+1] = byte(used[i]>>8), byte(used[i])
			}
			groups = make([]vp8lGroup, kept)
		}
	}
	if used == nil {
		groups = make([]vp8lGroup, n)
	}
	lengths := make([]uint8, vp8lSymbols[0]+1<<11)
	var unused vp8lGroup
	for i := range n {
		g := &unused
		switch {
		case used == nil:
			g = &groups[i]
		case used[i] >= 0:
			g = &groups[used[i]]
		}
		for j, symbols := range vp8lSymbols {
			if j == 0 && cache > 0 {
				symbols += 1 << cache
			}
			if err := d.readCode(&g[j], lengths[:symbols]); err != nil {
				return nil, nil, 0, err
			}
		}
		if err := d.short(); err != nil {
			return nil, nil, 0, err
		}
	}
	return groups, tile, bits, nil
}

// pixels reads w × h pixels. The large picture may have several groups.
func (d *lossless) pixels(pix []byte, w, h int, large bool) error {
	cacheBits := 0
	if d.read(1) == 1 {
		if cacheBits = d.read(4); cacheBits < 1 || cacheBits > 11 {
			return fmt.Errorf("a cache of 2^%d colours", cacheBits)
		}
	}
	groups, tile, bits, err := d.readGroups(w, h, cacheBits, large)
	if err != nil {
		return err
	}
	var cache []uint32
	if cacheBits > 0 {
		cache = make([]uint32, 1<<cacheBits)
	}
	late := d.bytes && large && cacheBits == 0 && !slices.ContainsFunc(groups, func(g vp8lGroup) bool {
		return !g[1].bare() || !g[2].bare() || !g[3].bare()
	})
	le := binary.LittleEndian
	mask, across := 0, 0
	if tile != nil {
		mask, across = 1<<bits-1, tiles(w, bits)
	}
	g := &groups[0]
	cached, x, y := 0, 0, 0
	look := tile != nil
	for p := 0; p < len(pix); {
		if look {
			i := 4 * (across*(y>>bits) + x>>bits)
			g = &groups[int(tile[i])<<8+int(tile[i+1])]
		}
		green := d.symbol(&g[0])
		look = false
		switch {
		case green < 256:
			red := d.symbol(&g[1])
			blue := d.symbol(&g[2])
			alpha := d.symbol(&g[3])
			le.PutUint32(pix[p:], uint32(red)|uint32(green)<<8|uint32(blue)<<16|uint32(alpha)<<24)
			p += 4
			x++
		case green < 256+24:
			n := d.number(green - 256)
			back := distance(w, d.number(d.symbol(&g[4])))
			if 4*n > len(pix)-p || 4*back > p {
				return fmt.Errorf("a copy of %d pixels from %d back at pixel %d of %d", n, back, p/4, len(pix)/4)
			}
			repeat(pix[p:p+4*n], pix[p-4*back:])
			p += 4 * n
			x += n
			look = tile != nil
		default:
			for ; cached < p; cached += 4 {
				c := le.Uint32(pix[cached:])
				cache[hash(c)>>(32-cacheBits)] = c
			}
			if green -= 256 + 24; green >= len(cache) {
				return fmt.Errorf("colour %d of a cache of %d", green, len(cache))
			}
			le.PutUint32(pix[p:], cache[green])
			p += 4
			x++
		}
		if late && p == len(pix) { // libwebp does not mind if the last code is cut off
			return d.ctx.Err()
		}
		if late && d.at > len(d.data) {
			if err := d.short(); err != nil {
				return err
			}
		}
		if x >= w {
			y += x / w
			x %= w
			if err := d.ctx.Err(); err != nil {
				return err
			}
			if err := d.short(); err != nil {
				return err
			}
		}
		look = look || tile != nil && x&mask == 0
	}
	return d.short()
}

// repeat fills dst from src, which begins before it in the same memory and may
// run into it.
func repeat(dst, src []byte) {
	back := cap(src) - cap(dst)
	for done := 0; done < len(dst); {
		done += copy(dst[done:], src[:min(back+done, len(dst)-done)])
	}
}

// hash is what a colour, here RGBA, has in the format as ARGB.
func hash(rgba uint32) uint32 {
	argb := rgba&0xff00ff00 | rgba>>16&0xff | rgba&0xff<<16
	return argb * 0x1e35a7bd
}

// short says that more bits were read than there are.
func (d *lossless) short() error {
	if d.at*8-d.n > 8*len(d.data) {
		return fmt.Errorf("%d bytes of codes: %w", len(d.data), io.ErrUnexpectedEOF)
	}
	return nil
}

// vp8lConfig reads a stream's header.
func vp8lConfig(data []byte) (image.Config, error) {
	d := &lossless{vp8lBits: vp8lBits{data: data}}
	err := d.readHeader()
	return image.Config{Width: d.width, Height: d.height}, err
}

// decodeVP8L reads a stream of one picture into pix, RGBA.
func decodeVP8L(ctx context.Context, data, pix []byte) error {
	d := &lossless{ctx: ctx, vp8lBits: vp8lBits{data: data}}
	if err := d.readHeader(); err != nil {
		return err
	}
	return d.decode(pix)
}
