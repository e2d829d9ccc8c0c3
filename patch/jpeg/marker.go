package jpeg

import "bytes"

// Markers (T.81, table B.1).
const (
	tem              = 0x01
	sof0, sof1, sof2 = 0xc0, 0xc1, 0xc2
	sof3             = 0xc3
	dht, jpg, dac    = 0xc4, 0xc8, 0xcc
	sof9, sof10      = 0xc9, 0xca
	sof15            = 0xcf
	rst0, rst7       = 0xd0, 0xd7
	soi, eoi, sos    = 0xd8, 0xd9, 0xda
	dqt, dnl, dri    = 0xdb, 0xdc, 0xdd
	app0, app14      = 0xe0, 0xee
	app15, com       = 0xef, 0xfe
)

// stream is the bytes of a file and how far they are read.
type stream struct {
	data   []byte
	at     int
	marker byte // found and not dealt with; 0: none
	ended  bool // the file did before arithmetic code
}

// next finds the next marker and passes over what lies before it, as libjpeg
// does: bytes that belong to nothing, data and fill bytes. It reports whether
// there is one.
func (s *stream) next() bool {
	for {
		i := bytes.IndexByte(s.data[s.at:], 0xff)
		if i < 0 {
			s.at = len(s.data)
			return false
		}
		s.at += i
		for s.at < len(s.data) && s.data[s.at] == 0xff {
			s.at++
		}
		if s.at == len(s.data) {
			return false
		}
		s.at++
		if m := s.data[s.at-1]; m != 0 {
			s.marker = m
			return true
		}
	}
}

// torn reports whether what there is of a segment that the file's end cuts off
// is wrong already, which libjpeg finds before it waits for more.
func (r *Reader) torn(marker byte, b []byte) bool {
	if marker >= sof0 && marker <= sof3 || marker == sof9 || marker == sof10 {
		return r.Width > 0 // a second frame
	}
	if len(b) < 3 {
		return len(b) == 2 && marker == dri && string(b) != "\x00\x04"
	}
	length := int(b[0])<<8 | int(b[1])
	switch marker {
	case dri:
		return length != 4
	case dqt:
		return tables(b[2:])
	case dac:
		return !conditions(b[2 : 2+min(len(b)-2, length-2)/2*2])
	case sos:
		return b[2] < 1 || b[2] > 4 || length != 6+2*int(b[2])
	case dht:
		for left, b := length-2, b[2:]; left > 16 && len(b) >= 17; {
			n := 0
			for _, count := range b[1:17] {
				n += int(count)
			}
			if n > 256 || n > left-17 {
				return true
			}
			if len(b) < 17+n {
				break
			}
			left, b = left-17-n, b[17+n:]
		}
	}
	return false
}

// tables reports whether one of the quantization tables that b begins with has a
// number that there is not.
func tables(b []byte) bool {
	for len(b) > 0 {
		if b[0]&15 > 3 {
			return true
		}
		n := 65
		if b[0]>>4 > 0 {
			n = 129
		}
		b = b[min(n, len(b)):]
	}
	return false
}

// conditions reports whether b is conditioning of arithmetic coding (B.2.4.3).
func conditions(b []byte) bool {
	for ; len(b) > 1; b = b[2:] {
		if b[0] > 31 || b[0] < 16 && b[1]&15 > b[1]>>4 {
			return false
		}
	}
	return len(b) == 0
}

// body reads a marker's segment; false is its end beyond that of the file. A
// length that does not even count itself is that of an empty segment, but not
// where the segment has to be understood.
func (s *stream) body() ([]byte, bool) {
	if len(s.data)-s.at < 2 {
		return nil, false
	}
	n := max(2, int(s.data[s.at])<<8|int(s.data[s.at+1]))
	if n > len(s.data)-s.at {
		return nil, false
	}
	b := s.data[s.at+2 : s.at+n]
	s.at += n
	return b, true
}

// bare reports whether a marker has no segment.
func bare(marker byte) bool { return marker == tem || marker >= rst0 && marker <= rst7 }

// skipped reports whether a segment is passed over: comments, applications'
// and the number of lines, which nobody reads.
func skipped(marker byte) bool {
	return marker >= app0 && marker <= app15 || marker == com || marker == dnl || marker == dac
}
