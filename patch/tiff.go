package patch

import (
	"errors"
	"fmt"
	"image"
	"io"
	"slices"

	"github.com/vitserve/vitserve/patch/jpeg"
)

// Tags of TIFF 6.0.
const (
	tiffWidth        = 256
	tiffLength       = 257
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
	tiffColorMap     = 320
	tiffTileWidth    = 322
	tiffTileLength   = 323
	tiffTileOffsets  = 324
	tiffTileCounts   = 325
	tiffExtra        = 338
	tiffSampleFormat = 339
	tiffJPEGTables   = 347
	tiffSubsampling  = 530
)

// Values of those tags.
const (
	uncompressed, group3, group4, lzwCode   = 1, 3, 4, 5
	jpegCode, deflate, deflateOld, packBits = 7, 8, 32946, 32773
	whiteIsZero, blackIsZero, rgb, paletted = 0, 1, 2, 3
	inks, ycbcr                             = 5, 6
	separatePlanes                          = 2
	horizontalDifferences                   = 2
	premultiplied                           = 1 // an extra sample that is alpha, and the colours are multiplied by it
	lowBitsFirst                            = 2
	unsigned, signed, floating              = 1, 2, 3
)

var errTIFFKind = errors.New("kind of TIFF that is not decoded")

// tiffFile is the first picture of a TIFF.
type tiffFile struct {
	directory
	width, height int

	bits, samples int // of a sample; a pixel
	format        int // of samples
	compression   int
	photometric   int
	extra         int  // samples beside the colours
	predict       bool // samples are differences from the pixel on the left
	premultiplied bool
	mirrored      bool // the bits of each byte of code
	planes        int  // that come one after the other; 1: samples are side by side
	present       int  // of them
	tiled         bool
	blockW        int // of a tile, or of a strip, whose last may be lower
	blockH        int
	offsets       tiffValues
	counts        tiffValues
	palette       [256][3]uint8
	tables        []byte // of all JPEGs
}

// tiffBase are the samples of a pixel without extra ones, by photometric
// interpretation.
var tiffBase = map[int]int{whiteIsZero: 1, blackIsZero: 1, rgb: 3, paletted: 1, inks: 4, ycbcr: 3}

func lacking(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errTIFFKind)...)
}

func openTIFF(data []byte) (*tiffFile, error) {
	d, err := openDirectory(data)
	if err != nil {
		return nil, err
	}
	f := &tiffFile{directory: d, planes: 1}
	f.width, f.height = d.number(tiffWidth, 0), d.number(tiffLength, 0)
	if f.width <= 0 || f.height <= 0 {
		return nil, fmt.Errorf("zero-size picture of %d×%d pixels", f.width, f.height)
	}
	if err := f.readKind(); err != nil {
		return nil, err
	}
	if f.photometric == paletted {
		f.readPalette()
	}
	return f, f.readBlocks()
}

