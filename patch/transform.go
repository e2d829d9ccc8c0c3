package patch

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vitserve/vitserve/patch/jpeg"
	"gorgonia.org/tensor"
)

// Fit is how a photo is brought to the resize target.
type Fit string

// The fits of timm's crop_mode and of the Hugging Face image processors.
const (
	FitShort  Fit = "short"  // the short edge to Resize, aspect kept; timm "center", HF "shortest_edge"
	FitSquash Fit = "squash" // both edges to Resize, aspect lost
	FitLong   Fit = "long"   // the long edge to Resize, padded with the mean colour; timm "border"
	FitCrop   Fit = "crop"   // no resize: the middle of the photo
	FitNone   Fit = "none"   // the photo has the model's size already; another size is ErrShape
)

// Interpolation is a resampling filter, antialiased.
type Interpolation string

// The interpolations that checkpoints name.
const (
	Nearest  Interpolation = "nearest"
	Bilinear Interpolation = "bilinear"
	Bicubic  Interpolation = "bicubic"
	Lanczos  Interpolation = "lanczos"
	Box      Interpolation = "box"
	Hamming  Interpolation = "hamming"
)

// Resampler is whose integers a resize computes with. The two differ by up to
// two grey levels.
type Resampler string

// The resamplers of the reference implementations; the empty one is Pillow's.
const (
	Pillow      Resampler = "pillow"      // timm, and the image processors of transformers before version 5
	Torchvision Resampler = "torchvision" // of bytes on a processor: what transformers calls a fast image processor

	// TorchvisionFloat resizes after bytes were made floats, which are never
	// rounded to bytes again; bilinear only. DINOv3's image processor.
	TorchvisionFloat Resampler = "torchvision-float"
)

// Rounding is where an odd margin goes when the middle is cropped.
type Rounding string

// Roundings of the reference implementations.
const (
	RoundTorchvision Rounding = "torchvision" // round half to even of margin/2; timm
	RoundFloor       Rounding = "floor"       // margin // 2; Hugging Face
)

// Transform is the model's own preprocessing. The pixels it makes are in
// [0, 1]: the normalisation constants are folded into the patch projection at
// load and are kept here to be reported.
type Transform struct {
	Size          [2]int        `json:"size"`              // height, width of the model's input
	Fit           Fit           `json:"fit"`               //
	Resize        [2]int        `json:"resize"`            // height, width the resize aims at, before the crop
	Longest       int           `json:"longest,omitempty"` // that FitShort's long edge does not pass before the crop; 0: none
	Interpolation Interpolation `json:"interpolation"`
	Resampler     Resampler     `json:"resampler,omitempty"` // "": Pillow's
	Rounding      Rounding      `json:"rounding"`
	Mean          [3]float32    `json:"mean"`
	Std           [3]float32    `json:"std"`

	// Rescale is what bytes are multiplied by before mean and std; 0: 1/255.
	Rescale float64 `json:"rescale,omitempty"`

	// Gray says that a photo's colours become grays before the resize, as
	// Pillow's convert("L") makes them, for a model of one channel: the three
	// of its input are then equal.
	Gray bool `json:"gray,omitempty"`
}

// Normalisation returns the mean and the standard deviation of pixels in
// [0, 1] that stand for those of bytes times Rescale:
//
//	(v·f - m)/s = (v/255 - m/(255 f)) / (s/(255 f))
func (t Transform) Normalisation() (mean, std [3]float64) {
	unit := 1.0
	if t.Rescale != 0 {
		unit = 255 * t.Rescale
	}
	for c := range 3 {
		mean[c], std[c] = float64(t.Mean[c])/unit, float64(t.Std[c])/unit
	}
	return mean, std
}

// maxInput bounds the model's input and the resize target: no Vision
// Transformer comes near it, and it keeps every product within an int.
const maxInput = 1 << 14

// maxRescale bounds what bytes are multiplied by: none are brought beyond
// their own values.
const maxRescale = 1.0

