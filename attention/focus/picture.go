package focus

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"slices"

	"github.com/disintegration/imaging"
	"github.com/vitserve/vitserve/patch"
)

// Picture is a kind of picture.
type Picture string

// Pictures.
const (
	OverlayPicture Picture = "overlay" // Overlay
	HeatPicture    Picture = "heat"    // HeatMap
	FigurePicture  Picture = "figure"  // Figure: an overlay with caption and scale
	SheetPicture   Picture = "sheet"   // ContactSheet
)

// Pictures returns the names of the kinds, the default first.
func Pictures() []string {
	return []string{string(OverlayPicture), string(HeatPicture), string(SheetPicture), string(FigurePicture)}
}

// DefaultQuality is that of JPEG files, 1 to 100.
const DefaultQuality = 92

// Check says what of s is impossible for a picture of that kind, naming what
// is allowed.
func (k Picture) Check(s Style) error {
	switch {
	case !slices.Contains(Pictures(), string(k)):
		return badOption("picture", fmt.Sprintf("%.64q", string(k)), Pictures()...)
	case k == HeatPicture && s.Alpha != 0:
		return fmt.Errorf("attention: %w: alpha: a heat map has no photo under it", ErrOption)
	case k == SheetPicture && s.Compat != "":
		return fmt.Errorf("attention: %w: compat: a contact sheet is not of %s", ErrOption, s.Compat)
	}
	return s.Check()
}

// MaxPicture is the largest side of the pictures that HeatMap and
// ContactSheet paint, pixels.
const MaxPicture = 8192

// HeatMap paints the map alone, stretched to a picture of width × height: the
// model's input, not the photo. Of the style it takes colours and upsampling;
// Compat paints nothing here.
func HeatMap(m *Map, s Style, width, height int) (*image.NRGBA, error) {
	if err := HeatPicture.Check(s); err != nil {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	if min(width, height) < 1 || max(width, height) > MaxPicture {
		return nil, badOption("size", fmt.Sprintf("%dx%d", width, height), fmt.Sprintf("1 to %d a side", MaxPicture))
	}
	rows, cols := m.Grid()
	table := s.colorsOf(m)
	f := newField(m.clipped(s, 255), rows, cols, s.Upsample, width, func(x int) float64 {
		return (float64(x) + 0.5) / float64(width) * float64(cols)
	}, 255)
	dst := image.NewNRGBA(image.Rect(0, 0, width, height))
	eachBand(height, func(lo, hi int) {
		values := make([]float32, width)
		for y := lo; y < hi; y++ {
			f.row(values, (float64(y)+0.5)/float64(height)*float64(rows))
			for x, v := range values {
				c := table[uint8(v+0.5)]
				copy(dst.Pix[y*dst.Stride+4*x:], []byte{c[0], c[1], c[2], 255})
			}
		}
	})
	return dst, nil
}

// Sizes of a contact sheet, pixels.
const (
	sheetTile   = 112
	sheetGap    = 4
	sheetMargin = 64 // for the title, the axes and the numbers of layers and heads
)

// ContactSheet paints the raw map of every layer and head over what the model
// saw of the photo: a row a layer, a column a head, each with colours of its
// own range, so that tiles are compared by shape and not by height. The map
// of a flat or broken tile is not painted; the tile is crossed out.
// Of the options it takes Query and Mass.
func ContactSheet(p *patch.Photo, g patch.Geometry, r *Record, b int, o Options, s Style) (*image.NRGBA, error) {
	_, heads, _, _ := r.shape()
	o = Options{Query: o.Query, Mass: o.Mass}
	if err := o.check(r.sized()); err != nil {
		return nil, err
	}
	if err := SheetPicture.Check(s); err != nil {
		return nil, err
	}
	width := sheetMargin + heads*(sheetTile+sheetGap)
	height := sheetMargin + len(r.Attn)*(sheetTile+sheetGap)
	if max(width, height) > MaxPicture {
		return nil, badOption("contact sheet", fmt.Sprintf("of %dx%d pixels", width, height), fmt.Sprintf("at most %d a side", MaxPicture))
	}
	tile := patch.Geometry{
		Photo: [2]int{sheetTile, sheetTile}, Orientation: 1, Input: [2]int{sheetTile, sheetTile},
		Seen: patch.Rect{W: sheetTile, H: sheetTile}, Coverage: 1,
	}
	saw := g
	saw.Input = tile.Input
	photo := &patch.Photo{Image: seen(p.Image, saw), Orientation: 1}
	sheet := imaging.New(width, height, sheetGround)
	lead := write(sheet, sheetGap, 18, 13, textColor, fmt.Sprintf("attention of the class token, %d layers and %d heads", len(r.Attn), heads))
	if lead > width {
		draw.Draw(sheet, image.Rect(0, 0, width, 24), image.NewUniform(sheetGround), image.Point{}, draw.Src)
		write(sheet, sheetGap, 18, 13, textColor, "attention")
	}
	write(sheet, sheetMargin, 38, 12, softColor, "head →")
	write(sheet, sheetGap, sheetMargin-6, 12, softColor, "layer ↓")
	for h := range heads {
		label(sheet, sheetMargin+h*(sheetTile+sheetGap)+sheetTile/2, sheetMargin-8, h+1)
	}
	for l := range r.Attn {
		y := sheetMargin + l*(sheetTile+sheetGap)
		label(sheet, sheetMargin/2, y+sheetTile/2, layerOf(l))
		for h := range heads {
			o.Layer, o.Head = layerOf(l), h+1
			x := sheetMargin + h*(sheetTile+sheetGap)
			painted := crossed(photo.Image)
			m, err := raw(r, b, o)
			if err == nil {
				if painted, err = Overlay(photo, tile, m, s); err != nil {
					return nil, err
				}
			} else if !isUnpaintable(err) {
				return nil, err
			}
			draw.Draw(sheet, image.Rect(x, y, x+sheetTile, y+sheetTile), painted, image.Point{}, draw.Src)
		}
	}
	return sheet, nil
}

// sheetGround is the background of a contact sheet.
var sheetGround = color.NRGBA{R: 24, G: 24, B: 24, A: 255}

// label writes a number centred at x, on the line y.
func label(dst *image.NRGBA, x, y, number int) {
	text := fmt.Sprint(number)
	write(dst, x-textWidth(12, text)/2, y, 12, textColor, text)
}

// crossed returns a picture in grey with both its diagonals.
func crossed(m *image.NRGBA) *image.NRGBA {
	dst := imaging.Grayscale(m)
	size := dst.Bounds().Size()
	for x := range size.X {
		for _, y := range []int{x * size.Y / size.X, size.Y - 1 - x*size.Y/size.X} {
			dst.SetNRGBA(x, y, color.NRGBA{R: 255, A: 255})
		}
	}
	return dst
}
