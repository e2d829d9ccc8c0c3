package patch

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math"
)

// orientation returns the EXIF orientation of a file, 1 to 8, and 1 where
// there is none or it makes no sense. It is what Pillow's ImageOps.exif_transpose
// undoes: that of the file's EXIF, and where that has none, that of its XMP. It
// looks at a file's own headers, in one pass, and unpacks at most two texts, of
// 1 MB each.
func orientation(format string, data []byte) int {
	var exif, xmp []byte
	switch format {
	case "jpeg":
		exif, xmp = jpegMetadata(data)
	case "png":
		exif, xmp = pngMetadata(data)
	case "webp":
		exif, xmp = webpMetadata(data)
	case "tiff":
		exif, xmp = data, tiffXMP(data)
	case HEIC, AVIF:
		return heifOrientation(data)
	}
	return undone(exif, xmp)
}

// undone is the orientation that an EXIF and an XMP block give.
func undone(exif, xmp []byte) int {
	if n, ok := exifOrientation(exif); ok {
		return n
	}
	return xmpOrientation(xmp)
}

const (
	exifHeader = "Exif\x00\x00"
	xmpHeader  = "http://ns.adobe.com/xap/1.0/\x00"
)

// jpegMetadata returns what a JPEG says before its first scan: all its EXIF
// segments as one, and its last XMP segment.
func jpegMetadata(data []byte) (exif, xmp []byte) {
	const app1 = 0xe1
	eachSegment(data, func(marker byte, body []byte) {
		switch {
		case marker == app1 && matches(body, exifHeader):
			if exif == nil {
				exif = body[:len(body):len(body)]
			} else {
				exif = append(exif, body[len(exifHeader):]...)
			}
		case marker == app1 && matches(body, xmpHeader):
			xmp = body[len(xmpHeader):]
		}
	})
	return exif, xmp
}

// eachSegment calls f for the marker segments of a JPEG up to the first scan's.
// Bytes between segments are skipped.
func eachSegment(data []byte, f func(marker byte, body []byte)) {
	const sos = 0xda
	for i := 2; ; {
		next := bytes.IndexByte(data[min(i, len(data)):], 0xff)
		if next < 0 || i+next+4 > len(data) {
			return
		}
		i += next
		marker := data[i+1]
		switch {
		case marker == 0xff: // a fill byte
			i++
			continue
		case marker == 0 || marker == 0xc8 || marker >= 0xd0 && marker <= 0xd9 || marker >= 0xf0 && marker <= 0xfd: // no length
			i += 2
			continue
		}
		n := int(binary.BigEndian.Uint16(data[i+2:]))
		if marker < 0xc0 || marker == sos || n < 2 || i+2+n > len(data) {
			return
		}
		f(marker, data[i+4:i+2+n])
		i += 2 + n
	}
}

// Keywords of a PNG's texts.
const (
	rawEXIF = "Raw profile type exif"
	xmpText = "XML:com.adobe.xmp"
)

// pngMetadata returns what the chunks of a PNG say, before and behind the
// pixels, the last of each kind. ImageMagick writes EXIF as hexadecimal text.
func pngMetadata(data []byte) (exif, xmp []byte) {
	var raw, packet pngText
	for rest := data[8:]; len(rest) >= 8; {
		length, name := uint64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		rest = rest[8:]
		if name == "IEND" || length > uint64(len(rest)) {
			break
		}
		body := rest[:length]
		switch name {
		case "eXIf":
			exif = body
		case "tEXt", "zTXt", "iTXt":
			keyword, text, _ := bytes.Cut(body, []byte{0})
			switch string(keyword) {
			case "exif":
				if name == "tEXt" {
					exif = text
				}
			case rawEXIF:
				raw = pngText{name, text}
			case xmpText:
				packet = pngText{name, text}
			}
		}
		rest = rest[min(length+4, uint64(len(rest))):]
	}
	if exif == nil {
		exif = unhex(raw.text())
	}
	return exif, packet.text()
}

// pngText is a text chunk without its keyword.
type pngText struct {
	chunk string
	body  []byte
}

