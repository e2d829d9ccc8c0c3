package patch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Types of TIFF values (TIFF 6.0, section 2, and BigTIFF).
const (
	tiffByte, tiffASCII, tiffShort, tiffLong, tiffRational = 1, 2, 3, 4, 5
	tiffSByte, tiffUndefined, tiffSShort, tiffSLong        = 6, 7, 8, 9
	tiffSRational, tiffFloat, tiffDouble, tiffIFD          = 10, 11, 12, 13
	tiffLong8, tiffSLong8, tiffIFD8                        = 16, 17, 18
)

// tiffSizes are the bytes of one value of each type.
var tiffSizes = [...]int{
	tiffByte: 1, tiffASCII: 1, tiffShort: 2, tiffLong: 4, tiffRational: 8, tiffSByte: 1, tiffUndefined: 1, tiffSShort: 2,
	tiffSLong: 4, tiffSRational: 8, tiffFloat: 4, tiffDouble: 8, tiffIFD: 4, tiffLong8: 8, tiffSLong8: 8, tiffIFD8: 8,
}

// directory is the first one of a TIFF structure, whose tags may be in any
// order.
type directory struct {
	data    []byte
	order   binary.ByteOrder
	big     bool   // BigTIFF: numbers of eight bytes
	entries []byte // as far as they are there
}

var errNoTIFF = errors.New("no TIFF header")

func openDirectory(data []byte) (d directory, err error) {
	d = directory{data: data, order: binary.LittleEndian}
	if len(data) < 8 {
		return d, errNoTIFF
	}
	switch string(data[:4]) {
	case "II*\x00", "II\x00*":
	case "MM\x00*", "MM*\x00":
		d.order = binary.BigEndian
	case "II+\x00":
		d.big = true
	case "MM\x00+":
		d.big, d.order = true, binary.BigEndian
	default:
		return d, errNoTIFF
	}
	at, width := uint64(d.order.Uint32(data[4:])), uint64(2)
	if d.big {
		if width = 8; len(data) < 16 {
			return d, errNoTIFF
		}
		at = d.order.Uint64(data[8:])
	}
	if at > uint64(len(data)) || uint64(len(data))-at < width {
		return d, fmt.Errorf("directory at byte %d of %d", at, len(data))
	}
	rest := data[at+width:]
	n := uint64(d.order.Uint16(data[at:]))
	if d.big {
		n = d.order.Uint64(data[at:])
	}
	d.entries = rest[:min(n, uint64(len(rest)/d.entry()))*uint64(d.entry())]
	return d, nil
}

// entry is the bytes of one.
func (d directory) entry() int {
	if d.big {
		return 20
	}
	return 12
}

// find returns the values of a tag, the first that makes sense if there are
// several of them; ok is false if there is none.
func (d directory) find(tag uint16) (v tiffValues, ok bool) {
	return d.first(tag, math.MaxUint64)
}

// first is find for at most so many values; there may be fewer than the tag
// says.
func (d directory) first(tag uint16, most uint64) (v tiffValues, ok bool) {
	for e := d.entries; len(e) > 0; e = e[d.entry():] {
		if d.order.Uint16(e) != tag {
			continue
		}
		kind := int(d.order.Uint16(e[2:]))
		if kind >= len(tiffSizes) || tiffSizes[kind] == 0 {
			continue
		}
		count, inline, at := uint64(d.order.Uint32(e[4:])), e[8:12], uint64(d.order.Uint32(e[8:]))
		if d.big {
			count, inline, at = d.order.Uint64(e[4:]), e[12:20], d.order.Uint64(e[12:])
		}
		size := uint64(tiffSizes[kind])
		outside := count > uint64(len(inline))/size
		count = min(count, most)
		v = tiffValues{order: d.order, kind: kind, size: int(size), raw: inline}
		if outside {
			if at > uint64(len(d.data)) {
				continue
			}
			v.raw = d.data[at:]
		}
		if count > uint64(len(v.raw))/size {
			continue
		}
		v.raw = v.raw[:count*size]
		return v, true
	}
	return tiffValues{}, false
}

// number is the first value of a tag, otherwise if there is none.
func (d directory) number(tag uint16, otherwise int) int {
	if v, ok := d.find(tag); ok && v.len() > 0 {
		if f := v.float(0); math.Abs(f) <= math.MaxInt32*2 {
			return int(f)
		}
	}
	return otherwise
}

// tiffValues are the numbers of a tag.
type tiffValues struct {
	order binary.ByteOrder
	kind  int
	size  int // bytes of one
	raw   []byte
}

func (v tiffValues) len() int { return len(v.raw) / max(v.size, 1) }

// at is a value that is a place or a length.
func (v tiffValues) at(i int) int64 {
	f := v.float(i)
	if !(f >= 0 && f <= 1<<53) {
		return math.MaxInt64 / 4
	}
	return int64(f)
}

// float is a value of any type as a number.
func (v tiffValues) float(i int) float64 {
	b := v.raw[i*v.size:]
	switch v.kind {
	case tiffShort:
		return float64(v.order.Uint16(b))
	case tiffLong, tiffIFD:
		return float64(v.order.Uint32(b))
	case tiffSByte:
		return float64(int8(b[0]))
	case tiffSShort:
		return float64(int16(v.order.Uint16(b)))
	case tiffSLong:
		return float64(int32(v.order.Uint32(b)))
	case tiffRational:
		return float64(v.order.Uint32(b)) / float64(v.order.Uint32(b[4:]))
	case tiffSRational:
		return float64(int32(v.order.Uint32(b))) / float64(int32(v.order.Uint32(b[4:])))
	case tiffFloat:
		return float64(math.Float32frombits(v.order.Uint32(b)))
	case tiffDouble:
		return math.Float64frombits(v.order.Uint64(b))
	case tiffLong8, tiffIFD8:
		return float64(v.order.Uint64(b))
	case tiffSLong8:
		return float64(int64(v.order.Uint64(b)))
	}
	return float64(b[0])
}
