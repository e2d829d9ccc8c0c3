package patch

import (
	"errors"
	"fmt"
	"image"
	"slices"
)

// Tags of TIFF 6.0.
const (
	tiffWidth           = 256
	tiffLength          = 257
	tiffBits            = 258
	tiffCompression     = 259
	tiffPhotometric     = 262
	tiffFillOrder       = 266
	tiffStripOffsets    = 273
	tiffSamples         = 277
	tiffRowsPerStrip    = 278
	tiffStripCounts     = 279
	tiffPlanar          = 284
	tiffT4Options       = 292
	tiffPredictor       = 317
	tiffColorMap        = 320
	tiffTileWidth       = 322
	tiffTileLength      = 323
	tiffTileOffsets     = 324
	tiffTileCounts      = 325
	tiffExtra           = 338
	tiffSampleFormat    = 339
	tiffJPEGTables      = 347
	tiffYCbCr           = 529
	tiffSubsampling     = 530
	tiffReferenceLevels = 532
)

// Values of those tags.
const (
	uncompressed, faxRows, group3, group4   = 1, 2, 3, 4
	lzwCode, oldJPEGCode, jpegCode          = 5, 6, 7
	deflate, deflateOld                     = 8, 32946
	faxWords, packBits, thunderScan         = 32771, 32773, 32809
	lzmaCode, zstdCode                      = 34925, 50000
	whiteIsZero, blackIsZero, rgb, paletted = 0, 1, 2, 3
	inks, ycbcr, cielab                     = 5, 6, 8
	separatePlanes                          = 2
	horizontalDifferences, floatDifferences = 2, 3
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
	extra         int // samples beside the colours
	predictor     int // horizontalDifferences, floatDifferences; 0: none
	premultiplied bool
	mirrored      bool   // the bits of each byte of code
	planes        int    // that come one after the other; 1: samples are side by side
	read          int    // of them
	pitch         [2]int // bits of a pixel of all planes that count, and the planes that Pillow thinks they are
	present       int    // blocks
	tiled         bool
	blockW        int // of a tile, or of a strip, whose last may be lower
	blockH        int
	offsets       tiffValues
	counts        tiffValues
	palette       [256][3]uint8
	tables        []byte      // of all JPEGs
	colors        *tiffColors // of YCbCr that is not read by JPEG
}

// tiffBase are the samples of a pixel without extra ones, by photometric
// interpretation.
var tiffBase = map[int]int{whiteIsZero: 1, blackIsZero: 1, rgb: 3, paletted: 1, inks: 4, ycbcr: 3, cielab: 3}

func lacking(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errTIFFKind)...)
}

