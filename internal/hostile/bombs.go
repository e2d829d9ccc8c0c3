package hostile

import (
	"hash/fnv"
	"math/rand/v2"
)

// Budget is how large the files of Bombs may be.
type Budget struct {
	Pixels int // that a file declares, about; some declare more on purpose
	Bytes  int // of a file, about
}

// Full is the budget of an attack on a server with its default limits.
var Full = Budget{Pixels: 49_000_000, Bytes: 2 << 20}

// Small is a budget for tests.
var Small = Budget{Pixels: 400_000, Bytes: 48 << 10}

// Attack is a hostile file.
type Attack struct {
	Format string // as patch names it: jpeg, png, gif, bmp, tiff, webp, dib, ico
	Kind   string // what is hostile about it
	// Whole says that the file is a picture by its format's own rules, so that a
	// decoder has to do all of its work; the others are broken somewhere.
	Whole bool
	Data  []byte
}

// maker makes the files of a kind.
type maker struct {
	kind  string
	whole bool
	make  func(rng *rand.Rand, b Budget) []byte
}

// formats in the order in which Bombs returns them.
func formats() []struct {
	name   string
	makers []maker
} {
	return []struct {
		name   string
		makers []maker
	}{
		{"jpeg", append(jpegMakers(), codedMakers()...)},
		{"png", pngMakers()},
		{"gif", gifMakers()},
		{"bmp", bmpMakers()},
		{"tiff", append(tiffMakers(), codedTIFFMakers()...)},
		{"webp", webpMakers()},
		{"dib", dibMakers()},
		{"ico", icoMakers()},
	}
}

// Bombs makes a file of every kind, at least ten kinds of each format. The same
// seed and budget give the same bytes; each seed has other sizes and values.
func Bombs(seed uint64, b Budget) []Attack {
	var all []Attack
	for _, f := range formats() {
		for _, m := range f.makers {
			h := fnv.New64a()
			_, _ = h.Write([]byte(f.name + "/" + m.kind)) // to memory
			rng := rand.New(rand.NewPCG(seed, h.Sum64()))
			all = append(all, Attack{Format: f.name, Kind: m.kind, Whole: m.whole, Data: m.make(rng, b)})
		}
	}
	return all
}

// size draws a size of about the given pixels, between 1:2 and 2:1, no edge
// longer than most.
func size(rng *rand.Rand, pixels, most int) (width, height int) {
	width = 1
	for width*width*2 < pixels {
		width++
	}
	width = min(width+rng.IntN(width+1), most)
	return width, max(1, min(pixels/width, most))
}

// noise is n bytes that no compressor shortens.
func noise(rng *rand.Rand, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}
