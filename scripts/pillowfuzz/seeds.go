package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/vitserve/vitserve/internal/hostile"
)

// choices are the modes and options with which Pillow writes a format.
type choices struct {
	modes   []string
	options func(rng *rand.Rand) map[string]any
}

// pick returns one of values.
func pick[T any](rng *rand.Rand, values ...T) T { return values[rng.IntN(len(values))] }

// writers is what Pillow writes of each format.
func writers() map[string]choices {
	return map[string]choices{
		"jpeg": {[]string{"L", "RGB", "RGB", "RGB", "CMYK", "YCbCr"}, func(rng *rand.Rand) map[string]any {
			o := map[string]any{"quality": 1 + rng.IntN(100), "subsampling": pick(rng, "4:4:4", "4:2:2", "4:2:0", "4:2:0"), "progressive": rng.IntN(2) == 0, "optimize": rng.IntN(2) == 0}
			if rng.IntN(3) == 0 {
				o[pick(rng, "restart_marker_blocks", "restart_marker_rows")] = 1 + rng.IntN(4)
			}
			if rng.IntN(5) == 0 {
				o["keep_rgb"] = true
			}
			if rng.IntN(5) == 0 {
				o["streamtype"] = pick(rng, 1, 2)
			}
			return o
		}},
		"png": {[]string{"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}, func(rng *rand.Rand) map[string]any {
			return map[string]any{"compress_level": rng.IntN(10), "bits": pick(rng, 1, 2, 4, 8)}
		}},
		"gif": {[]string{"1", "L", "P", "RGB", "RGBA"}, func(rng *rand.Rand) map[string]any {
			return map[string]any{"interlace": rng.IntN(2), "frames": pick(rng, 0, 0, 2), "disposal": rng.IntN(4)}
		}},
		"bmp": {[]string{"1", "L", "P", "RGB", "RGBA"}, func(*rand.Rand) map[string]any { return map[string]any{} }},
		"dib": {[]string{"1", "L", "P", "RGB", "RGBA"}, func(*rand.Rand) map[string]any { return map[string]any{} }},
		"ico": {[]string{"1", "L", "P", "RGB", "RGBA"}, func(rng *rand.Rand) map[string]any {
			return map[string]any{"bitmap_format": pick(rng, "bmp", "bmp", "png")}
		}},
		"tiff": {[]string{"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"}, func(rng *rand.Rand) map[string]any {
			return map[string]any{"compression": pick(rng, "raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "group3", "group4", "tiff_ccitt", "tiff_raw_16", "jpeg", "lzma")}
		}},
		"webp": {[]string{"L", "RGB", "RGBA"}, func(rng *rand.Rand) map[string]any {
			return map[string]any{"lossless": rng.IntN(2) == 0, "quality": rng.IntN(101), "alpha_quality": rng.IntN(101), "method": rng.IntN(7), "exact": rng.IntN(2) == 0, "frames": pick(rng, 0, 0, 0, 2)}
		}},
	}
}

// drawers make files that Pillow does not write.
var drawers = map[string]func(rng *rand.Rand) []byte{"jpeg": drawJPEG, "png": drawPNG, "gif": drawGIF, "bmp": drawBMP, "dib": drawDIB, "ico": drawICO, "tiff": drawTIFF}

// source makes seeds of a format.
type source struct {
	format string
	write  choices
	bombs  [][]byte // tiny
	ref    *worker
}

func newSource(format string, ref *worker) (*source, error) {
	w, ok := writers()[format]
	if !ok {
		return nil, fmt.Errorf("format %q, want jpeg, png, gif, bmp, dib, ico, tiff or webp", format)
	}
	s := &source{format: format, write: w, ref: ref}
	for seed := range uint64(3) {
		for _, a := range hostile.Bombs(seed, hostile.Budget{Pixels: 3000, Bytes: 3000}) {
			if a.Format == format && len(a.Data) < 50_000 {
				s.bombs = append(s.bombs, a.Data)
			}
		}
	}
	return s, nil
}

// next returns a seed and where it is from.
func (s *source) next(rng *rand.Rand) (file []byte, from string) {
	kind := rng.IntN(10)
	switch {
	case kind == 0:
		return s.bombs[rng.IntN(len(s.bombs))], "bomb"
	case kind < 6 && drawers[s.format] != nil:
		return drawers[s.format](rng), "drawn"
	}
	for range 100 {
		p := picture{Format: s.format, Mode: pick(rng, s.write.modes...), Width: 1 + rng.IntN(70), Height: 1 + rng.IntN(70), Seed: rng.Uint32(), Options: s.write.options(rng)}
		if file, err := s.ref.encode(p); err == nil { // some options do not go together
			return file, "pillow"
		}
	}
	return s.bombs[0], "bomb"
}
