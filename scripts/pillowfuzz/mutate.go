package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"

	"github.com/vitserve/vitserve/internal/hostile"
)

// piece is a marker segment of a JPEG, or a chunk of a PNG, with the
// entropy-coded data that follow it.
type piece struct {
	marker byte
	body   []byte // behind the length
	data   []byte // entropy-coded
}

// split parses a JPEG that begins as one; what is no segment is data.
func split(file []byte) (pieces []piece) {
	rest := file[min(2, len(file)):]
	for len(rest) > 1 {
		if rest[0] != 0xff || rest[1] == 0 || rest[1] == 0xff || rest[1]&0xf8 == 0xd0 || rest[1] == 1 {
			if len(pieces) == 0 {
				pieces = append(pieces, piece{marker: 0xfe})
			}
			p := &pieces[len(pieces)-1]
			p.data = append(p.data, rest[0])
			rest = rest[1:]
			continue
		}
		p := piece{marker: rest[1]}
		if p.marker == 0xd9 || p.marker == 0xd8 {
			pieces = append(pieces, p)
			rest = rest[2:]
			continue
		}
		n := 0
		if len(rest) >= 4 {
			n = int(binary.BigEndian.Uint16(rest[2:]))
		}
		if n < 2 || n+2 > len(rest) {
			return append(pieces, piece{marker: 0xfe, data: bytes.Clone(rest)})
		}
		p.body = bytes.Clone(rest[4 : 2+n])
		pieces = append(pieces, p)
		rest = rest[2+n:]
	}
	return pieces
}

func join(pieces []piece) []byte {
	out := []byte{0xff, 0xd8}
	for _, p := range pieces {
		out = append(out, 0xff, p.marker)
		if p.marker != 0xd9 && p.marker != 0xd8 {
			out = binary.BigEndian.AppendUint16(out, uint16(len(p.body)+2))
			out = append(out, p.body...)
		}
		out = append(out, p.data...)
	}
	return out
}

// find returns the index of a random piece that is wanted, or -1.
func find(rng *rand.Rand, pieces []piece, wanted func(piece) bool) int {
	for _, i := range rng.Perm(len(pieces)) {
		if wanted(pieces[i]) {
			return i
		}
	}
	return -1
}

func isFrame(p piece) bool {
	return p.marker >= 0xc0 && p.marker <= 0xcf && p.marker != 0xc4 && p.marker != 0xc8 && p.marker != 0xcc && len(p.body) > 8
}

func isScan(p piece) bool { return p.marker == 0xda && len(p.body) >= 6 }