func openTIFF(data []byte) (*tiffFile, error) {
	d, err := openDirectory(data)
	if err != nil && !errors.Is(err, errNoTIFF) {
		err = fmt.Errorf("truncated TIFF: %w", err)
	}
	if err != nil {
		return nil, err
	}
	f := &tiffFile{directory: d, planes: 1, read: 1}
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
	if f.compression == 0 {
		f.compression = uncompressed
	}
	if !slices.Contains([]int{uncompressed, faxRows, group3, group4, lzwCode, oldJPEGCode, jpegCode, deflate, deflateOld, faxWords, packBits, thunderScan, lzmaCode, zstdCode}, f.compression) {
		return lacking("compression value %d", f.compression)
	}
	old := f.compression == oldJPEGCode
	if old {
		f.photometric = ycbcr // whatever they say
	}
	if v, _ := f.find(tiffPhotometric); v.len() > 1 && !old {
		f.photometric = whiteIsZero // as Pillow has it
	}
	base, ok := tiffBase[f.photometric]
	if !ok {
		return lacking("color model %d", f.photometric)
	}
	bits, _ := f.first(tiffBits, 16)
	f.bits = 1
	if old {
		f.bits = 8
	}
	if bits.len() > 0 {
		f.bits = int(bits.at(0))
	}
	f.samples = bits.len()
	if base == 1 {
		f.samples = 1
	}
	f.samples = f.number(tiffSamples, max(1, f.samples))
	if old && f.samples != 3 && bits.len() != 3 {
		return lacking("JPEG of the old kind of %d samples a pixel", f.samples)
	}
	if f.samples < base && bits.len() >= base {
		f.samples = bits.len()
	}
	for i := range min(bits.len(), f.samples) {
		if bits.at(i) != int64(f.bits) {
			return lacking("samples of %d and %d bits", f.bits, bits.at(i))
		}
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
	if !f.knownSamples(base) {
		return lacking("BitsPerSample of %d in sample format %d and color model %d", f.bits, f.format, f.photometric)
	}
	if err := f.readPredictor(); err != nil {
		return err
	}
	f.mirrored = f.number(tiffFillOrder, 1) == lowBitsFirst && f.compression != jpegCode
	if f.number(tiffPlanar, 1) == separatePlanes && f.samples > 1 {
		f.planes = f.samples
		f.mirrored = f.mirrored && f.compression != uncompressed // Pillow forgets it
	}
	f.readExtra(base)
	return f.readCode()
}

// knownSamples reports whether samples are of a kind that is read, in a color
// model of so many without extra ones.
func (f *tiffFile) knownSamples(base int) bool {
	switch {
	case f.photometric == paletted:
		return f.format == unsigned && slices.Contains([]int{1, 2, 4, 8, 16}, f.bits) && (f.extra == 0 || f.bits == 8)
	case f.photometric == ycbcr || f.photometric == cielab:
		return f.format == unsigned && f.bits == 8
	case base > 1:
		return f.format == unsigned && (f.bits == 8 || f.bits == 16)
	case f.extra > 0 && f.bits < 8:
		return false
	}
	switch f.format {
	case unsigned:
		return slices.Contains([]int{1, 2, 4, 8, 12, 16, 32}, f.bits)
	case signed:
		return slices.Contains([]int{8, 16, 32}, f.bits)
	}
	return f.format == floating && f.bits == 32
}

// readPredictor reads what samples are differences from. Only some codes know
// such.
func (f *tiffFile) readPredictor() error {
	if !slices.Contains([]int{lzwCode, deflate, deflateOld, lzmaCode, zstdCode}, f.compression) {
		return nil
	}
	if v, _ := f.first(tiffPredictor, 2); v.len() != 1 {
		return nil
	}
	switch p := f.number(tiffPredictor, 1); {
	case p == horizontalDifferences && f.bits >= 8 && f.bits != 12, p == floatDifferences && f.format == floating:
		f.predictor = p
	case p > 1:
		return fmt.Errorf("predictor %d of %d bits in sample format %d", p, f.bits, f.format)
	}
	return nil
}

// readExtra reads what samples beside the colours mean. In planes libtiff takes
// one that is not named for alpha; others are not read.
func (f *tiffFile) readExtra(base int) {
	extra, _ := f.first(tiffExtra, 1)
	f.premultiplied = f.extra > 0 && extra.len() > 0 && extra.at(0) == premultiplied
	f.pitch = [2]int{f.bits * f.samples, 1}
	if f.planes == 1 {
		return
	}
	named, _ := f.first(tiffExtra, 16)
	nothing := true
	for i := range named.len() {
		nothing = nothing && named.at(i) == 0
	}
	f.pitch[1] = base + named.len()
	if nothing {
		f.pitch = [2]int{f.bits * (f.samples - named.len()), base}
	}
	if f.extra > 0 && extra.len() == 0 && f.photometric == rgb && f.compression != uncompressed {
		f.premultiplied = true
	}
	if f.read = base; f.premultiplied && f.photometric == rgb {
		f.read++
	}
}

// readCode refuses kinds of codes.
func (f *tiffFile) readCode() error {
	switch f.compression {
	case faxRows, faxWords, group3, group4:
		if f.bits != 1 || f.samples != 1 {
			return fmt.Errorf("fax of %d bits and %d samples, want 1", f.bits, f.samples)
		}
	case thunderScan:
		if f.bits != 4 || f.samples != 1 {
			return fmt.Errorf("ThunderScan of %d bits and %d samples, want 4 and 1", f.bits, f.samples)
		}
	case oldJPEGCode:
		if f.samples != 3 || f.planes > 1 {
			return lacking("JPEG of the old kind of %d samples in %d planes", f.samples, f.planes)
		}
	case jpegCode:
		tables, _ := f.find(tiffJPEGTables)
		f.tables = tables.raw
		if f.bits != 8 && (f.bits != 12 || f.samples > 1) || f.samples > 4 {
			return lacking("JPEG of %d bits and %d samples in color model %d", f.bits, f.samples, f.photometric)
		}
	}
	if f.photometric == ycbcr && f.planes > 1 && f.compression == uncompressed {
		return lacking("planes of YCbCr without a code")
	}
	if f.photometric == ycbcr && f.compression != uncompressed && (f.compression != jpegCode || f.planes > 1) {
		return f.readColors()
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

func tiffConfig(data []byte) (c image.Config, err error) {
	f, err := openTIFF(data)
	if err != nil {
		return c, err
	}
	return image.Config{Width: f.width, Height: f.height}, nil
}