// Validate says what is wrong with t, if anything.
func (t Transform) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("patch: transform: "+format, a...)) }
	inRange := func(v [2]int) bool { return min(v[0], v[1]) >= 1 && max(v[0], v[1]) <= maxInput }
	if !inRange(t.Size) {
		bad("size %d×%d is not within 1 and %d", t.Size[0], t.Size[1], maxInput)
	}
	switch t.Fit {
	case FitShort, FitSquash, FitLong:
		if !inRange(t.Resize) {
			bad("resize %d×%d is not within 1 and %d", t.Resize[0], t.Resize[1], maxInput)
		}
		if _, ok := filters[t.Interpolation]; !ok && t.Interpolation != Nearest {
			bad("unknown interpolation %q", t.Interpolation)
		}
	case FitCrop, FitNone:
	default:
		bad("unknown fit %q", t.Fit)
	}
	if t.Longest != 0 && !inRange([2]int{t.Longest, t.Longest}) {
		bad("longest edge %d is not within 1 and %d", t.Longest, maxInput)
	}
	switch t.Resampler {
	case "", Pillow, Torchvision:
	case TorchvisionFloat:
		if t.Interpolation != Bilinear || t.Rescale != 0 {
			bad("resampler %q with interpolation %q and rescale factor %g, want bilinear and 1/255", t.Resampler, t.Interpolation, t.Rescale)
		}
	default:
		bad("unknown resampler %q", t.Resampler)
	}
	if !(t.Rescale >= 0 && t.Rescale <= maxRescale) {
		bad("rescale factor %g is not within 0 and %g", t.Rescale, maxRescale)
	}
	if t.Rounding != RoundTorchvision && t.Rounding != RoundFloor {
		bad("unknown rounding %q", t.Rounding)
	}
	for c := range 3 {
		if m, s := float64(t.Mean[c]), float64(t.Std[c]); math.IsNaN(m) || math.IsInf(m, 0) || math.IsInf(s, 0) || !(s > 0) {
			bad("channel %d has mean %g and std %g", c, m, s)
		}
	}
	return errors.Join(errs...)
}

// Preprocess says how much of a Transform a caller wants.
type Preprocess string

// How much is done to a photo.
const (
	PreprocessModel Preprocess = "model" // resize and crop, as the model's configuration says; the default
	PreprocessCrop  Preprocess = "crop"  // only the middle is cropped: the caller has resized
	PreprocessNone  Preprocess = "none"  // nothing: the caller sends the model's input size
)

// With returns t reduced to what p leaves of it. The empty string is
// PreprocessModel.
func (t Transform) With(p Preprocess) (Transform, error) {
	switch p {
	case PreprocessModel, "":
	case PreprocessCrop:
		t.Fit = FitCrop
	case PreprocessNone:
		t.Fit = FitNone
	default:
		return t, fmt.Errorf("patch: preprocess %q: want %q, %q or %q", p, PreprocessModel, PreprocessCrop, PreprocessNone)
	}
	return t, nil
}

// Pixels decodes a picture and writes what the model sees of it to dst, a
// contiguous (3, H, W) of float32 in [0, 1] with H, W = t.Size. It ends with
// ctx.
func (t Transform) Pixels(ctx context.Context, dst *tensor.Dense, data []byte, o Options) (Geometry, error) {
	g, _, err := t.pixels(ctx, dst, data, o)
	return g, err
}

// way is how a picture came to its pixels.
type way struct {
	format string
	block  int // edge of the decoded blocks of a JPEG read the fast way; 0: exact
}

func (t Transform) pixels(ctx context.Context, dst *tensor.Dense, data []byte, o Options) (Geometry, way, error) {
	f, d, err := check(data, o)
	if err != nil {
		return Geometry{}, way{}, err
	}
	if f.name == "jpeg" {
		g, block, err := t.jpegPixels(ctx, dst, data, o, d.Width, d.Height)
		return g, way{f.name, block}, err
	}
	p, err := Decode(ctx, data, o)
	if err != nil {
		return Geometry{}, way{}, err
	}
	g, err := t.PhotoPixels(ctx, dst, p)
	return g, way{format: f.name}, err
}

