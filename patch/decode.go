package patch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"strings"

	"github.com/vitserve/vitserve/patch/jpeg"
)

// format is one kind of file that is decoded.
type format struct {
	name   string
	magics []string // "?" matches any byte
	config func([]byte) (image.Config, error)
	cost   func(data []byte, w, h int) (bytes int64, err error) // Declaration.Bytes; or why the file cannot be whole
	decode func(context.Context, []byte) (*image.NRGBA, error)
}

// formats are told apart by their first bytes, never by name or media type.
var formats = []format{
	{"jpeg", []string{"\xff\xd8\xff"}, jpegConfig, jpegCost, jpeg.Decode},
	{"png", []string{"\x89PNG\r\n\x1a\n"}, pngConfig, pngCost, decodePNG},
	{"webp", []string{"RIFF????WEBP"}, webpConfig, webpCost, decodeWebP},
	{"gif", []string{"GIF87a", "GIF89a"}, gifConfig, gifCost, decodeGIF},
	bmpFormat("bmp", bmpMagics(), openBMP),
	bmpFormat("dib", dibMagics(), openDIB),
	{"ico", []string{icoMagic}, icoConfig, icoCost, decodeICO},
	{"tiff", []string{"II*\x00", "MM\x00*", "MM*\x00", "II\x00*", "II+\x00", "MM\x00+"}, tiffConfig, tiffCost, decodeTIFF},
}

// known are formats that people send and that are not decoded: naming them
// tells the sender what to change.
var known = []struct{ name, magic string }{
	{"HEIF of another coding than HEVC and AV1", "????ftypm?f1"}, {"a video or sound", "????ftyp"}, {"JPEG 2000", "\x00\x00\x00\x0cjP  "}, {"PDF", "%PDF"}, {"SVG", "<svg"},
	{"a cursor (CUR)", "\x00\x00\x02\x00"}, {"PSD", "8BPS"}, {"a zip archive", "PK\x03\x04"}, {"HTML", "<!DOCTYPE"}, {"XML", "<?xml"},
}

func matches(data []byte, magic string) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}

func sniff(data []byte) (format, error) {
	for _, f := range formats {
		for _, m := range f.magics {
			if matches(data, m) {
				return f, nil
			}
		}
	}
	if kind := NamesKind(data); kind != "" {
		return format{}, &NoDecoderError{kind}
	}
	for _, k := range known {
		if matches(data, k.magic) {
			return format{}, fmt.Errorf("patch: this is %s: %w", k.name, ErrFormat)
		}
	}
	if len(data) == 0 {
		return format{}, fmt.Errorf("patch: empty file: %w", ErrFormat)
	}
	return format{}, fmt.Errorf("patch: first bytes %q: %w", data[:min(len(data), 8)], ErrFormat)
}

// choose is sniff, and knows the Decoders of o.
func choose(data []byte, o Options) (format, error) {
	f, err := sniff(data)
	var none *NoDecoderError
	if errors.As(err, &none) && o.Decoders[none.Format] != nil {
		return outside(none.Format, o.Decoders[none.Format]), nil
	}
	return f, err
}

// check sniffs data and reads its declared size, which costs no memory, and
// refuses what is beyond the limit.
func check(data []byte, o Options) (f format, d Declaration, err error) {
	if f, err = choose(data, o); err != nil {
		return f, d, err
	}
	err = guard(f.name, func() error {
		c, err := f.config(data)
		d = Declaration{Format: f.name, Width: c.Width, Height: c.Height}
		return err
	})
	if err != nil {
		return f, d, err
	}
	if d.Width <= 0 || d.Height <= 0 {
		return f, d, fmt.Errorf("patch: %s declares %d×%d pixels: %w", f.name, d.Width, d.Height, ErrImage)
	}
	if limit := o.maxPixels(); d.Width > limit/d.Height || max(d.Width, d.Height) > maxEdge {
		return f, d, fmt.Errorf("patch: %s declares %d×%d pixels, the limit is %d and %d an edge: %w", f.name, d.Width, d.Height, limit, maxEdge, ErrSize)
	}
	pixels := int64(d.Width) * int64(d.Height)
	err = guard(f.name, func() (err error) {
		d.Bytes, err = f.cost(data, d.Width, d.Height)
		return err
	})
	if err != nil {
		return f, d, err
	}
	d.PixelsBytes = d.Bytes
	if f.name == "jpeg" {
		d.PixelsBytes = jpegPixelsCost(data, o)
	}
	if !o.IgnoreEXIF && !isOutside(f.name) && storage[orientation(f.name, data)].transposed {
		d.Bytes += 4 * pixels // the upright picture, beside what decoding has left behind
		if f.name != "jpeg" {
			d.PixelsBytes = d.Bytes
		}
	}
	return f, d, nil
}

