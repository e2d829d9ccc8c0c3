package patch

import (
	"encoding/binary"
	"errors"
	"image"
)

var errJXL = errors.New("not a whole JPEG XL file")

// jxlConfig reads the size of a JPEG XL file as decoders show it, turned
// (ISO/IEC 18181-1, size header and image metadata; 18181-2, boxes).
func jxlConfig(data []byte) (image.Config, error) {
	if matches(data, jxlContainer) {
		var code []byte
		_ = eachBox(data, func(kind string, _, body []byte) error {
			switch {
			case kind == "jxlc":
				code = body
			case kind == "jxlp" && len(body) >= 4:
				if n := binary.BigEndian.Uint32(body) &^ (1 << 31); n != 0 {
					return nil
				}
				code = body[4:]
			default:
				return nil
			}
			return errBoxesDone
		})
		data = code
	}
	if !matches(data, jxlCodestream) {
		return image.Config{}, errJXL
	}
	r := jxlBits{data: data[2:min(len(data), 32)]}
	small := r.bits(1) == 1
	size := func() int {
		if small {
			return 8 * (r.bits(5) + 1)
		}
		return 1 + r.bits([]int{9, 13, 18, 30}[r.bits(2)])
	}
	h := size()
	w := 0
	if ratio := r.bits(3); ratio > 0 {
		of := [8][2]int{1: {1, 1}, 2: {12, 10}, 3: {4, 3}, 4: {3, 2}, 5: {16, 9}, 6: {5, 4}, 7: {2, 1}}[ratio]
		w = int(int64(h) * int64(of[0]) / int64(of[1]))
	} else {
		w = size()
	}
	allDefault := r.bits(1) == 1
	if !allDefault && r.bits(1) == 1 && storage[r.bits(3)+1].transposed {
		w, h = h, w
	}
	if r.short {
		return image.Config{}, errJXL
	}
	return image.Config{Width: w, Height: h}, nil
}

// jxlBits reads bits, the least significant of each byte first.
type jxlBits struct {
	data  []byte
	at    int
	short bool
}

func (r *jxlBits) bits(n int) (v int) {
	for i := range n {
		if r.at/8 >= len(r.data) {
			r.short = true
			return 0
		}
		v |= int(r.data[r.at/8]>>(r.at%8)&1) << i
		r.at++
	}
	return v
}
