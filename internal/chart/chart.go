// Package chart writes charts as SVG and the page of HTML that holds them, so
// that a report is one file that opens without a network. Charts have no
// scripts, name no other file, and are the same bytes for the same numbers.
// What cannot be drawn, NaN and infinity, leaves a gap.
package chart

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Line is a curve of a Lines chart.
type Line struct {
	Name      string
	X, Y      []float64
	Low, High []float64 // by point, around Y: a band is drawn between them; nil: none
}

// Lines is a chart of curves over a common axis.
type Lines struct {
	Title  string
	X, Y   string     // what the axes are, with their units
	XRange [2]float64 // equal: from the numbers
	YRange [2]float64 // likewise
	Lines  []Line
}

// Bars is a chart of a bar for each label.
type Bars struct {
	Title     string
	Y         string     // what the axis is, with its unit
	YRange    [2]float64 // equal: from 0 and the numbers
	Labels    []string
	Values    []float64 // by label
	Low, High []float64 // by label, an error bar; nil: none
}

// Sizes of a chart, pixels. Right of the plot are the names of the lines.
const (
	width, height             = 640, 360
	left, right, top, bottom  = 64, 150, 36, 48
	plotWidth, plotHeight     = width - left - right, height - top - bottom
	tick                      = 4
	barLabel                  = 90 // below a chart of bars
	nameStep                  = 16
	most                      = 24 // lines that colours and dashes tell apart; of others it is said how many there are
	letters                   = 22 // of a name beside the plot
	fontFamily                = "system-ui, sans-serif"
	background, ink, grey     = "#ffffff", "#222222", "#dddddd"
	fontSize, titleSize       = 12, 14
	lineWidth, bandOpacity    = 2, 0.15
	wantedTicks               = 5
	firstDigits, otherDigits  = 4, 6
	relativeEdge, minimalEdge = 0.05, 1e-9
)

// colors are told apart by people who do not see all of them: Okabe and Ito,
// Color Universal Design, https://jfly.uni-koeln.de/color/.
var colors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442"}

// dashes tell lines apart once the colours are used up.
var dashes = []string{"", "6 3", "2 3"}

// WriteSVG writes the chart as an svg element.
func (c Lines) WriteSVG(w io.Writer) error {
	var xs, ys []float64
	for _, l := range c.Lines {
		if len(l.X) != len(l.Y) || l.Low != nil && (len(l.Low) != len(l.Y) || len(l.High) != len(l.Y)) {
			panic(fmt.Sprintf("chart: line %q of %d by %d points, band of %d by %d", l.Name, len(l.X), len(l.Y), len(l.Low), len(l.High)))
		}
		xs, ys = append(xs, l.X...), slices.Concat(ys, l.Y, l.Low, l.High)
	}
	named := 0
	for _, l := range c.Lines {
		if l.Name != "" {
			named++
		}
	}
	high := max(height, top+(min(named, most+1)+1)*nameStep) // all names are there
	p := newPlot(c.Title, high, spanOf(c.XRange, xs, false), spanOf(c.YRange, ys, false))
	p.axisX(c.X)
	p.axisY(c.Y)
	for i, l := range c.Lines {
		p.band(i, l)
	}
	for i, l := range c.Lines {
		p.line(i, l)
	}
	if named > most {
		p.text(width-right+10, float64(top+12+most*nameStep), "", fmt.Sprintf("and %d more", named-most))
	}
	return p.end(w)
}

// WriteSVG writes the chart as an svg element.
func (c Bars) WriteSVG(w io.Writer) error {
	n := len(c.Labels)
	if len(c.Values) != n || c.Low != nil && (len(c.Low) != n || len(c.High) != n) {
		panic(fmt.Sprintf("chart: bars of %d labels, %d values, %d by %d errors", n, len(c.Values), len(c.Low), len(c.High)))
	}
	p := newPlot(c.Title, height+barLabel-bottom, span{0, float64(max(n, 1))}, spanOf(c.YRange, slices.Concat(c.Values, c.Low, c.High), true))
	p.axisY(c.Y)
	zero := p.y(min(max(0, p.ys.lo), p.ys.hi))
	for i, v := range c.Values {
		x, half := p.x(float64(i)+0.5), 0.35*plotWidth/float64(n)
		p.text(x, top+plotHeight+10, fmt.Sprintf(`text-anchor="end" transform="rotate(-35 %s %d)"`, number(x), top+plotHeight+10), shortened(c.Labels[i]))
		if !finite(v) {
			continue
		}
		y := p.y(v)
		p.f(`<rect x="%s" y="%s" width="%s" height="%s" fill="%s"><title>%s: %s</title></rect>`,
			number(x-half), number(min(y, zero)), number(2*half), number(math.Abs(y-zero)), colors[0], escaped(c.Labels[i]), digits(v, firstDigits))
		if c.Low != nil && finite(c.Low[i]) && finite(c.High[i]) {
			p.f(`<path d="M%s %sV%s" stroke="%s"/>`, number(x), number(p.y(c.Low[i])), number(p.y(c.High[i])), ink)
		}
	}
	return p.end(w)
}

