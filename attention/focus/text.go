package focus

import (
	"fmt"
	"image"
	"image/color"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Colours of letters.
var (
	textColor = color.NRGBA{R: 240, G: 240, B: 240, A: 255}
	softColor = color.NRGBA{R: 170, G: 170, B: 170, A: 255}
)

// typeface is Go's own, which has Latin, Greek and Cyrillic letters.
var typeface = sync.OnceValue(func() *opentype.Font {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		panic(fmt.Sprintf("attention: the typeface inside the program: %v", err))
	}
	return f
})

// faceOf returns the letters of a size in pixels. A face is for one goroutine.
func faceOf(size float64) font.Face {
	face, err := opentype.NewFace(typeface(), &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		panic(fmt.Sprintf("attention: letters of %g pixels: %v", size, err))
	}
	return face
}

// textWidth returns how many pixels a text takes.
func textWidth(size float64, text string) int {
	return font.MeasureString(faceOf(size), text).Ceil()
}

// write writes text that begins at x on the line y, and returns where it ends.
func write(dst *image.NRGBA, x, y int, size float64, c color.NRGBA, text string) (end int) {
	d := font.Drawer{Dst: dst, Src: image.NewUniform(c), Face: faceOf(size), Dot: fixed.P(x, y)}
	d.DrawString(text)
	return d.Dot.X.Ceil()
}

// fitted returns a text that takes at most so many pixels, with an ellipsis in
// place of its end.
func fitted(size float64, text string, width int) string {
	if textWidth(size, text) <= width {
		return text
	}
	r := []rune(text)
	for n := len(r) - 1; n > 0; n-- {
		if short := string(r[:n]) + "…"; textWidth(size, short) <= width {
			return short
		}
	}
	return "…"
}