// jpegPixels is Pixels for a JPEG of w × h stored pixels without a picture in
// between; block is way's.
func (t Transform) jpegPixels(ctx context.Context, dst *tensor.Dense, data []byte, o Options, w, h int) (g Geometry, block int, err error) {
	turned := 1
	if !o.IgnoreEXIF {
		turned = orientation("jpeg", data)
	}
	uw, uh := w, h
	if storage[turned].transposed {
		uw, uh = h, w
	}
	p, err := t.plan(uw, uh)
	if err != nil {
		return g, 0, err
	}
	err = guard("jpeg", func() error {
		block, err = p.sampleJPEG(ctx, t.output(dst), data, o, uw, uh, turned)
		return err
	})
	if cause := ended(ctx); cause != nil {
		return g, 0, cause
	}
	return p.geometry(uw, uh, turned), block, err
}

// sampleJPEG is sample for a JPEG, the fast way if that is asked for and worth
// it; block is way's.
func (p plan) sampleJPEG(ctx context.Context, out []float32, data []byte, o Options, w, h, orientation int) (block int, err error) {
	r, err := jpeg.Open(ctx, data)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if hs, vs, ok := r.Chroma(); ok && o.Resize == ResizeFast && !p.gray && (p.rw != w || p.rh != h) {
		size := p.blockSize(w, h)
		if size < 8 || p.worthFast(w, h, hs, vs, storage[orientation].transposed) {
			r.Crop(p.sees(w, h, 8/size*max(hs, vs), storage[orientation]))
			planes, err := r.Planes(size)
			if err != nil {
				return 0, err
			}
			return size, p.sampleFast(ctx, out, planes, orientation)
		}
	}
	if err := p.sample(ctx, out, rows{r}, w, h, orientation); err != nil {
		return 0, err
	}
	return 0, r.Finish()
}

// rows are a JPEG as a source.
type rows struct{ r *jpeg.Reader }

func (s rows) pixels(buf []byte, y, x, n int) []byte { return s.r.Row(buf, y, x, n) }
func (s rows) only(x, y, w, h int)                   { s.r.Crop(x, y, x+w, y+h) }

// PhotoPixels is Pixels for a photo that is decoded already. Its only errors
// are ErrShape, of FitNone, and those of ctx.
func (t Transform) PhotoPixels(ctx context.Context, dst *tensor.Dense, p *Photo) (Geometry, error) {
	g, err := t.source(ctx, dst, picture{p.Image}, p.Image.Rect.Dx(), p.Image.Rect.Dy(), 1)
	g.Orientation = p.Orientation
	return g, err
}

// Geometry tells which part of an upright photo of w × h pixels the model sees.
// Its only error is ErrShape, of FitNone.
func (t Transform) Geometry(w, h int) (Geometry, error) {
	p, err := t.plan(w, h)
	if err != nil {
		return Geometry{}, err
	}
	return p.geometry(w, h, 1), nil
}

// source brings w × h stored pixels to dst.
func (t Transform) source(ctx context.Context, dst *tensor.Dense, src rgbaSource, w, h, orientation int) (Geometry, error) {
	out := t.output(dst)
	if storage[orientation].transposed {
		w, h = h, w
	}
	p, err := t.plan(w, h)
	if err != nil {
		return Geometry{}, err
	}
	return p.geometry(w, h, orientation), p.sample(ctx, out, src, w, h, orientation)
}

// output is dst's memory after a check of its shape.
func (t Transform) output(dst *tensor.Dense) []float32 {
	want := tensor.Shape{3, t.Size[0], t.Size[1]}
	if !dst.Shape().Eq(want) || dst.Dtype() != tensor.Float32 || !dst.DataOrder().IsContiguous() || dst.DataOrder().IsColMajor() {
		panic(fmt.Sprintf("patch: pixels: want contiguous float32 of %v, found %v of %v", want, dst.Dtype(), dst.Shape()))
	}
	return dst.Float32s()
}
