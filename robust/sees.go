package robust

import (
	"context"
	"fmt"
	"slices"

	"github.com/vitserve/vitserve/robust/corrupt"
)

// tiles is how many parts an edge has whose pixels are changed.
const tiles = 4

// SeesPixels finds whether a target's answers depend on the pixels that it is
// sent: an attack that the target does not see would say that the model is
// robust. The same picture must have the same answer. In each of 16 tiles one
// grey level more must change it; of a whole photo, whose edges a model may crop,
// in one at least. The note says what was found.
func SeesPixels(ctx context.Context, t Target, mode Mode) (note string, err error) {
	about := t.About()
	w, h := 320, 256
	if mode == CropMode {
		if about.Transform == nil {
			return "", fmt.Errorf("robust: mode crop: the preprocessing of %s is not known; want mode photo", about.Kind)
		}
		h, w = about.Transform.Size[0], about.Transform.Size[1]
	}
	plain := corrupt.New(w, h)
	for i := range plain.Pix {
		plain.Pix[i] = uint8(40 + (i*7+i/(3*w)*13)%160)
	}
	in := []Input{{Picture: plain, Whole: mode == PhotoMode}, {Picture: plain, Whole: mode == PhotoMode}}
	for i := range tiles * tiles {
		p := corrupt.New(w, h)
		copy(p.Pix, plain.Pix)
		for y := i / tiles * h / tiles; y < (i/tiles+1)*h/tiles; y++ {
			for x := 3 * (i % tiles * w / tiles); x < 3*((i%tiles+1)*w/tiles); x++ {
				p.Pix[3*y*w+x]++
			}
		}
		in = append(in, Input{Picture: p, Whole: mode == PhotoMode})
	}
	answers, err := t.Answer(ctx, in)
	if err != nil {
		return "", err
	}
	for _, a := range answers {
		if a.Err != nil {
			return "", fmt.Errorf("robust: does %s see the pixels that are sent: %w", about.Kind, a.Err)
		}
	}
	first := logitsOf(answers[0])
	if !slices.Equal(first, logitsOf(answers[1])) {
		return "", fmt.Errorf("robust: %s answers the same picture in two ways: attacks by queries need answers that repeat", about.Kind)
	}
	seen := 0
	for _, a := range answers[2:] {
		if !slices.Equal(first, logitsOf(a)) {
			seen++
		}
	}
	if seen == 0 || mode == CropMode && seen < tiles*tiles {
		return "", fmt.Errorf("robust: %s does not see the pixels that are sent: one grey level more changes the answer in %d of %d tiles of the picture", about.Kind, seen, tiles*tiles)
	}
	return fmt.Sprintf("The target sees the pixels that are sent: one grey level more in a tile of the picture changes the answer in %d of %d tiles.", seen, tiles*tiles), nil
}
