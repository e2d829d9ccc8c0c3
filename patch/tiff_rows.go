package patch

import (
	"encoding/binary"
	"math"
)

// rower returns the conversion of a row of samples to opaque RGBA, as Pillow's
// convert("RGB") has it, or of one plane's to its channel.
func (f *tiffFile) rower() func(dst, src []byte, plane int) error {
	high, sample := 0, max(f.bits/8, 1) // the high byte comes second
	if f.bits == 16 && f.order == binary.ByteOrder(binary.LittleEndian) {
		high = 1
	}
	pixel := sample * f.samples / f.planes
	switch {
	case f.photometric == paletted:
		return func(dst, src []byte, plane int) error {
			switch {
			case plane > 0:
				return nil
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
			return nil
		}
	case f.planes > 1 && f.photometric == rgb:
		return func(dst, src []byte, plane int) error {
			if plane < 3 {
				for i, j := 0, high; i < len(dst); i, j = i+4, j+sample {
					dst[i+plane], dst[i+3] = src[j], 255
				}
			}
			return nil
		}
	case f.photometric == rgb:
		return func(dst, src []byte, _ int) error {
			for i := 0; i < len(dst); i += 4 {
				d := dst[i : i+4 : i+4]
				s := src[high:]
				d[0], d[1], d[2], d[3] = s[0], s[sample], s[2*sample], 255
				if f.premultiplied {
					a := s[3*sample]
					d[0], d[1], d[2] = divideAlpha(d[0], a), divideAlpha(d[1], a), divideAlpha(d[2], a)
				}
				src = src[pixel:]
			}
			return nil
		}
	case f.photometric == inks:
		return func(dst, src []byte, _ int) error {
			for i := 0; i < len(dst); i += 4 {
				s := src[high:]
				k := 255 - int(s[3*sample])
				for c := range 3 {
					v := int(s[c*sample])*k + 128
					dst[i+c] = clip(k - (v>>8+v)>>8)
				}
				dst[i+3] = 255
				src = src[pixel:]
			}
			return nil
		}
	case f.photometric == ycbcr:
		return func(dst, src []byte, _ int) error {
			for i := 0; i < len(dst); i += 4 {
				dst[i], dst[i+1], dst[i+2] = fullRange(src[0], src[1], src[2])
				dst[i+3] = 255
				src = src[pixel:]
			}
			return nil
		}
	}
	return f.grayRower(pixel, high)
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
func (f *tiffFile) grayRower(pixel, high int) func(dst, src []byte, plane int) error {
	// The codes of faxes speak of white and black runs. Written as numbers white
	// is 0, whatever the file says of 0 (libtiff, tif_fax3.c); the decoder makes
	// white 1 where the file says that 0 is black, which would be a negative.
	fax := f.compression == group3 || f.compression == group4
	flip := byte(0)
	if f.photometric == whiteIsZero || fax && f.photometric == blackIsZero {
		flip = 255
	}
	if f.bits < 8 {
		var table [256][3]uint8
		for i := range 1 << f.bits {
			v := byte(i*255/(1<<f.bits-1)) ^ flip
			table[i] = [3]uint8{v, v, v}
		}
		return func(dst, src []byte, _ int) error {
			paletteRow(dst, src, f.bits, &table, 256)
			return nil
		}
	}
	value := func(src []byte) byte { return src[high] ^ flip }
	order := f.order
	switch {
	case f.bits == 12:
		return func(dst, src []byte, _ int) error {
			for i := range len(dst) / 4 {
				at := i * 3 / 2
				v := src[at]
				if i&1 == 1 {
					v = v<<4 | src[at+1]>>4
				}
				d := dst[4*i:][:4]
				d[0], d[1], d[2], d[3] = v^flip, v^flip, v^flip, 255
			}
			return nil
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
	return func(dst, src []byte, plane int) error {
		if plane > 0 {
			return nil
		}
		for i := 0; i < len(dst); i += 4 {
			v := value(src)
			d := dst[i : i+4 : i+4]
			d[0], d[1], d[2], d[3] = v, v, v, 255
			src = src[pixel:]
		}
		return nil
	}
}
