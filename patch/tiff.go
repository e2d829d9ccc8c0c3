package patch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"

	"golang.org/x/image/tiff"
)

// Tags of TIFF 6.0.
const (
	tiffBits         = 258
	tiffCompression  = 259
	tiffPhotometric  = 262
	tiffFillOrder    = 266
	tiffStripOffsets = 273
	tiffSamples      = 277
	tiffRowsPerStrip = 278
	tiffStripCounts  = 279
	tiffPlanar       = 284
	tiffT4Options    = 292
	tiffPredictor    = 317
	tiffTileWidth    = 322
	tiffTileLength   = 323
	tiffTileOffsets  = 324
	tiffTileCounts   = 325
	tiffExtra        = 338
)

// Values of those tags.
const (
	uncompressed, group3, group4, lzwCode   = 1, 3, 4, 5
	deflate, deflateOld, packBits           = 8, 32946, 32773
	whiteIsZero, blackIsZero, rgb, paletted = 0, 1, 2, 3
	separatePlanes                          = 2
	horizontalDifferences                   = 2
	premultiplied                           = 1 // an extra sample that is alpha, and the colours are multiplied by it
	lowBitsFirst                            = 2
)

// tiffConfig is that of x/image/tiff, which knows no planes of their own for
// each colour, no samples beside the colours that are no alpha, and no faxes
// coded in two dimensions or with fill bits, and calls such files broken.
func tiffConfig(data []byte) (image.Config, error) {
	value := func(tag uint16) uint32 { v, _ := tiffValue(data, tag); return v }
	samples := value(tiffSamples)
	if value(tiffPlanar) == separatePlanes && samples > 1 {
		return image.Config{}, tiff.UnsupportedError(fmt.Sprintf("%d planes", samples))
	}
	if extra := value(tiffExtra); value(tiffPhotometric) == rgb && (samples > 4 || samples == 4 && extra != 1 && extra != 2) {
		return image.Config{}, tiff.UnsupportedError(fmt.Sprintf("%d samples a pixel, of which extra samples are of kind %d", samples, extra))
	}
	if o := value(tiffT4Options); value(tiffCompression) == group3 && o != 0 {
		return image.Config{}, tiff.UnsupportedError(fmt.Sprintf("T4Options of %d", o))
	}
	return tiff.DecodeConfig(bytes.NewReader(data))
}

// tiffFile is the first picture of a TIFF that tiffConfig accepted, which has
// looked at the types of its tags.
type tiffFile struct {
	image.Config
	data  []byte
	order binary.ByteOrder

	bits, samples int // of a sample; a pixel
	compression   uint32
	photometric   uint32
	predict       bool // samples are differences from the pixel on the left
	premultiplied bool
	tiled         bool
	blockW        int // of a tile, or of a strip, whose last may be lower
	blockH        int
	offsets       tiffValues
	counts        tiffValues
}

// tiffValue is the first value of a tag of a file.
func tiffValue(data []byte, tag uint16) (v uint32, ok bool) {
	d, err := openDirectory(data)
	if err != nil {
		return 0, false
	}
	n := d.number(tag, -1)
	return uint32(max(n, 0)), n >= 0
}

// values finds a tag's numbers, none if it is not there; those beyond the first
// n do not matter.
func (f *tiffFile) values(tag uint16, n int) (v tiffValues, err error) {
	d, err := openDirectory(f.data)
	if err != nil {
		return v, err
	}
	v, _ = d.first(tag, uint64(n))
	return v, nil
}

// number is a tag's first number, 0 if it is not there.
func (f *tiffFile) number(tag uint16) uint32 {
	if v, err := f.values(tag, 1); err == nil && v.len() > 0 {
		return uint32(v.at(0))
	}
	return 0
}

