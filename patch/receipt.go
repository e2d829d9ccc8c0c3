package patch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"gorgonia.org/tensor"
)

// Receipt is what was done to a picture and what came of it, for comparison
// with other people's preprocessing.
type Receipt struct {
	NPY      []byte   `json:"-"`      // the normalised tensor, (3, H, W) float32, or (1, H, W) of grays, as numpy.save writes it
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
	t.normalise(x)
	r := &Receipt{Shape: [3]int{3, h, w}, Geometry: g}
	if t.Gray {
		r.Shape[0], x = 1, x[:h*w]
	}
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

// normalise makes of pixels (3, H, W) in [0, 1] what the reference makes of the
// bytes that they are, with its own roundings. torchvision's fuses rescaling
// into mean and std.
func (t Transform) normalise(x []float32) {
	f := t.Rescale
	for c := range 3 {
		plane := x[c*len(x)/3 : (c+1)*len(x)/3]
		mean, std := t.Mean[c], t.Std[c]
		if t.Resampler == Torchvision && f == 0 {
			f = 1.0 / 255
		}
		switch {
		case t.Resampler == Torchvision && mean == 0 && std == 1: // which are not fused
			for i, v := range plane {
				plane[i] = bytesOf(v) * float32(f)
			}
		case t.Resampler == Torchvision:
			mean, std = mean*float32(1/f), std*float32(1/f)
			for i, v := range plane {
				plane[i] = (bytesOf(v) - mean) / std
			}
		case f != 0:
			for i, v := range plane {
				plane[i] = (float32(float64(bytesOf(v))*f) - mean) / std
			}
		default:
			for i, v := range plane {
				plane[i] = (v - mean) / std
			}
		}
	}
}

// bytesOf is the byte that a pixel in [0, 1] is.
func bytesOf(v float32) float32 { return float32(math.Round(float64(v) * 255)) }

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
	if t.Gray {
		add("convert to gray, ITU-R BT.601")
	}
	switch {
	case pl.rw == w && pl.rh == h:
	case how.block > 0:
		add("resize luma and chroma by themselves to %d×%d, %s, antialiased, then convert to RGB", pl.rw, pl.rh, pl.how.how)
	case pl.how.by == Torchvision:
		add("resize to %d×%d, %s, antialiased, with torchvision's integers, eight bits between the passes", pl.rw, pl.rh, pl.how.how)
	case pl.how.by == TorchvisionFloat:
		add("resize to %d×%d, %s, antialiased, in float32", pl.rw, pl.rh, pl.how.how)
	default:
		add("resize to %d×%d, %s, antialiased, eight bits between the passes", pl.rw, pl.rh, pl.how.how)
	}
	if pl.crop != (window{0, 0, pl.rw, pl.rh}) {
		add("crop %d×%d at (%d, %d), rounded as %s", pl.crop.w, pl.crop.h, pl.crop.x, pl.crop.y, t.Rounding)
	}
	if pl.inside != pl.crop {
		add("fill outside the photo with (%d, %d, %d)", pl.fill[0], pl.fill[1], pl.fill[2])
	}
	if t.Rescale == 0 {
		add("divide by 255")
	} else {
		add("multiply by %g", t.Rescale)
	}
	add("subtract mean (%g, %g, %g), divide by std (%g, %g, %g)", t.Mean[0], t.Mean[1], t.Mean[2], t.Std[0], t.Std[1], t.Std[2])
	return steps, nil
}