// mutateJPEG spoils a JPEG where its structure is known.
func mutateJPEG(rng *rand.Rand, file []byte) []byte {
	if len(file) < 4 || file[0] != 0xff || file[1] != 0xd8 {
		return hostile.Mutate(rng, file)
	}
	p := split(file)
	if len(p) == 0 {
		return hostile.Mutate(rng, file)
	}
	any := func(piece) bool { return true }
	at := func(wanted func(piece) bool, change func(p *piece)) {
		if i := find(rng, p, wanted); i >= 0 {
			change(&p[i])
		}
	}
	switch rng.IntN(24) {
	case 0: // a segment gone
		i := rng.IntN(len(p))
		p = append(p[:i:i], p[i+1:]...)
	case 1: // a segment again, somewhere
		i, j := rng.IntN(len(p)), rng.IntN(len(p)+1)
		p = append(p[:j:j], append([]piece{p[i]}, p[j:]...)...)
	case 2: // two in each other's place
		i, j := rng.IntN(len(p)), rng.IntN(len(p))
		p[i], p[j] = p[j], p[i]
	case 3: // a byte of a header
		at(func(p piece) bool { return len(p.body) > 0 }, func(p *piece) { p.body[rng.IntN(len(p.body))] = byte(rng.Uint32()) })
	case 4: // sampling
		at(isFrame, func(p *piece) { p.body[7+3*rng.IntN(max(1, (len(p.body)-6)/3))] = byte(rng.IntN(5)<<4 | rng.IntN(5)) })
	case 5: // size
		at(isFrame, func(p *piece) { p.body[2+2*rng.IntN(2)] = byte(rng.IntN(120)) })
	case 6: // the kind of frame
		at(isFrame, func(p *piece) { p.marker = []byte{0xc0, 0xc1, 0xc2, 0xc3, 0xc9, 0xca}[rng.IntN(6)] })
	case 7: // the numbers of a scan
		at(isScan, func(p *piece) {
			p.body[len(p.body)-1-rng.IntN(3)] = []byte{0, 1, 0x10, 0x21, 5, 63, byte(rng.Uint32())}[rng.IntN(7)]
		})
	case 8: // tables or names of a scan's components
		at(isScan, func(p *piece) { p.body[1+rng.IntN(len(p.body)-4)] = []byte{0, 1, 2, 3, 0x11, 0x01, 0x22}[rng.IntN(7)] })
	case 9, 10: // restart intervals
		i := find(rng, p, func(p piece) bool { return p.marker == 0xdd })
		dri := piece{marker: 0xdd, body: []byte{0, byte(rng.IntN(9))}}
		if i >= 0 {
			p[i] = dri
		} else {
			j := rng.IntN(len(p))
			p = append(p[:j:j], append([]piece{dri}, p[j:]...)...)
		}
	case 11: // restart markers in data
		at(isScan, func(p *piece) {
			if n := len(p.data); n > 0 {
				j := rng.IntN(n)
				p.data = bytes.Join([][]byte{p.data[:j], {0xff, byte(0xd0 + rng.IntN(8))}, p.data[j:]}, nil)
			}
		})
	case 12, 13: // restart markers lost or of another number
		at(func(p piece) bool { return isScan(p) && restartAt(p.data, 0) >= 0 }, func(p *piece) {
			var all []int
			for j := restartAt(p.data, 0); j >= 0; j = restartAt(p.data, j+2) {
				all = append(all, j)
			}
			j := all[rng.IntN(len(all))]
			if rng.IntN(2) == 0 {
				p.data[j+1] = byte(0xd0 + rng.IntN(8))
			} else {
				p.data = append(p.data[:j:j], p.data[j+2:]...)
			}
		})
	case 14: // data end early
		at(isScan, func(p *piece) { p.data = p.data[:len(p.data)-rng.IntN(min(len(p.data), 40)+1)] })
	case 15: // more data than there ought to be
		at(isScan, func(p *piece) { p.data = append(p.data, bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(20))...) })
	case 16: // a bit of the data
		at(func(p piece) bool { return len(p.data) > 0 }, func(p *piece) { p.data[rng.IntN(len(p.data))] ^= 1 << rng.IntN(8) })
	case 17: // stray bytes between segments
		at(any, func(p *piece) { p.data = append(p.data, bytes.Repeat([]byte{byte(rng.IntN(255))}, 1+rng.IntN(5))...) })
	case 18: // fill bytes
		at(any, func(p *piece) { p.data = append(p.data, bytes.Repeat([]byte{0xff}, 1+rng.IntN(4))...) })
	case 19: // no Huffman tables
		var left []piece
		for _, q := range p {
			if q.marker != 0xc4 {
				left = append(left, q)
			}
		}
		p = left
	case 20: // padding in place of the end, or nothing
		if p[len(p)-1].marker == 0xd9 {
			p = p[:len(p)-1]
		}
		if len(p) > 0 {
			p[len(p)-1].data = append(p[len(p)-1].data, make([]byte, rng.IntN(60))...)
		}
	case 21: // colours
		j := rng.IntN(len(p))
		adobe := piece{marker: 0xee, body: append([]byte("Adobe\x00\x64\x00\x00\x00\x00"), byte(rng.IntN(4)))}
		p = append(p[:j:j], append([]piece{adobe}, p[j:]...)...)
	case 22: // segments shorter or longer than what they hold
		at(func(p piece) bool { return len(p.body) > 1 }, func(p *piece) {
			if rng.IntN(2) == 0 {
				p.body = p.body[:len(p.body)-1-rng.IntN(min(len(p.body)-1, 4))]
			} else {
				p.body = append(p.body, make([]byte, 1+rng.IntN(4))...)
			}
		})
	default:
		return hostile.Mutate(rng, file)
	}
	return join(p)
}

// restartAt returns where the next restart marker is, or -1.
func restartAt(data []byte, from int) int {
	for i := from; i+1 < len(data); i++ {
		if data[i] == 0xff && data[i+1]&0xf8 == 0xd0 {
			return i
		}
	}
	return -1
}

// mutate spoils a file of a format.
func mutate(rng *rand.Rand, format string, file []byte) []byte {
	for range 1 + rng.IntN(2)*rng.IntN(3) {
		if len(file) == 0 {
			return []byte{0}
		}
		switch format {
		case "jpeg":
			file = mutateJPEG(rng, file)
		case "tiff":
			file = mutateTIFF(rng, file)
		default:
			file = hostile.Mutate(rng, file)
		}
	}
	if format == "png" && rng.IntN(4) > 0 {
		mend(file)
	}
	return file
}

// mend puts right the checksums of a PNG's chunks.
func mend(file []byte) {
	for at := 8; at+12 <= len(file); {
		n := int(binary.BigEndian.Uint32(file[at:]))
		if n > len(file)-at-12 {
			return
		}
		binary.BigEndian.PutUint32(file[at+8+n:], crc32.ChecksumIEEE(file[at+4:at+8+n]))
		at += 12 + n
	}
}
