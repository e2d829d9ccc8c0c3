package patch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"slices"

	"golang.org/x/image/bmp"
)

// bmpConfig is that of x/image/bmp, which calls some broken files unsupported,
// too, and does not say what it lacks.
func bmpConfig(data []byte) (image.Config, error) {
	c, err := bmp.DecodeConfig(bytes.NewReader(data))
	const header = 34 // up to the compression, in every header from BITMAPINFOHEADER on
	if !errors.Is(err, bmp.ErrUnsupported) || len(data) < header {
		return c, err
	}
	le := binary.LittleEndian
	size, bits, compression := le.Uint32(data[14:]), le.Uint16(data[28:]), le.Uint32(data[30:])
	what := fmt.Sprintf("header of %d bytes, %d bits a pixel, compression %d", size, bits, compression)
	switch size {
	case 12, 16, 52, 56, 64: // OS/2's, and two of Adobe's
		return c, fmt.Errorf("header of %d bytes: %w", size, err)
	case 40, 108, 124:
		const most = 6 // BI_ALPHABITFIELDS
		known := slices.Contains([]uint16{0, 1, 2, 4, 8, 16, 24, 32}, bits) && compression <= most
		if known && (bits == 0 || bits == 16 || compression != 0) {
			return c, fmt.Errorf("%s: %w", what, err)
		}
	}
	return c, fmt.Errorf("%d×%d pixels, %d planes, %s", int32(le.Uint32(data[18:])), int32(le.Uint32(data[22:])), le.Uint16(data[26:]), what)
}