// readKind reads what samples there are, and refuses those of other kinds.
func (f *tiffFile) readKind() error {
	f.compression, f.photometric = f.number(tiffCompression, uncompressed), f.number(tiffPhotometric, whiteIsZero)
	switch f.compression {
	case 0:
		f.compression = uncompressed
	case uncompressed, group3, group4, lzwCode, jpegCode, deflate, deflateOld, packBits:
	default:
		return lacking("compression value %d", f.compression)
	}
	base, ok := tiffBase[f.photometric]
	if !ok {
		return lacking("color model %d", f.photometric)
	}
	bits, _ := f.first(tiffBits, 16)
	f.bits = 1
	if bits.len() > 0 {
		f.bits = int(bits.at(0))
	}
	for i := range bits.len() {
		if bits.at(i) != int64(f.bits) {
			return lacking("samples of %d and %d bits", f.bits, bits.at(i))
		}
	}
	f.samples = f.number(tiffSamples, max(1, bits.len()))
	if f.samples < base && bits.len() >= base {
		f.samples = bits.len()
	}
	if f.photometric == ycbcr && f.samples == 1 {
		f.photometric, base = blackIsZero, 1
	}
	if f.samples < base {
		return fmt.Errorf("%d samples a pixel in color model %d, want %d", f.samples, f.photometric, base)
	}
	if f.extra = f.samples - base; f.extra > 8 {
		return lacking("%d samples a pixel", f.samples)
	}
	f.format = f.number(tiffSampleFormat, unsigned)
	gray := base == 1 && f.photometric != paletted
	known := f.format == unsigned && (f.bits == 8 || f.bits == 16)
	if gray {
		known = f.format == unsigned && slices.Contains([]int{1, 2, 4, 8, 12, 16, 32}, f.bits) || f.format == signed && slices.Contains([]int{8, 16, 32}, f.bits) || f.format == floating && f.bits == 32
		if f.extra > 0 && f.bits < 8 {
			known = false
		}
	} else if f.photometric == paletted {
		known = f.format == unsigned && slices.Contains([]int{1, 2, 4, 8, 16}, f.bits) && (f.extra == 0 || f.bits == 8)
	} else if f.photometric == ycbcr {
		known = known && f.bits == 8
	}
	if !known {
		return lacking("BitsPerSample of %d in sample format %d and color model %d", f.bits, f.format, f.photometric)
	}
	predictor := f.number(tiffPredictor, 1)
	f.predict = predictor == horizontalDifferences
	if predictor > horizontalDifferences || f.predict && f.bits != 8 && f.bits != 16 {
		return lacking("predictor %d of %d bits", predictor, f.bits)
	}
	f.premultiplied = f.extra > 0 && f.number(tiffExtra, 0) == premultiplied
	f.mirrored = f.number(tiffFillOrder, 1) == lowBitsFirst && f.compression != jpegCode && f.compression != group3 && f.compression != group4
	if f.number(tiffPlanar, 1) == separatePlanes && f.samples > 1 {
		if f.photometric == inks || f.photometric == ycbcr {
			return lacking("%d planes in color model %d", f.samples, f.photometric)
		}
		f.planes = f.samples
	}
	return f.readCode()
}

// readCode refuses kinds of codes.
func (f *tiffFile) readCode() error {
	if o := f.number(tiffT4Options, 0); f.compression == group3 && o&1 != 0 {
		return lacking("T4Options of %d", o)
	}
	switch f.compression {
	case group3, group4:
		if f.bits != 1 || f.samples != 1 {
			return fmt.Errorf("fax of %d bits and %d samples, want 1", f.bits, f.samples)
		}
	case jpegCode:
		tables, _ := f.find(tiffJPEGTables)
		f.tables = tables.raw
		if f.bits != 8 || f.photometric == inks || f.extra > 0 || f.planes > 1 {
			return lacking("JPEG of %d bits, %d samples and %d planes in color model %d", f.bits, f.samples, f.planes, f.photometric)
		}
		return nil
	}
	if f.photometric == ycbcr && f.compression != uncompressed {
		s, _ := f.first(tiffSubsampling, 2)
		if s.len() < 2 || s.at(0) != 1 || s.at(1) != 1 {
			return lacking("subsampled YCbCr that is no JPEG")
		}
	}
	return nil
}

func (f *tiffFile) readPalette() {
	v, _ := f.first(tiffColorMap, 3<<16)
	colors := v.len() / 3
	for i := range min(colors, 256) {
		for c := range 3 {
			f.palette[i][c] = uint8(v.at(c*colors+i) >> 8)
		}
	}
}

