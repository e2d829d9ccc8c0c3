package patch

import (
	"encoding/binary"
	"math"
)

// rower returns the conversion of a row of samples to opaque RGBA, as Pillow's
// convert("RGB") has it, or of one plane's to its channel.
func (f *tiffFile) rower() func(dst, src []byte, plane int) {
	high, sample := 0, max(f.bits/8, 1) // the high byte comes second
	switch {
	case f.halved():
		sample = 1
	case f.bits == 16 && f.order == binary.ByteOrder(binary.LittleEndian):
		high = 1
	}
	pixel := sample * f.samples / f.planes
	switch {
	case f.photometric == paletted:
		return func(dst, src []byte, plane int) {
			switch {
			case f.bits == 16: // an index of its second byte
				for i := range len(dst) / 4 {
					src[i] = src[2*i+1]
				}
			case pixel > 1:
				for i := range len(dst) / 4 {
					src[i] = src[pixel*i]
				}
			}
			paletteRow(dst, src, min(f.bits, 8), &f.palette, 256) // black beyond its end
		}
	case f.planes > 1 && (f.photometric == inks || f.photometric == ycbcr || f.photometric == cielab):
		return func(dst, src []byte, plane int) { // finish makes pixels of them
			for i, j := 0, high; i < len(dst); i, j = i+4, j+sample {
				dst[i+plane] = src[j]
			}
		}
	case f.planes > 1 && f.photometric == rgb:
		return func(dst, src []byte, plane int) {
			for i, j := 0, high; i < len(dst); i, j = i+4, j+sample {
				if plane < 3 {
					dst[i+plane], dst[i+3] = src[j], 255
					continue
				}
				a := src[j]
				dst[i], dst[i+1], dst[i+2] = unmultiplied(dst[i], a), unmultiplied(dst[i+1], a), unmultiplied(dst[i+2], a)
			}
		}
	case f.photometric == rgb:
		return func(dst, src []byte, _ int) {
			for i := 0; i < len(dst); i += 4 {
				d := dst[i : i+4 : i+4]
				s := src[high:]
				d[0], d[1], d[2], d[3] = s[0], s[sample], s[2*sample], 255
				if f.premultiplied {
					a := s[3*sample]
					d[0], d[1], d[2] = unmultiplied(d[0], a), unmultiplied(d[1], a), unmultiplied(d[2], a)
				}
				src = src[pixel:]
			}
		}
	case f.photometric == inks:
		return func(dst, src []byte, _ int) {
			for i := 0; i < len(dst); i += 4 {
				s := src[high:]
				inkPixel(dst[i:i+4], s[0], s[sample], s[2*sample], s[3*sample])
				src = src[pixel:]
			}
		}
	case f.photometric == ycbcr:
		return func(dst, src []byte, _ int) {
			for i := 0; i < len(dst); i += 4 {
				dst[i], dst[i+1], dst[i+2] = fullRange(src[0], src[1], src[2])
				dst[i+3] = 255
				src = src[pixel:]
			}
		}
	case f.photometric == cielab:
		return func(dst, src []byte, _ int) { labRow(dst, src, pixel) }
	}
	return f.grayRower(pixel, high)
}

// unmultiplied is divideAlpha, and nothing of what is wholly transparent.
func unmultiplied(v, a byte) byte {
	if a == 0 {
		return 0
	}
	return divideAlpha(v, a)
}

// inkPixel is Pillow's way from inks to RGB.
func inkPixel(dst []byte, c, m, y, k byte) {
	white := 255 - int(k)
	for i, ink := range [3]byte{c, m, y} {
		v := int(ink)*white + 128
		dst[i] = clip(white - (v>>8+v)>>8)
	}
	dst[3] = 255
}

// mix makes pixels of samples that came in planes and lie side by side.
func (f *tiffReader) mix(row []byte) {
	for i := 0; i < len(row); i += 4 {
		d := row[i : i+4 : i+4]
		switch f.photometric {
		case inks:
			inkPixel(d, d[0], d[1], d[2], d[3])
		case ycbcr:
			d[0], d[1], d[2] = f.colors.rgb(d[0], d[1], d[2])
		case cielab:
			labPixel(d, d[0], d[1], d[2])
		}
		d[3] = 255
	}
}

// empty is a pixel of a block that has no place.
func (f *tiffReader) empty() (d [4]byte) {
	switch f.photometric {
	case paletted:
		copy(d[:], f.palette[0][:])
	case inks:
		inkPixel(d[:], 0, 0, 0, 0)
	case ycbcr:
		d[0], d[1], d[2] = fullRange(0, 0, 0)
	case cielab:
		labPixel(d[:], 0, 0, 0)
	}
	d[3] = 255
	return d
}

// fullRange is JPEG's conversion, rounded as Pillow rounds it.
func fullRange(y, cb, cr byte) (r, g, b byte) {
	const bits = 6
	fix := func(c float64) int { return int(math.Round(c * (1 << bits))) }
	u, v := int(cb)-128, int(cr)-128
	return clip(int(y) + fix(1.402*float64(v))>>bits), clip(int(y) + (fix(-0.34414*float64(u))+fix(-0.71414*float64(v)))>>bits), clip(int(y) + fix(1.772*float64(u))>>bits)
}

// grayRower is rower of gray. Sixteen bits, and twelve, become eight by their
// highest; other wide samples are clipped.
func (f *tiffFile) grayRower(pixel, high int) func(dst, src []byte, plane int) {
	// Faxes have white as 0, whatever the file says of 0 (libtiff, tif_fax3.c).
	flip := byte(0)
	if f.photometric == whiteIsZero && f.bits <= 8 {
		flip = 255
	}
	if f.bits < 8 {
		var table [256][3]uint8
		for i := range 1 << f.bits {
			v := byte(i*255/(1<<f.bits-1)) ^ flip
			table[i] = [3]uint8{v, v, v}
		}
		return func(dst, src []byte, _ int) {
			paletteRow(dst, src, f.bits, &table, 256)
		}
	}
	value := func(src []byte) byte { return src[high] ^ flip }
	order := f.order
	if f.compression != uncompressed && f.predictor != floatDifferences {
		order = binary.LittleEndian // libtiff has made them so, but Pillow still takes those of the other order for it
	}
	switch {
	case f.bits == 12 && f.compression != jpegCode: // of a JPEG the highest eight are there
		return func(dst, src []byte, _ int) {
			for i := range len(dst) / 4 {
				at := i * 3 / 2
				v := src[at]
				if i&1 == 1 {
					v = v<<4 | src[at+1]>>4
				}
				d := dst[4*i:][:4]
				d[0], d[1], d[2], d[3] = v^flip, v^flip, v^flip, 255
			}
		}
	case f.bits == 16 && f.format == signed:
		value = func(src []byte) byte { return clip(int(int16(order.Uint16(src)))) }
	case f.bits == 32 && f.format == floating:
		value = func(src []byte) byte {
			v := math.Float32frombits(order.Uint32(src))
			return byte(max(0, min(255, v))) // NaN is anything
		}
	case f.bits == 32:
		value = func(src []byte) byte { return clip(int(int32(order.Uint32(src)))) }
	case f.bits == 8 && f.premultiplied && f.planes == 1:
		value = func(src []byte) byte { return divideAlpha(src[0]^flip, src[1]) }
	}
	return func(dst, src []byte, _ int) {
		for i := 0; i < len(dst); i += 4 {
			v := value(src)
			d := dst[i : i+4 : i+4]
			d[0], d[1], d[2], d[3] = v, v, v, 255
			src = src[pixel:]
		}
	}
}
