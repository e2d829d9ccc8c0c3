package patch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"gorgonia.org/tensor"
)

// Receipt is what was done to a picture and what came of it, for comparison
// with other people's preprocessing.
type Receipt struct {
	NPY      []byte   `json:"-"`      // the normalised tensor, (3, H, W) float32, as numpy.save writes it
	SHA256   string   `json:"sha256"` // of NPY, in hexadecimal
	Shape    [3]int   `json:"shape"`
	Steps    []string `json:"steps"`
	Geometry Geometry `json:"geometry"`
}

// Receipt preprocesses a picture and normalises it as the reference does,
// (x - mean)/std with x in [0, 1]: the tensor that timm or transformers would
// hand to the model. It ends with ctx.
func (t Transform) Receipt(ctx context.Context, data []byte, o Options) (*Receipt, error) {
	h, w := t.Size[0], t.Size[1]
	dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, h, w))
	g, how, err := t.pixels(ctx, dst, data, o)
	if err != nil {
		return nil, err
	}
	x := dst.Float32s()
	for c := range 3 {
		plane := x[c*h*w : (c+1)*h*w]
		for i, v := range plane {
			plane[i] = (v - t.Mean[c]) / t.Std[c]
		}
	}
	r := &Receipt{Shape: [3]int{3, h, w}, Geometry: g}
	var file bytes.Buffer
	if err := WriteNpy(&file, r.Shape[:], x); err != nil {
		return nil, err
	}
	r.NPY = file.Bytes()
	sum := sha256.Sum256(r.NPY)
	r.SHA256 = hex.EncodeToString(sum[:])
	r.Steps, err = t.steps(g, how)
	return r, err
}

// steps tells in order what was done to a photo of geometry g.
func (t Transform) steps(g Geometry, how way) ([]string, error) {
	w, h := g.Photo[0], g.Photo[1]
	pl, err := t.plan(w, h)
	if err != nil {
		return nil, err
	}
	var steps []string
	add := func(format string, a ...any) { steps = append(steps, fmt.Sprintf(format, a...)) }
	add("decode %s, drop alpha", how.format)
	if how.block > 0 && how.block < 8 {
		add("decode its blocks of 8×8 to %d×%d", how.block, how.block)
	}
	if g.Orientation != 1 {
		add("undo EXIF orientation %d: %d×%d", g.Orientation, w, h)
	} else {
		add("no rotation: %d×%d", w, h)
	}
	switch {
	case pl.rw == w && pl.rh == h:
	case how.block > 0:
		add("resize luma and chroma by themselves to %d×%d, %s, antialiased, then convert to RGB", pl.rw, pl.rh, pl.how)
	default:
		add("resize to %d×%d, %s, antialiased, eight bits between the passes", pl.rw, pl.rh, pl.how)
	}
	if pl.crop != (window{0, 0, pl.rw, pl.rh}) {
		add("crop %d×%d at (%d, %d), rounded as %s", pl.crop.w, pl.crop.h, pl.crop.x, pl.crop.y, t.Rounding)
	}
	if pl.inside != pl.crop {
		add("fill outside the photo with (%d, %d, %d)", pl.fill[0], pl.fill[1], pl.fill[2])
	}
	add("divide by 255")
	add("subtract mean (%g, %g, %g), divide by std (%g, %g, %g)", t.Mean[0], t.Mean[1], t.Mean[2], t.Std[0], t.Std[1], t.Std[2])
	return steps, nil
}
