package focus

import (
	"fmt"
	"image"
	"image/color"
	"math"

	"github.com/disintegration/imaging"
	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

// VitExplainTransform is t with the geometry of
// https://github.com/jacobgil/vit-explain: the whole photo squashed to the
// model's input by Pillow's bicubic filter. VitExplainPixels is the rest of
// that program's preprocessing.
func VitExplainTransform(t patch.Transform) patch.Transform {
	t.Fit, t.Resize, t.Interpolation = patch.FitSquash, t.Size, patch.Bicubic
	return t
}

// VitExplainPixels turns pixels (3, H, W) in [0, 1] into what makes a model
// of this normalisation compute as that program has it compute, which
// normalises every model with mean and deviation 0.5:
//
//	(x' - mean)/std = (x - 0.5)/0.5
func VitExplainPixels(pixels *tensor.Dense, mean, std [3]float32) {
	x := pixels.Float32s()
	for c := range 3 {
		plane := x[c*len(x)/3 : (c+1)*len(x)/3]
		for i, v := range plane {
			plane[i] = (v-0.5)/0.5*std[c] + mean[c]
		}
	}
}

// vitExplain paints as https://github.com/jacobgil/vit-explain does: eight-bit
// values are cut off, not rounded, and the float image is divided by its
// largest value, so that the picture of a dark photo is lighter than the
// photo. That program squashes the whole photo to the input; where the
// model's own preprocessing crops, the picture shows what it saw.
func vitExplain(p *patch.Photo, g patch.Geometry, m *Map) (*image.NRGBA, error) {
	width, height := g.Input[0], g.Input[1]
	if width <= 0 || height <= 0 {
		return nil, fmt.Errorf("attention: overlay: want an input of some size, found %dx%d", width, height)
	}
	rows, cols := m.Grid()
	_, highest := m.Range()
	if highest <= 0 {
		return nil, fmt.Errorf("attention: %w: the style %s divides by the highest value, found %g", ErrOption, VitExplain, highest)
	}
	values := make([]float32, rows*cols)
	for i, v := range m.Values.Float32s() {
		values[i] = max(v/highest, 0)
	}
	photo := seen(p.Image, g)
	f := newField(values, rows, cols, Bilinear, width, func(x int) float64 {
		return (float64(x) + 0.5) / float64(width) * float64(cols)
	}, 1)

	sum := make([]float32, 3*width*height)
	row := make([]float32, width)
	var largest float32
	for y := range height {
		f.row(row, (float64(y)+0.5)/float64(height)*float64(rows))
		for x, v := range row {
			heat, pixel := jet[uint8(255*v)], photo.Pix[y*photo.Stride+4*x:]
			for c := range 3 {
				s := float32(heat[c])/255 + float32(pixel[c])/255
				sum[3*(y*width+x)+c] = s
				largest = max(largest, s)
			}
		}
	}
	dst := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		for c := range 3 {
			dst.Pix[4*i+c] = uint8(255 * (sum[3*i+c] / largest))
		}
		dst.Pix[4*i+3] = 255
	}
	return dst, nil
}

// seen returns what the model saw of the photo, at the input's size.
func seen(photo *image.NRGBA, g patch.Geometry) *image.NRGBA {
	x, y := int(math.Round(g.Seen.X)), int(math.Round(g.Seen.Y))
	w, h := max(1, int(math.Round(g.Seen.W))), max(1, int(math.Round(g.Seen.H)))
	whole := image.Rect(x, y, x+w, y+h)
	if whole != photo.Bounds() {
		photo = imaging.Paste(imaging.New(w, h, color.NRGBA{A: 255}), photo, image.Pt(-x, -y))
	}
	if w != g.Input[0] || h != g.Input[1] {
		photo = imaging.Resize(photo, g.Input[0], g.Input[1], imaging.CatmullRom) // Pillow's bicubic
	}
	return photo
}