// readBlocks reads where tiles or strips lie.
func (f *tiffFile) readBlocks() error {
	f.blockW, f.blockH = f.width, f.height
	offsets, counts := uint16(tiffStripOffsets), uint16(tiffStripCounts)
	if w := f.number(tiffTileWidth, 0); w != 0 {
		f.tiled, f.blockW, f.blockH = true, w, f.number(tiffTileLength, 0)
		if f.blockW < 8 || f.blockH < 8 {
			return fmt.Errorf("tiles of %d×%d pixels, want at least 8×8", f.blockW, f.blockH)
		}
		const padding, most = 16, 1024 // beyond the picture's edge
		if (f.blockW-f.width > padding || f.blockH-f.height > padding) && max(f.blockW, f.blockH) > most {
			return fmt.Errorf("tiles of %d×%d pixels in a picture of %d×%d", f.blockW, f.blockH, f.width, f.height)
		}
		if v, ok := f.first(tiffTileOffsets, 1); ok && v.len() > 0 {
			offsets, counts = tiffTileOffsets, tiffTileCounts
		}
	} else if rows := f.number(tiffRowsPerStrip, 0); rows > 0 && rows < f.height {
		f.blockH = rows
	}
	across, down := f.blocks()
	if int64(across)*int64(down)*int64(f.planes) > int64(len(f.data)) { // each has an offset of a byte at least
		return fmt.Errorf("%d×%d blocks in %d bytes", across, down, len(f.data))
	}
	f.present = f.planes
	n := across * down * f.planes
	f.offsets, _ = f.first(offsets, uint64(n))
	f.counts, _ = f.first(counts, uint64(n))
	if f.compression == uncompressed && f.planes > 1 { // Pillow leaves planes that have no place at 0
		f.present = min(f.planes, max(1, f.offsets.len()/(across*down)))
		n = across * down * f.present
	}
	if f.offsets.len() < n {
		return fmt.Errorf("%d blocks, found %d offsets", n, f.offsets.len())
	}
	return nil
}

func (f *tiffFile) blocks() (across, down int) {
	return ceilDiv(f.width, f.blockW), ceilDiv(f.height, f.blockH)
}

func tiffConfig(data []byte) (c image.Config, err error) {
	f, err := openTIFF(data)
	if err != nil {
		return c, err
	}
	return image.Config{Width: f.width, Height: f.height}, nil
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
	largest int64  // bytes that it may become
}

func (f *tiffFile) block(i, j, plane int) (b tiffBlock) {
	across, down := f.blocks()
	b = tiffBlock{x: i * f.blockW, y: j * f.blockH, plane: plane, w: f.blockW, h: f.blockH}
	b.seenW, b.seenH = min(b.w, f.width-b.x), min(b.h, f.height-b.y)
	if !f.tiled {
		b.w, b.h = b.seenW, b.seenH
	}
	pixel := f.bits * f.samples / f.planes
	b.row, b.need = (b.w*pixel+7)/8, (b.seenW*pixel+7)/8
	if f.predict && b.w > 1 || pixel == 32 {
		b.need = b.row
	}
	n := (plane*down+j)*across + i
	at := f.offsets.at(n)
	b.code = f.data[min(at, int64(len(f.data))):]
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
	var read, beside int64
	for n := range across * down * f.present {
		b := f.block(n%across, n/across%down, n/across/down)
		read += int64(len(b.code))
		if f.compression == jpegCode {
			header, err := jpeg.ReadHeader(f.jpeg(b))
			if err != nil {
				return 0, fmt.Errorf("block (%d, %d): %w", b.x, b.y, err)
			}
			if header.Width < b.seenW || header.Height < b.seenH || header.Width > 2*b.w+16 || header.Height > 2*b.h+16 || header.Components != f.samples {
				return 0, fmt.Errorf("block (%d, %d): a JPEG of %d×%d pixels and %d components, want %d×%d and %d", b.x, b.y, header.Width, header.Height, header.Components, b.w, b.h, f.samples)
			}
			beside = max(beside, header.Cost(len(b.code)).Rows+2*int64(len(b.code)+len(f.tables)))
			continue
		}
		if f.mirrored {
			beside = max(beside, int64(len(b.code)))
		}
		need := int64(b.seenH-1)*int64(b.row) + int64(b.need)
		if most := f.most(b); most < need {
			return 0, fmt.Errorf("truncated TIFF: block (%d, %d): %d bytes become %d at most, %d×%d pixels need %d: %w", b.x, b.y, len(b.code), most, b.seenW, b.seenH, need, io.ErrUnexpectedEOF)
		}
	}
	// Blocks may share their code, but not so often that reading it takes
	// longer than any pixels.
	if most := int64(len(data)) + 16*int64(w)*int64(h); read > most {
		return 0, fmt.Errorf("blocks of %d bytes in all, want at most %d for %d×%d pixels in a file of %d", read, most, w, h, len(data))
	}
	return 4*int64(w)*int64(h) + 4*int64(f.blockW)*8 + beside, nil
}