// Grid is a table of numbers whose cells are coloured by them.
type Grid struct {
	Title        string
	Rows, Cols   []string
	Values       [][]float64 // by row, by column
	Range        [2]float64  // of the colours; equal: from the numbers
	HigherIsBest bool        // which end is blue; the other is orange
}

// WriteHTML writes the grid as a table element, whose numbers can be copied.
func (g Grid) WriteHTML(w io.Writer) error {
	var all []float64
	for _, row := range g.Values {
		if len(row) != len(g.Cols) {
			panic(fmt.Sprintf("chart: row of %d values under %d columns", len(row), len(g.Cols)))
		}
		all = append(all, row...)
	}
	s := spanOf(g.Range, all, false)
	var b bytes.Buffer
	fmt.Fprintf(&b, "<table><caption>%s</caption>\n<tr><th></th>", escaped(g.Title))
	for _, c := range g.Cols {
		fmt.Fprintf(&b, "<th>%s</th>", escaped(c))
	}
	b.WriteString("</tr>\n")
	for i, row := range g.Values {
		fmt.Fprintf(&b, "<tr><th>%s</th>", escaped(g.Rows[i]))
		for _, v := range row {
			if !finite(v) {
				b.WriteString("<td>–</td>")
				continue
			}
			share := min(max((v-s.lo)/(s.hi-s.lo), 0), 1)
			if !g.HigherIsBest {
				share = 1 - share
			}
			fmt.Fprintf(&b, `<td style="background:%s">%s</td>`, shade(share), digits(v, firstDigits))
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</table>\n")
	_, err := w.Write(b.Bytes())
	return err
}

// shade is the colour of a share: orange at 0, white in the middle, blue at 1,
// light enough for black letters.
func shade(share float64) string {
	low, high := [3]float64{0xf4, 0xb1, 0x83}, [3]float64{0x8f, 0xbf, 0xe0}
	out, to, t := "#", low, 1-2*share
	if share > 0.5 {
		to, t = high, 2*share-1
	}
	for _, v := range to {
		out += fmt.Sprintf("%02x", int(255+(v-255)*t+0.5))
	}
	return out
}

// span is what an axis shows.
type span struct{ lo, hi float64 }

// spanOf is the range that is wanted, or that of the finite values with a
// little room; fromZero has 0 in it.
func spanOf(wanted [2]float64, values []float64, fromZero bool) span {
	if wanted[0] != wanted[1] {
		return span{wanted[0], wanted[1]}
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if finite(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	if lo > hi {
		return span{0, 1}
	}
	if fromZero {
		lo, hi = min(lo, 0), max(hi, 0)
	}
	edge := relativeEdge * (hi - lo)
	if edge < minimalEdge {
		edge = max(math.Abs(hi), 1) / 2
	}
	if !fromZero || lo < 0 {
		lo -= edge
	}
	if !fromZero || hi > 0 || lo == hi {
		hi += edge
	}
	return span{lo, hi}
}

// ticks returns round numbers in the span, about wantedTicks of them.
func (s span) ticks() (at []float64) {
	step := math.Pow(10, math.Floor(math.Log10((s.hi-s.lo)/wantedTicks)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (s.hi-s.lo)/(step*f) <= wantedTicks+1 {
			step *= f
			break
		}
	}
	for i := math.Ceil(s.lo/step - minimalEdge); i*step <= s.hi+step*minimalEdge; i++ {
		at = append(at, i*step)
	}
	return at
}

// finite reports whether v can be drawn: the span of what is larger need not be
// a number.
func finite(v float64) bool { return math.Abs(v) < 1e100 }

// escaped is a text for HTML and XML, which has no control characters.
func escaped(text string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, text))
}

// number is a place in a chart: a hundredth of a pixel is enough.
func number(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
}

// digits writes a value for people.
func digits(v float64, n int) string {
	text := strconv.FormatFloat(v, 'g', n, 64)
	if text == "-0" {
		return "0"
	}
	return text
}

func shortened(name string) string {
	if r := []rune(name); len(r) > letters {
		return string(r[:letters-1]) + "…"
	}
	return name
}
