package corrupt

import (
	"context"
	"image"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/patch/jpeg"
	"gorgonia.org/tensor"
)

// compress is what a JPEG file of a quality keeps, see jpeg.Compressed.
func compress(_ *work, dst, src *Picture, quality int) {
	jpeg.Compressed(dst.Pix, src.Pix, src.W, src.H, quality)
}

// pixelate averages boxes of pixels and enlarges the result, by repetition; the
// original averages boxes once more, which repeats pixels, too, but mixes
// those that an edge falls into.
func pixelate(w *work, dst, src *Picture, share float64, f Flavour) {
	sw, sh := int(float64(src.W)*share), int(float64(src.H)*share)
	small := w.boxes(src, sw, sh)
	if f == Original {
		copy(dst.Pix, w.boxes(&Picture{sw, sh, small}, src.W, src.H))
		return
	}
	at, rows := take(&w.ints, src.W), take(&w.ints, src.H)
	nearestOf(at, sw)
	nearestOf(rows, sh)
	last := -1
	for y := range src.H {
		from := rows[y]
		to := dst.Pix[3*y*src.W:][:3*src.W]
		if from == last {
			copy(to, dst.Pix[3*(y-1)*src.W:])
			continue
		}
		last = from
		row := small[3*from*sw:][:3*sw]
		for x, i := range at {
			p, t := row[3*i:3*i+3:3*i+3], to[3*x:3*x+3:3*x+3]
			t[0], t[1], t[2] = p[0], p[1], p[2]
		}
	}
}

// nearestOf are the pixels of n that are repeated, in Pillow's arithmetic, which
// adds up steps.
func nearestOf(at []int, n int) {
	step := float64(n) / float64(len(at))
	x := step / 2
	for i := range at {
		at[i] = min(int(x), n-1)
		x += step
	}
}

// boxes is the picture of another size, each pixel the mean of a box: Pillow's
// resize.
func (w *work) boxes(src *Picture, width, height int) []uint8 {
	m := image.NRGBA{Pix: take(&w.bytes, 4*src.W*src.H), Stride: 4 * src.W, Rect: image.Rect(0, 0, src.W, src.H)}
	src.copyTo(&m)
	t := patch.Transform{
		Size: [2]int{height, width}, Fit: patch.FitSquash, Resize: [2]int{height, width},
		Interpolation: patch.Box, Rounding: patch.RoundTorchvision,
	}
	out := tensor.New(tensor.WithShape(3, height, width), tensor.Of(tensor.Float32))
	if _, err := t.PhotoPixels(context.Background(), out, &patch.Photo{Image: &m, Orientation: 1}); err != nil {
		panic(err) // nothing is wrong with a picture in memory, and nobody ends the context
	}
	return FromPixels(out).Pix
}