func openTIFF(data []byte) (*tiffFile, error) {
	c, err := tiffConfig(data)
	if err != nil {
		return nil, err
	}
	f := &tiffFile{Config: c, data: data, order: binary.ByteOrder(binary.LittleEndian), bits: 1, samples: 1}
	if data[0] == 'M' {
		f.order = binary.BigEndian
	}
	if v, err := f.values(tiffBits, 16); err == nil && v.len() > 0 {
		f.bits, f.samples = int(v.at(0)), v.len()
	}
	f.compression, f.photometric = f.number(tiffCompression), f.number(tiffPhotometric)
	if f.compression == 0 {
		f.compression = uncompressed
	}
	switch f.compression {
	case uncompressed, group3, group4, lzwCode, deflate, deflateOld, packBits:
	default:
		return nil, tiff.UnsupportedError(fmt.Sprintf("compression value %d", f.compression))
	}
	if f.predict = f.number(tiffPredictor) == horizontalDifferences; f.predict && f.bits == 1 {
		return nil, tiff.UnsupportedError("differences of one bit")
	}
	f.premultiplied = f.samples == 4 && f.number(tiffExtra) == premultiplied
	f.blockW, f.blockH = f.Width, f.Height
	offsets, counts := uint16(tiffStripOffsets), uint16(tiffStripCounts)
	if w := f.number(tiffTileWidth); w != 0 {
		f.tiled, f.blockW, f.blockH = true, int(w), int(f.number(tiffTileLength))
		if f.blockW < 8 || f.blockH < 8 {
			return nil, fmt.Errorf("tiles of %d×%d pixels, want at least 8×8", f.blockW, f.blockH)
		}
		const padding, most = 16, 1024 // beyond the picture's edge
		if (f.blockW-f.Width > padding || f.blockH-f.Height > padding) && max(f.blockW, f.blockH) > most {
			return nil, fmt.Errorf("tiles of %d×%d pixels in a picture of %d×%d", f.blockW, f.blockH, f.Width, f.Height)
		}
		offsets, counts = tiffTileOffsets, tiffTileCounts
	} else if rows := f.number(tiffRowsPerStrip); rows > 0 && rows < uint32(f.Height) {
		f.blockH = int(rows)
	}
	across, down := f.blocks()
	if int64(across)*int64(down) > int64(len(data)) { // each has an offset of a byte at least
		return nil, fmt.Errorf("%d×%d blocks in %d bytes", across, down, len(data))
	}
	n := across * down
	if f.offsets, err = f.values(offsets, n); err != nil {
		return nil, err
	}
	if f.counts, err = f.values(counts, n); err != nil {
		return nil, err
	}
	if f.offsets.len() < n || f.counts.len() < n {
		return nil, fmt.Errorf("%d blocks, found %d offsets and %d counts", n, f.offsets.len(), f.counts.len())
	}
	return f, nil
}

func (f *tiffFile) blocks() (across, down int) {
	return ceilDiv(f.Width, f.blockW), ceilDiv(f.Height, f.blockH)
}

// tiffBlock is a tile or a strip.
type tiffBlock struct {
	x, y    int
	w, h    int    // with a tile's padding
	seenW   int    // without
	seenH   int    //
	row     int    // bytes of a row
	need    int    // of which a row must have so many
	length  int64  // of its code, as the file says
	code    []byte // what there is of it
	largest int64  // bytes that it may become
}

func (f *tiffFile) block(i, j int) (b tiffBlock) {
	across, _ := f.blocks()
	b = tiffBlock{x: i * f.blockW, y: j * f.blockH, w: f.blockW, h: f.blockH}
	b.seenW, b.seenH = min(b.w, f.Width-b.x), min(b.h, f.Height-b.y)
	if !f.tiled {
		b.w, b.h = b.seenW, b.seenH
	}
	pixel := f.bits * f.samples
	b.row, b.need = (b.w*pixel+7)/8, (b.seenW*pixel+7)/8
	if f.predict && b.w > 1 || pixel == 32 {
		b.need = b.row
	}
	at, n := f.offsets.at(j*across+i), f.counts.at(j*across+i)
	b.length = n
	b.code = f.data[min(at, int64(len(f.data))):]
	b.code = b.code[:min(n, int64(len(b.code)))]
	b.largest = 8 * int64(f.blockW) * int64(f.blockH)
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
	}
	return n * 8 * int64(b.row) // a row of a fax takes a bit at least
}

