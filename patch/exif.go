package patch

import "encoding/binary"

// orientation returns the EXIF orientation of a file, 1 to 8, and 1 where
// there is none or it makes no sense. It looks at a file's own headers only,
// allocates nothing and never goes back, so hostile bytes cost one pass.
func orientation(format string, data []byte) int {
	switch format {
	case "jpeg":
		return tiffOrientation(jpegEXIF(data))
	case "png":
		return tiffOrientation(chunk(data[8:], binary.BigEndian, true, "eXIf"))
	case "webp":
		return tiffOrientation(chunk(data[12:], binary.LittleEndian, false, "EXIF"))
	case "tiff":
		return tiffOrientation(data)
	case HEIC, AVIF:
		return heifOrientation(data)
	}
	return 1
}

const exifHeader = "Exif\x00\x00"

// jpegEXIF returns the TIFF structure inside the first APP1 segment that has
// one, nil if there is none before the first scan.
func jpegEXIF(data []byte) (tiff []byte) {
	eachSegment(data, func(_ int, marker byte, body []byte) bool {
		const app1 = 0xe1
		if marker != app1 || !matches(body, exifHeader) {
			return false
		}
		tiff = body[len(exifHeader):]
		return true
	})
	return tiff
}

// eachSegment calls f for the marker segments of a JPEG up to the first scan's,
// with the place where each begins, until it returns true, and reports whether
// it did. It gives up at whatever is no plain segment: a decoder that reads on
// there might find another frame.
func eachSegment(data []byte, f func(at int, marker byte, body []byte) bool) bool {
	for i := 2; i+4 <= len(data) && data[i] == 0xff; {
		marker := data[i+1]
		if marker == 0xff { // fill byte
			i++
			continue
		}
		n := int(binary.BigEndian.Uint16(data[i+2:]))
		if marker < 0xc0 || marker >= 0xd0 && marker <= 0xd9 || n < 2 || i+2+n > len(data) {
			return false
		}
		if f(i, marker, data[i+4:i+2+n]) {
			return true
		}
		const sos = 0xda
		if marker == sos {
			return false
		}
		i += 2 + n
	}
	return false
}

// chunk returns the body of the first chunk called name of a PNG (length,
// name, body, checksum) or a RIFF file (name, length, body, padding to even).
func chunk(data []byte, order binary.ByteOrder, png bool, name string) []byte {
	for len(data) >= 8 {
		length, id := order.Uint32(data), string(data[4:8])
		if !png {
			length, id = order.Uint32(data[4:]), string(data[:4])
		}
		rest := data[8:]
		if uint64(length) > uint64(len(rest)) {
			return nil
		}
		if id == name {
			return rest[:length]
		}
		skip := int(length) + 4
		if !png {
			skip = int(length) + int(length&1)
		}
		data = rest[min(skip, len(rest)):]
	}
	return nil
}

// tiffOrientation reads the orientation of a TIFF structure (EXIF 2.32, 4.6.4).
func tiffOrientation(t []byte) int {
	const orientation = 0x0112
	if matches(t, exifHeader) { // some WebP writers leave it
		t = t[len(exifHeader):]
	}
	if v, ok := tiffValue(t, orientation); ok && v >= 1 && v <= 8 {
		return int(v)
	}
	return 1
}

// tiffValue returns the value of a tag of the first directory of a TIFF
// structure, which must be one number of 16 or 32 bits (TIFF 6.0, section 2).
func tiffValue(t []byte, tag uint16) (v uint32, ok bool) {
	if len(t) < 8 {
		return 0, false
	}
	var order binary.ByteOrder
	switch string(t[:2]) {
	case "II":
		order = binary.LittleEndian
	case "MM":
		order = binary.BigEndian
	default:
		return 0, false
	}
	at := uint64(order.Uint32(t[4:]))
	if at+2 > uint64(len(t)) {
		return 0, false
	}
	entries := t[at+2:]
	const short, long, entry = 3, 4, 12
	for range order.Uint16(t[at:]) {
		if len(entries) < entry {
			return 0, false
		}
		if order.Uint16(entries) == tag {
			kind, count := order.Uint16(entries[2:]), order.Uint32(entries[4:])
			switch {
			case kind == short && count == 1:
				return uint32(order.Uint16(entries[8:])), true
			case kind == long && count == 1:
				return order.Uint32(entries[8:]), true
			}
			return 0, false
		}
		entries = entries[entry:]
	}
	return 0, false
}