// text unpacks it (PNG, 11.3.3), nil if it cannot be.
func (t pngText) text() []byte {
	const flags = 2 // compressed or not, and how
	body := t.body
	packed := t.chunk == "zTXt"
	switch {
	case packed && len(body) > 0:
		body = body[1:]
	case t.chunk == "iTXt" && len(body) >= flags:
		packed = body[0] != 0
		_, body, _ = bytes.Cut(body[flags:], []byte{0}) // the language
		_, body, _ = bytes.Cut(body, []byte{0})         // the keyword in it
	}
	if !packed {
		return body
	}
	const most = 1 << 20
	z, err := zlib.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(z, most))
	if err != nil {
		return nil
	}
	return text
}

// unhex reads the hexadecimal digits of a raw profile, which follow three lines:
// an empty one, its name and its length.
func unhex(text []byte) []byte {
	for range 3 {
		_, after, ok := bytes.Cut(text, []byte("\n"))
		if !ok {
			return nil
		}
		text = after
	}
	digits := bytes.Join(bytes.Fields(text), nil)
	out := make([]byte, len(digits)/2)
	if _, err := hex.Decode(out, digits); err != nil {
		return nil
	}
	return out
}

// webpMetadata returns the first chunk of each kind that the extended header
// announces (RFC 9649, section 2.7).
func webpMetadata(data []byte) (exif, xmp []byte) {
	const hasXMP, hasEXIF = 4, 8
	chunks := data[min(12, len(data)):]
	if !matches(chunks, "VP8X") || len(chunks) < 9 {
		return nil, nil
	}
	if chunks[8]&hasEXIF != 0 {
		exif = chunk(chunks, "EXIF")
	}
	if chunks[8]&hasXMP != 0 {
		xmp = chunk(chunks, "XMP ")
	}
	return exif, xmp
}

// chunk returns the body of the first chunk of a RIFF file that is called name
// (name, length, body, padding to even).
func chunk(data []byte, name string) []byte {
	body, _ := nextChunk(data, name)
	return body
}

// nextChunk is chunk, and what follows it.
func nextChunk(data []byte, name string) (body, after []byte) {
	for len(data) >= 8 {
		length, id := uint64(binary.LittleEndian.Uint32(data[4:])), string(data[:4])
		rest := data[8:]
		if length > uint64(len(rest)) {
			return nil, nil
		}
		data = rest[min(length+length&1, uint64(len(rest))):]
		if id == name {
			return rest[:length], data
		}
	}
	return nil, nil
}

// exifOrientation reads the orientation of a TIFF structure (EXIF 2.32, 4.6.4),
// the first of any numeric type; ok is false if it has none. Of bytes and texts,
// which ought to be none, nothing is made.
func exifOrientation(t []byte) (n int, ok bool) {
	for range 2 { // some writers leave the header, or write it twice
		t = bytes.TrimPrefix(t, []byte(exifHeader))
	}
	const tag = 0x0112
	d, err := openDirectory(t)
	if err != nil {
		return 1, false
	}
	v, ok := d.find(tag)
	if !ok || v.len() == 0 {
		return 1, false
	}
	f := v.float(0)
	if v.kind == tiffByte || v.kind == tiffASCII || v.kind == tiffUndefined || f != math.Trunc(f) || f < 1 || f > 8 {
		return 1, true
	}
	return int(f), true
}

// xmpOrientation finds tiff:Orientation in an XMP packet, as an attribute or an
// element.
func xmpOrientation(xmp []byte) int {
	const name = "tiff:Orientation"
	for {
		at := bytes.Index(xmp, []byte(name))
		if at < 0 {
			return 1
		}
		xmp = xmp[at+len(name):]
		for _, before := range []string{`="`, `>`} {
			if v, ok := bytes.CutPrefix(xmp, []byte(before)); ok && len(v) > 0 && v[0] >= '0' && v[0] <= '9' {
				if v[0] >= '1' && v[0] <= '8' {
					return int(v[0] - '0')
				}
				return 1
			}
		}
	}
}

// tiffXMP is the packet of a TIFF's own tag.
func tiffXMP(data []byte) []byte {
	const tag = 700
	d, err := openDirectory(data)
	if err != nil {
		return nil
	}
	v, _ := d.find(tag)
	return v.raw
}
