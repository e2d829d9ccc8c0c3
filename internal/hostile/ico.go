package hostile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

const bmpFileHeader = 14

// made is makers whose files are what of makes of those of others of the kinds.
func made(others []maker, kinds []string, of func(file []byte) []byte) []maker {
	var all []maker
	for _, m := range others {
		if !slices.Contains(kinds, m.kind) {
			continue
		}
		make := m.make
		m.make = func(rng *rand.Rand, b Budget) []byte { return of(make(rng, b)) }
		all = append(all, m)
	}
	return all
}

// dibMakers are the kinds of hostile BMP without a file header.
func dibMakers() []maker {
	kinds := []string{
		"declared, nothing there", "declared, nothing there, one bit", "upside down", "the most negative height", "one bit, whole",
		"a palette of four thousand million colours", "runs that end at once", "runs of nothing", "runs that fill the picture", "runs of four bits, noise",
	}
	return made(bmpMakers(), kinds, func(file []byte) []byte { return file[bmpFileHeader:] })
}

// ico is an icon of one picture, which is said to be of so many bits, behind
// more places in its directory.
func ico(picture []byte, bits uint16, more int) []byte {
	le := binary.LittleEndian
	out := le.AppendUint16([]byte{0, 0, 1, 0}, uint16(1+more))
	entry := le.AppendUint16(make([]byte, 6), bits)
	entry = le.AppendUint32(entry, uint32(len(picture)))
	entry = le.AppendUint32(entry, uint32(6+16*(1+more)))
	return append(append(out, bytes.Repeat(entry, 1+more)...), picture...)
}

// icoMakers are the kinds of hostile ICO: BMP of twice the rows with a mask, PNG,
// and directories.
func icoMakers() []maker {
	kinds := []string{"declared, nothing there", "the most negative height", "one bit, whole", "runs of nothing", "runs that fill the picture"}
	bmps := made(bmpMakers(), kinds, func(file []byte) []byte {
		file = file[bmpFileHeader:]
		w, h := int(binary.LittleEndian.Uint32(file[4:])), binary.LittleEndian.Uint32(file[8:])
		binary.LittleEndian.PutUint32(file[8:], 2*h)
		mask := 0
		if w < 1<<16 && h < 1<<16 {
			mask = (w + 31) / 32 * 4 * int(h)
		}
		if mask > 6*len(file) {
			mask = 0
		}
		return ico(append(file, make([]byte, mask)...), 8, 0)
	})
	for i := range bmps {
		bmps[i].kind = "bmp: " + bmps[i].kind
		bmps[i].whole = false // some are without their mask
	}
	kinds = []string{"zeros far beyond the picture", "declared, nothing there", "data one byte a chunk", "empty chunks of data"}
	pngs := made(pngMakers(), kinds, func(file []byte) []byte { return ico(file, 32, 0) })
	for i := range pngs {
		pngs[i].kind = "png: " + pngs[i].kind
	}
	return append(append(bmps, pngs...), maker{"a directory of sixty thousand places", true, func(rng *rand.Rand, b Budget) []byte {
		return ico(bmp(64, 128, 1, 0, 2, make([]byte, 8), noise(rng, 8*128))[bmpFileHeader:], 1, min(60_000, b.Bytes/16))
	}})
}