// panicError is a decoder's panic; what it says is not for the sender.
type panicError struct {
	error
	Panic any
}

func (e *panicError) Unwrap() error { return e.error }

// guard turns a decoder's failure into ErrImage, or into ErrFormat where it is
// a kind of file that the decoder lacks. It also catches a panic: the decoders
// of other people meet hostile bytes here, on the caller's goroutine.
func guard(name string, decode func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{fmt.Errorf("patch: decode %s: damage that the decoder does not know: %w", name, ErrImage), p}
		}
	}()
	if err := decode(); err != nil {
		kind := ErrImage
		var out outsideError
		switch {
		case errors.As(err, &out):
			return fmt.Errorf("patch: decode %s: %w", name, out.error)
		case lacks(err):
			kind = ErrFormat
		case errors.Is(err, jpeg.ErrWork):
			kind = ErrSize
		}
		return fmt.Errorf("patch: decode %s: %s: %w", name, inWords.Replace(strings.TrimPrefix(err.Error(), name+": ")), kind)
	}
	return nil
}

// inWords says what packages that unpack say in the words of formats.
var inWords = strings.NewReplacer(
	"unexpected EOF", "the file ends too early",
	"EOF", "the file ends too early",
	"flate: corrupt input before offset", "corrupt Deflate data before byte",
	"zlib: invalid header", "no Deflate data",
	"zlib: invalid checksum", "Deflate data have another checksum than they say",
	"zlib: invalid dictionary", "Deflate data that need a dictionary",
	"lzw: ", "LZW: ",
	"invalid input: magic number mismatch", "no Zstandard data",
	"riff: ", "container: ",
	"vp8: ", "", "vp8l: ", "",
	"invalid format", "no picture in the container",
)

// lacks reports whether a decoder says that it knows no such kind of file. Of
// PNG there is none that image/png lacks: what it calls unsupported does not
// exist.
func lacks(err error) bool {
	return errors.Is(err, jpeg.ErrUnsupported) || errors.Is(err, errTIFFKind) || errors.Is(err, errBMPKind)
}

// Decode reads a picture by its content. Bytes after the picture are ignored.
// The errors are ErrFormat, ErrImage, ErrSize and those of ctx, with which
// decoding ends.
func Decode(ctx context.Context, data []byte, o Options) (*Photo, error) {
	f, d, err := check(data, o)
	if err != nil {
		return nil, err
	}
	var m *image.NRGBA
	err = guard(f.name, func() (err error) {
		m, err = f.decode(ctx, data)
		return err
	})
	if cause := ended(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, err
	}
	if b := m.Bounds(); b.Dx() != d.Width || b.Dy() != d.Height {
		return nil, fmt.Errorf("patch: decode %s: declared %d×%d pixels, found %d×%d: %w", f.name, d.Width, d.Height, b.Dx(), b.Dy(), ErrImage)
	}
	p := &Photo{Image: m, Format: f.name, Orientation: 1}
	if !o.IgnoreEXIF {
		p.Orientation = orientation(f.name, data)
		if p.Image, err = upright(ctx, m, p.Orientation); err != nil {
			return nil, ended(ctx)
		}
	}
	return p, nil
}

// ended says that ctx is done, if it is.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	return nil
}

// reader reads data as long as ctx lasts.
type reader struct {
	ctx  context.Context
	data *bytes.Reader
}

func newReader(ctx context.Context, data []byte) reader { return reader{ctx, bytes.NewReader(data)} }

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.data.Read(p)
}

// noEOF is err of a read in the midst of something.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func jpegConfig(data []byte) (image.Config, error) {
	h, err := jpeg.ReadHeader(data)
	return image.Config{Width: h.Width, Height: h.Height}, err
}

// jpegPixelsCost is what Transform.Pixels takes for a JPEG.
func jpegPixelsCost(data []byte, o Options) int64 {
	header, err := jpeg.ReadHeader(data)
	if err != nil {
		return 0 // jpegCost has said it
	}
	if o.Resize == ResizeFast {
		return header.Cost(len(data)).Planes
	}
	return header.Cost(len(data)).Rows
}

// jpegCost is what a JPEG takes to be decoded, and its picture.
func jpegCost(data []byte, w, h int) (int64, error) {
	header, err := jpeg.ReadHeader(data)
	if err != nil {
		return 0, err
	}
	return header.Cost(len(data)).Picture, nil
}
