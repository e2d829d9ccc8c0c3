package patch

import (
	"context"
	"errors"
	"fmt"
	"image"
)

// Decoder reads a kind of file that this package does not, such as a program
// of package external. Several goroutines may call it at the same time.
type Decoder interface {
	// Bytes is the memory that Decode takes beside that of its caller, of a
	// picture of w × h pixels.
	Bytes(w, h int) int64
	// Decode returns the picture as PNG, PNM, or another kind of file that this
	// package reads: w × h pixels as they are stored, whatever EXIF says. It
	// ends with ctx, and returns at most OutsideBytes. Its errors are ErrImage,
	// ErrSize, those of ctx, and others where the picture is not to blame.
	Decode(ctx context.Context, data []byte, w, h int) ([]byte, error)
}

// OutsideBytes is the most that a Decoder may return for w × h pixels: six
// bytes for each, as RGB of 16 bits takes, and room for what stands beside
// them.
func OutsideBytes(w, h int) int64 { return 6*int64(w)*int64(h) + 64<<10 }

// outsideFormats are the kinds of files that Decoders read.
var outsideFormats = map[string]struct {
	config func([]byte) (image.Config, error)
	still  func([]byte) ([]byte, error) // without its orientation; nil: the decoder applies it
}{
	HEIC: {heicConfig, stillHEIF},
	AVIF: {avifConfig, stillHEIF},
	JXL:  {jxlConfig, nil},
}

// isOutside reports whether only a Decoder reads a format.
func isOutside(name string) bool {
	_, ok := outsideFormats[name]
	return ok
}

// outside is the format of kind, which d reads.
func outside(kind string, d Decoder) format {
	f := outsideFormats[kind]
	out := format{name: kind, config: f.config}
	out.cost = func(data []byte, w, h int) (int64, error) {
		// The program, which gets a copy, has ended when its file becomes a photo.
		return int64(len(data)) + max(d.Bytes(w, h), OutsideBytes(w, h)+4*int64(w)*int64(h)), nil
	}
	out.decode = func(ctx context.Context, data []byte) (*image.NRGBA, error) {
		c, err := f.config(data)
		if err != nil {
			return nil, err
		}
		if f.still != nil {
			if data, err = f.still(data); err != nil {
				return nil, err
			}
		}
		file, err := d.Decode(ctx, data, c.Width, c.Height)
		if err != nil {
			return nil, outsideError{err}
		}
		return decodeOutput(ctx, file, c.Width, c.Height)
	}
	return out
}

// outsideError is an error of a Decoder, which knows of what kind it is.
type outsideError struct{ error }

func (e outsideError) Unwrap() error { return e.error }

// decodeOutput reads what a Decoder has made of a picture of w × h pixels.
func decodeOutput(ctx context.Context, file []byte, w, h int) (*image.NRGBA, error) {
	if most := OutsideBytes(w, h); int64(len(file)) > most {
		return nil, fmt.Errorf("the decoder returned %d bytes, want at most %d", len(file), most)
	}
	f, err := sniffOutput(file)
	if err != nil {
		return nil, err
	}
	c, err := f.config(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("what the decoder returned: %w", err)
	case c.Width != w || c.Height != h:
		return nil, fmt.Errorf("declared %d×%d pixels, the decoder returned %d×%d", w, h, c.Width, c.Height)
	}
	m, err := f.decode(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("what the decoder returned: %w", err)
	}
	return m, nil
}

func sniffOutput(file []byte) (format, error) {
	if isPNM(file) {
		return format{name: "pnm", config: pnmConfig, decode: decodePNM}, nil
	}
	for _, f := range formats {
		for _, m := range f.magics {
			if matches(file, m) {
				return f, nil
			}
		}
	}
	if len(file) == 0 {
		return format{}, errors.New("the decoder returned nothing")
	}
	return format{}, fmt.Errorf("the decoder returned no picture: it begins with %q", file[:min(len(file), 8)])
}
