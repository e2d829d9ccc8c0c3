package patch

import (
	"bytes"
	"fmt"
	"io"

	"github.com/vitserve/vitserve/patch/jpeg"
)

// readBlocks reads where tiles or strips lie. Pillow reads files that are not
// coded by itself: blocks that have no place stay at 0. To libtiff those lie
// where the file begins.
func (f *tiffFile) readBlocks() error {
	f.blockW, f.blockH = f.width, f.height
	offsets, counts := uint16(tiffStripOffsets), uint16(tiffStripCounts)
	if w := f.number(tiffTileWidth, 0); w != 0 {
		f.tiled, f.blockW, f.blockH = true, w, f.number(tiffTileLength, 0)
		if f.blockW < 1 || f.blockH < 1 {
			return fmt.Errorf("tiles of %d×%d pixels", f.blockW, f.blockH)
		}
		const padding, most = 16, 1024 // beyond the picture's edge
		if f.blockW-f.width > padding && f.blockW > most && (f.compression != uncompressed || int64(f.blockW)*int64(f.bits*f.samples) > 8*int64(len(f.data))) {
			return fmt.Errorf("tiles of %d×%d pixels in a picture of %d×%d", f.blockW, f.blockH, f.width, f.height)
		}
		f.blockH = min(f.blockH, max(f.height, 1<<16)) // rows that nobody sees are not read
		if v, ok := f.first(tiffTileOffsets, 1); ok && v.len() > 0 {
			offsets, counts = tiffTileOffsets, tiffTileCounts
		}
	} else {
		if rows := f.number(tiffRowsPerStrip, 0); rows > 0 && rows < f.height {
			f.blockH = rows
		}
		_, strips := f.first(offsets, 1)
		if _, ok := f.first(tiffTileOffsets, 1); ok && !strips && f.compression != uncompressed { // the same to libtiff
			offsets, counts = tiffTileOffsets, tiffTileCounts
		}
	}
	across, down := f.blocks()
	n := int64(across) * int64(down) * int64(f.read)
	var named bool
	f.offsets, named = f.first(offsets, uint64(n))
	f.counts, _ = f.first(counts, uint64(n))
	found := int64(f.offsets.len())
	switch {
	case f.compression == oldJPEGCode: // the picture may lie elsewhere
		n = min(n, found)
	case f.compression == uncompressed && found > 0:
		n = min(n, found)
	case found == 0 && !named || f.compression == uncompressed && found == 0 || n > int64(len(f.data)):
		return fmt.Errorf("%d blocks, found %d offsets", n, found)
	}
	f.present = int(n)
	return nil
}

func (f *tiffFile) blocks() (across, down int) {
	return ceilDiv(f.width, f.blockW), ceilDiv(f.height, f.blockH)
}

// tiffBlock is a tile or a strip, of one plane.
type tiffBlock struct {
	x, y    int
	plane   int
	w, h    int    // with a tile's padding
	seenW   int    // without
	seenH   int    //
	row     int    // bytes of a row
	need    int    // of which a row must have so many
	code    []byte // what there is of it
	odd     int    // 1 if it begins at an odd byte of the file
	largest int64  // bytes that it may become
}

// halved reports whether planes of sixteen bits are read as Pillow does where
// libtiff does not do it.
func (f *tiffFile) halved() bool {
	return f.planes > 1 && f.bits == 16 && f.compression == uncompressed
}

// rows is how many times b.row bytes there are in so many rows.
func (f *tiffFile) rows(n int) int {
	if f.colors != nil && f.planes == 1 {
		return ceilDiv(n, f.colors.down)
	}
	return n
}

// block is the one of a number below f.present.
func (f *tiffFile) block(n int) (b tiffBlock) {
	across, down := f.blocks()
	i, j, plane := n%across, n/across%down, n/across/down
	b = tiffBlock{x: i * f.blockW, y: j * f.blockH, plane: plane, w: f.blockW, h: f.blockH}
	b.seenW, b.seenH = min(b.w, f.width-b.x), min(b.h, f.height-b.y)
	if !f.tiled {
		b.w, b.h = b.seenW, b.seenH
	}
	pixel := f.bits * f.samples / f.planes
	b.row, b.need = (b.w*pixel+7)/8, (b.seenW*pixel+7)/8
	switch {
	case f.colors != nil && f.planes == 1:
		b.row = f.colors.row(b.w)
		b.need = b.row
	case f.halved(): // Pillow takes planes of sixteen bits for planes of eight
		b.need = b.seenW
		if b.row = b.w; b.w > b.seenW {
			b.row = b.w * f.pitch[0] / (8 * f.pitch[1])
		}
	case f.predictor > 0 && b.w > 1 || pixel == 32:
		b.need = b.row
	case f.compression == uncompressed && b.w > b.seenW: // Pillow rounds rows of such tiles down
		if b.row = b.w * f.pitch[0] / (8 * f.pitch[1]); b.row == 0 {
			b.row = b.need
		}
	}
	at := int64(0)
	if n < f.offsets.len() {
		at = f.offsets.at(n)
	}
	b.code = f.data[min(at, int64(len(f.data))):]
	b.odd = int(at & 1)
	b.largest = 8 * int64(f.blockW) * int64(f.blockH) * int64(f.samples)
	length := int64(0)
	if n < f.counts.len() {
		length = f.counts.at(n)
	}
	switch whole := int64(b.row) * int64(b.h); {
	case f.compression == uncompressed: // whatever its length is said to be
		length = whole
	case length == 0 && n+1 < f.offsets.len() && f.offsets.at(n+1) > at: // up to the next
		length = f.offsets.at(n+1) - at
	case length == 0:
		length = int64(len(b.code))
	}
	b.code = b.code[:min(length, int64(len(b.code)))]
	return b
}

