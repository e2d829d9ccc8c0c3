// Package patch brings a photo to a Vision Transformer and the answer back to
// the photo: it sniffs, checks and decodes untrusted bytes, turns them
// upright, resizes and crops them exactly as the model's own configuration
// says, and keeps the geometry that leads from a patch to the photo's pixels.
//
// The references are Pillow (decoders and resampling), torchvision, timm and
// the Hugging Face image processors (sizes and crops). On lossless input the
// pixels are theirs, bit for bit.
package patch

import (
	"errors"
	"fmt"
	"image"
)

// Errors of pictures. Every error of this package that the sender of a
// picture can cause has one of them in its chain.
var (
	ErrFormat = errors.New("not an image of a supported format") // HTTP 415
	ErrImage  = errors.New("broken image")                       // HTTP 400
	ErrSize   = errors.New("image too large")                    // HTTP 422: the declared size is over the limit
	ErrShape  = errors.New("image does not fit the model")       // HTTP 422: a ready crop of another size than the model's
)

// DefaultMaxPixels is the largest declared size that is decoded unless
// Options say otherwise: 50 megapixels.
const DefaultMaxPixels = 50_000_000

// maxEdge is the longest edge that is decoded, JPEG's own limit. It bounds the
// weights of a resize, of which a ribbon of 50 million pixels has very many.
const maxEdge = 65535

// Options say how a picture is read. The zero value is the default.
type Options struct {
	MaxPixels  int  // declared width × height that is refused beyond; 0: DefaultMaxPixels
	IgnoreEXIF bool // leave the picture as it is stored, as PIL.Image.open does
	Resize     Resize

	Decoders map[string]Decoder // by HEIC, AVIF or JXL, which this package does not read; none: they are NoDecoderError
}

// Resize says how near Transform.Pixels keeps to the reference.
type Resize string

// Ways to resize. docs/decode.md has the figures of both.
const (
	ResizeExact Resize = "exact" // Pillow's pixels; the default, also as the empty string
	ResizeFast  Resize = "fast"  // of a large JPEG only the frequencies that the model can see; less than a grey level off on average
)

// ParseResize reads a Resize that a user wrote.
func ParseResize(s string) (Resize, error) {
	switch r := Resize(s); r {
	case "", ResizeExact:
		return ResizeExact, nil
	case ResizeFast:
		return r, nil
	}
	return "", fmt.Errorf("patch: resize %q: want %q or %q", s, ResizeExact, ResizeFast)
}

// Photo is a decoded picture, upright and opaque.
type Photo struct {
	Image       *image.NRGBA // bounds start at (0, 0); every alpha is 255
	Format      string       // "jpeg", "png", "webp", "gif", "bmp", "dib", "ico", "tiff"; or HEIC, AVIF, JXL
	Orientation int          // the EXIF orientation that was undone; 1: none
}

func (o Options) maxPixels() int {
	if o.MaxPixels <= 0 {
		return DefaultMaxPixels
	}
	return o.MaxPixels
}
