package patch

import (
	"bytes"
	"context"
	"fmt"
	"image"

	"golang.org/x/image/tiff"
)

// Tags of TIFF 6.0.
const (
	tiffCompression = 259
	tiffPhotometric = 262
	tiffSamples     = 277
	tiffPlanar      = 284
	tiffT4Options   = 292
	tiffExtra       = 338
)

// Values of those tags.
const (
	group3, group4   = 3, 4
	blackIsZero, rgb = 1, 2
	separatePlanes   = 2
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

// decodeTIFF reads the first picture of a file. The codes of faxes speak of
// white and black runs. Written as numbers white is 0, whatever the file says
// of 0 (libtiff, tif_fax3.c); x/image makes white 1 where the file says that 0
// is black, which turns the picture into its negative.
func decodeTIFF(_ context.Context, data []byte) (*image.NRGBA, error) {
	m, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	compression, _ := tiffValue(data, tiffCompression)
	photometric, _ := tiffValue(data, tiffPhotometric)
	if g, ok := m.(*image.Gray); ok && (compression == group3 || compression == group4) && photometric == blackIsZero {
		for i, v := range g.Pix {
			g.Pix[i] = 255 - v
		}
	}
	return opaque(m)
}