// most is how many bytes a block's code can become.
func (f *tiffFile) most(b tiffBlock) int64 {
	n := int64(len(b.code))
	switch f.compression {
	case uncompressed:
		return n
	case packBits: // two bytes become 128
		return n * 64
	case lzwCode:
		return unpackedLZW(n)
	case deflate, deflateOld:
		return n * inflated
	case zstdCode: // a block of 128 kB is a byte and its header of three
		return n * 128 << 10
	case lzmaCode: // a match of 273 bytes is 13 decisions of a 45th of a bit at least
		return n * 8 * 273 * 45 / 13
	case thunderScan: // at most 63 pixels of a byte
		return n * 32
	}
	return n * 8 * int64(b.row) // a row of a fax takes a bit at least
}

// head is where a block's code says what it needs.
func (f *tiffFile) head(b tiffBlock) []byte {
	code := b.code[:min(len(b.code), 64)]
	if f.mirrored {
		code = bytes.Clone(code)
		mirror(code, code)
	}
	return code
}

// unpacking is what a block takes beside its rows.
func (f *tiffFile) unpacking(b tiffBlock) (int64, error) {
	mirrored := int64(0)
	if f.mirrored {
		mirrored = int64(len(b.code))
	}
	switch f.compression {
	case zstdCode:
		n, err := zstdMemory(f.head(b))
		return n + mirrored, err
	case lzmaCode:
		n, err := xzMemory(f.head(b), int64(b.row)*int64(b.h))
		return n + mirrored, err
	}
	return mirrored, nil
}

// tiffCost refuses files that lack data.
func tiffCost(data []byte, w, h int) (int64, error) {
	f, err := openTIFF(data)
	if err != nil {
		return 0, err
	}
	if f.compression == oldJPEGCode {
		return f.oldJPEGCost()
	}
	var read, beside int64
	for n := range f.present {
		b := f.block(n)
		if read += int64(len(b.code)); f.compression == uncompressed {
			read -= max(0, int64(len(b.code))-int64(b.seenH)*int64(b.row)) // rows that nobody sees
		}
		if f.compression == jpegCode {
			header, err := jpeg.ReadHeaderAs(f.jpeg(b), f.jpegColors())
			if err != nil {
				return 0, fmt.Errorf("block (%d, %d): %w", b.x, b.y, err)
			}
			if err := f.fits(header, b); err != nil {
				return 0, fmt.Errorf("block (%d, %d): %w", b.x, b.y, err)
			}
			beside = max(beside, header.Cost(len(b.code)).Rows+2*int64(len(b.code)+len(f.tables)))
			continue
		}
		more, err := f.unpacking(b)
		if err != nil && f.colors == nil { // libtiff does not mind if there are
			return 0, fmt.Errorf("block (%d, %d): %w", b.x, b.y, err)
		}
		beside = max(beside, more)
		need := int64(f.rows(b.seenH)-1)*int64(b.row) + int64(b.need)
		if most := f.most(b); most < need {
			return 0, fmt.Errorf("truncated TIFF: block (%d, %d): %d bytes become %d at most, %d×%d pixels need %d: %w", b.x, b.y, len(b.code), most, b.seenW, b.seenH, need, io.ErrUnexpectedEOF)
		}
	}
	// Blocks may share their code, but not so often that reading it takes
	// longer than any pixels.
	const free = 64 << 10
	if most := int64(len(data)) + 16*int64(w)*int64(h) + free; read > most {
		return 0, fmt.Errorf("blocks of %d bytes in all, want at most %d for %d×%d pixels in a file of %d", read, most, w, h, len(data))
	}
	const reader = 128 // of a block, that is left behind
	return 4*int64(w)*int64(h) + 4*int64(f.blockW)*8 + reader*int64(f.present) + beside, nil
}