// tiffCost refuses files that lack data.
func tiffCost(data []byte, w, h int) (int64, error) {
	f, err := openTIFF(data)
	if err != nil {
		return 0, err
	}
	across, down := f.blocks()
	var read int64
	for i := range across {
		for j := range down {
			b := f.block(i, j)
			need := int64(b.seenH-1)*int64(b.row) + int64(b.need)
			if most := f.most(b); most < need {
				return 0, fmt.Errorf("block (%d, %d): %d bytes become %d at most, %d×%d pixels need %d: %w", i, j, len(b.code), most, b.seenW, b.seenH, need, io.ErrUnexpectedEOF)
			}
			read += int64(len(b.code))
		}
	}
	// Blocks may share their code, but not so often that reading it takes
	// longer than any pixels.
	if most := int64(len(data)) + 16*int64(w)*int64(h); read > most {
		return 0, fmt.Errorf("blocks of %d bytes in all, want at most %d for %d×%d pixels in a file of %d", read, most, w, h, len(data))
	}
	return 4*int64(w)*int64(h) + 4*int64(f.blockW)*8, nil
}

var errTIFFIndex = errors.New("index beyond the palette")

// rower returns the conversion of a row of samples to opaque RGBA.
func (f *tiffFile) rower() func(dst, src []byte) error {
	// The codes of faxes speak of white and black runs. Written as numbers white
	// is 0, whatever the file says of 0 (libtiff, tif_fax3.c); the decoder makes
	// white 1 where the file says that 0 is black, which would be a negative.
	fax := f.compression == group3 || f.compression == group4
	flip := byte(0)
	if f.photometric == whiteIsZero || fax && f.photometric == blackIsZero {
		flip = 255
	}
	high, sample := 0, f.bits/8 // the high byte comes second
	if f.bits == 16 && f.order == binary.ByteOrder(binary.LittleEndian) {
		high = 1
	}
	switch {
	case f.photometric == paletted:
		colors, _ := f.ColorModel.(color.Palette)
		table := flatPalette(colors)
		return func(dst, src []byte) error {
			if f.bits == 16 { // an index of its second byte
				for i := range len(dst) / 4 {
					src[i] = src[2*i+1]
				}
			}
			if !paletteRow(dst, src, min(f.bits, 8), &table, len(colors)) {
				return errTIFFIndex
			}
			return nil
		}
	case f.photometric == rgb:
		return func(dst, src []byte) error {
			for i := 0; i < len(dst); i += 4 {
				d := dst[i : i+4 : i+4]
				s := src[high:]
				d[0], d[1], d[2], d[3] = s[0], s[sample], s[2*sample], 255
				if f.premultiplied {
					a := s[3*sample]
					d[0], d[1], d[2] = divideAlpha(d[0], a), divideAlpha(d[1], a), divideAlpha(d[2], a)
				}
				src = src[f.samples*sample:]
			}
			return nil
		}
	case f.bits == 1:
		table := [256][3]uint8{{flip, flip, flip}, {^flip, ^flip, ^flip}}
		return func(dst, src []byte) error {
			paletteRow(dst, src, 1, &table, 2)
			return nil
		}
	}
	return func(dst, src []byte) error {
		for i := 0; i < len(dst); i += 4 {
			v := src[high] ^ flip
			d := dst[i : i+4 : i+4]
			d[0], d[1], d[2], d[3] = v, v, v, 255
			src = src[sample:]
		}
		return nil
	}
}
