package focus

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"strconv"

	"github.com/disintegration/imaging"
)

// Panel is a picture of a Figure and what it shows.
type Panel struct {
	Image   image.Image
	Caption []string // lines below it, the first in larger letters
	Scale   *Scale   // beside it; nil: none
}

// Scale is what the colours of a panel stand for.
type Scale struct {
	Low, High float64
	Beyond    bool // some values are above High, or below Low of a map with signs
	table     *colorTable
}

// ScaleOf is the scale of a map painted in a style.
func ScaleOf(m *Map, s Style) *Scale {
	low, high := m.Scale(s)
	l, h := m.Range()
	return &Scale{Low: low, High: high, Beyond: float64(h) > high || float64(l) < low, table: s.colorsOf(m)}
}

// Sizes of a figure, pixels.
const (
	figureSide  = 384 // the longer side of a panel, unless its picture is smaller
	figureLeast = 224 // of it at least
	figureGap   = 14
	figureTitle = 34
	barWidth    = 14
	barNumbers  = 62 // beside the bar, with its ticks
	barTicks    = 5
	lineHeight  = 19
	mostPanels  = 256
)

// Figure puts panels side by side, row by row, so many columns, each with its
// caption below and its scale beside, under a title ("": none). A picture of
// figures says by itself what it shows.
func Figure(title string, panels []Panel, columns int) (*image.NRGBA, error) {
	if len(panels) == 0 || len(panels) > mostPanels {
		return nil, badOption("panels of a figure", len(panels), fmt.Sprintf("1 to %d", mostPanels))
	}
	columns = min(max(columns, 1), len(panels))
	rows := (len(panels) + columns - 1) / columns
	widths, heights := make([]int, columns), make([]int, rows)
	pictures := make([]*image.NRGBA, len(panels))
	for i, p := range panels {
		pictures[i] = sized(p.Image)
		size := pictures[i].Bounds().Size()
		wide := size.X
		if p.Scale != nil {
			wide += barWidth + barNumbers
		}
		widths[i%columns] = max(widths[i%columns], wide)
		heights[i/columns] = max(heights[i/columns], size.Y+lineHeight*len(p.Caption)+4)
	}
	width, height := figureGap, figureGap
	for _, w := range widths {
		width += w + figureGap
	}
	for _, h := range heights {
		height += h + figureGap
	}
	if title != "" {
		height += figureTitle
	}
	if max(width, height) > MaxPicture {
		return nil, badOption("figure", fmt.Sprintf("of %dx%d pixels", width, height), fmt.Sprintf("at most %d a side", MaxPicture))
	}
	dst := imaging.New(width, height, sheetGround)
	y := figureGap
	if title != "" {
		write(dst, figureGap, y+17, 18, textColor, fitted(18, title, width-2*figureGap))
		y += figureTitle
	}
	for r := range rows {
		x := figureGap
		for c := range columns {
			if i := r*columns + c; i < len(panels) {
				panels[i].draw(dst, pictures[i], x, y, widths[c])
			}
			x += widths[c] + figureGap
		}
		y += heights[r] + figureGap
	}
	return dst, nil
}

// draw draws the panel with its upper left corner at x, y.
func (p Panel) draw(dst *image.NRGBA, m *image.NRGBA, x, y, width int) {
	size := m.Bounds().Size()
	draw.Draw(dst, image.Rect(x, y, x+size.X, y+size.Y), m, m.Bounds().Min, draw.Src)
	if p.Scale != nil {
		p.Scale.draw(dst, x+size.X+6, y, size.Y)
	}
	for i, line := range p.Caption {
		letters, c := 13.0, softColor
		if i == 0 {
			letters, c = 15, textColor
		}
		write(dst, x, y+size.Y+lineHeight*(i+1)-3, letters, c, fitted(letters, line, width))
	}
}

// sized is a picture at the size of a panel. Large ones become smaller, and
// small ones larger by a whole factor.
func sized(m image.Image) *image.NRGBA {
	size := m.Bounds().Size()
	long := max(size.X, size.Y, 1)
	switch {
	case long > figureSide:
		return imaging.Fit(m, figureSide, figureSide, imaging.Lanczos)
	case long < figureLeast:
		factor := (figureLeast + long - 1) / long
		return imaging.Resize(m, size.X*factor, size.Y*factor, imaging.NearestNeighbor)
	}
	return imaging.Clone(m)
}

// draw draws the bar of a scale, the highest value above, with round numbers
// between the ends.
func (s *Scale) draw(dst *image.NRGBA, x, y, height int) {
	const room = 8 // above and below, for half a number
	top, long := y+room, max(height-2*room, 1)
	for dy := range long {
		c := s.table[uint8(255-255*dy/long)]
		draw.Draw(dst, image.Rect(x, top+dy, x+barWidth, top+dy+1), image.NewUniform(color.NRGBA{R: c[0], G: c[1], B: c[2], A: 255}), image.Point{}, draw.Src)
	}
	number := func(v float64, text string) {
		at := top + int(math.Round(float64(long)*(1-(v-s.Low)/(s.High-s.Low))))
		draw.Draw(dst, image.Rect(x+barWidth, at, x+barWidth+4, at+1), image.NewUniform(softColor), image.Point{}, draw.Src)
		write(dst, x+barWidth+7, at+4, 11, softColor, text)
	}
	ends := [2]string{short(s.Low), short(s.High)}
	if s.Beyond {
		ends[1] = "≥" + ends[1]
		if s.Low < 0 {
			ends[0] = "≤" + ends[0]
		}
	}
	number(s.Low, ends[0])
	number(s.High, ends[1])
	step := (s.High - s.Low) / (barTicks - 1)
	for i := 1; i < barTicks-1; i++ {
		v := s.Low + float64(i)*step
		if math.Abs(v) < step/1e6 {
			v = 0
		}
		number(v, short(v))
	}
}

// short writes a number in at most seven letters.
func short(v float64) string {
	text := strconv.FormatFloat(v, 'g', 2, 64)
	if a := math.Abs(v); a >= 0.01 && a < 1000 {
		text = strconv.FormatFloat(v, 'f', max(0, 2-int(math.Floor(math.Log10(a)))), 64)
	}
	return text
}
