package focus

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"github.com/disintegration/imaging"
	"golang.org/x/image/vector"
)

// Colours of the curves: Okabe and Ito, Color Universal Design,
// https://jfly.uni-koeln.de/color/.
var (
	insertionColor = color.NRGBA{R: 86, G: 180, B: 233, A: 255}
	deletionColor  = color.NRGBA{R: 230, G: 159, B: 0, A: 255}
	gridColor      = color.NRGBA{R: 70, G: 70, B: 70, A: 255}
)

// Curves paints how the class fares as the picture is taken away, and given,
// in the order of a map: a panel of a Figure.
func (e *Evidence) Curves() *image.NRGBA {
	const (
		width, height            = figureSide, figureSide * 3 / 4
		left, right, top, bottom = 40, 8, 26, 40
		w, h                     = width - left - right, height - top - bottom
	)
	m := imaging.New(width, height, color.NRGBA{R: 34, G: 34, B: 34, A: 255})
	for i := range 5 {
		y, x := top+h*i/4, left+w*i/4
		draw.Draw(m, image.Rect(left, y, left+w, y+1), image.NewUniform(gridColor), image.Point{}, draw.Src)
		text := fmt.Sprintf("%.2f", 1-float64(i)/4)
		write(m, left-6-textWidth(11, text), y+4, 11, softColor, text)
		text = fmt.Sprintf("%d %%", 25*i)
		write(m, min(x-textWidth(11, text)/2, width-textWidth(11, text)), top+h+15, 11, softColor, text)
	}
	write(m, left, height-6, 12, softColor, "of the picture taken away, or given")
	write(m, 4, 16, 12, softColor, "p(class)")
	place := func(curve []float64, i int) (x, y float32) {
		return left + w*float32(i)/float32(len(curve)-1), top + h*(1-float32(min(max(curve[i], 0), 1)))
	}
	for k, c := range []struct {
		name  string
		curve []float64
		area  float64
		color color.NRGBA
	}{{"insertion", e.InsertionCurve, e.Insertion, insertionColor}, {"deletion", e.DeletionCurve, e.Deletion, deletionColor}} {
		for i := 1; i < len(c.curve); i++ {
			x0, y0 := place(c.curve, i-1)
			x1, y1 := place(c.curve, i)
			stroke(m, x0, y0, x1, y1, c.color)
		}
		text := fmt.Sprintf("%s %.3f", c.name, c.area)
		write(m, left+80+k*140, 16, 12, c.color, text)
	}
	return m
}

// stroke draws a line of two pixels.
func stroke(dst *image.NRGBA, x0, y0, x1, y1 float32, c color.NRGBA) {
	size := dst.Bounds().Size()
	r := vector.NewRasterizer(size.X, size.Y)
	// A rectangle along the line: a pixel to each side, in x or in y, whichever
	// the line crosses.
	dx, dy := float32(0), float32(1)
	if abs(y1-y0) > abs(x1-x0) {
		dx, dy = 1, 0
	}
	r.MoveTo(x0-dx, y0-dy)
	r.LineTo(x1-dx, y1-dy)
	r.LineTo(x1+dx, y1+dy)
	r.LineTo(x0+dx, y0+dy)
	r.ClosePath()
	r.Draw(dst, dst.Bounds(), image.NewUniform(c), image.Point{})
}

func abs(v float32) float32 { return max(v, -v) }
