package chart

import (
	"bytes"
	"fmt"
	"io"
)

// plot is a chart that is being drawn.
type plot struct {
	out    bytes.Buffer
	xs, ys span
	names  int
}

func newPlot(title string, high int, xs, ys span) *plot {
	p := &plot{xs: xs, ys: ys}
	p.f(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" font-family="%s" font-size="%d" fill="%s">`,
		width, high, width, high, fontFamily, fontSize, ink)
	p.f(`<title>%s</title><rect width="%d" height="%d" fill="%s"/>`, escaped(title), width, high, background)
	p.text(left, top-14, fmt.Sprintf(`font-size="%d" font-weight="bold"`, titleSize), title)
	return p
}

// f writes an element on a line of its own.
func (p *plot) f(format string, args ...any) {
	fmt.Fprintf(&p.out, format+"\n", args...)
}

// text writes s at x, y.
func (p *plot) text(x, y float64, attributes, s string) {
	if attributes != "" {
		attributes = " " + attributes
	}
	p.f(`<text x="%s" y="%s"%s>%s</text>`, number(x), number(y), attributes, escaped(s))
}

// x and y return where a value lies.
func (p *plot) x(v float64) float64 { return left + plotWidth*(v-p.xs.lo)/(p.xs.hi-p.xs.lo) }
func (p *plot) y(v float64) float64 {
	return top + plotHeight*(1-(min(max(v, p.ys.lo), p.ys.hi)-p.ys.lo)/(p.ys.hi-p.ys.lo))
}

func (p *plot) axisX(name string) {
	const base = top + plotHeight
	for _, v := range p.xs.ticks() {
		p.f(`<path d="M%s %dv%d" stroke="%s"/>`, number(p.x(v)), base, tick, ink)
		p.text(p.x(v), base+tick+fontSize, `text-anchor="middle"`, digits(v, otherDigits))
	}
	p.f(`<path d="M%d %dh%d" stroke="%s"/>`, left, base, plotWidth, ink)
	p.text(left+plotWidth/2, height-8, `text-anchor="middle"`, name)
}

func (p *plot) axisY(name string) {
	for _, v := range p.ys.ticks() {
		p.f(`<path d="M%d %sh%d" stroke="%s"/>`, left, number(p.y(v)), plotWidth, grey)
		p.text(left-tick-2, p.y(v)+tick, `text-anchor="end"`, digits(v, otherDigits))
	}
	p.f(`<path d="M%d %dv%d" stroke="%s"/>`, left, top, plotHeight, ink)
	middle := top + plotHeight/2
	p.text(14, float64(middle), fmt.Sprintf(`text-anchor="middle" transform="rotate(-90 14 %d)"`, middle), name)
}

// band fills what is between Low and High, in pieces where a value is missing.
func (p *plot) band(i int, l Line) {
	if l.Low == nil {
		return
	}
	for _, piece := range pieces(l.X, l.Low, l.High) {
		p.out.WriteString(`<path d="`)
		for k, at := range piece {
			p.out.WriteString(step(k, p.x(l.X[at]), p.y(l.High[at])))
		}
		for k := len(piece) - 1; k >= 0; k-- {
			p.out.WriteString(step(1, p.x(l.X[piece[k]]), p.y(l.Low[piece[k]])))
		}
		p.f(`Z" fill="%s" fill-opacity="%g"/>`, colors[i%len(colors)], bandOpacity)
	}
}

// line draws a curve, a dot where a point stands alone, and its name.
func (p *plot) line(i int, l Line) {
	color, dash := colors[i%len(colors)], dashes[i/len(colors)%len(dashes)]
	style := fmt.Sprintf(`stroke="%s" stroke-width="%d"`, color, lineWidth)
	if dash != "" {
		style += fmt.Sprintf(` stroke-dasharray="%s"`, dash)
	}
	for _, piece := range pieces(l.X, l.Y) {
		if len(piece) == 1 {
			p.f(`<circle cx="%s" cy="%s" r="3" fill="%s"/>`, number(p.x(l.X[piece[0]])), number(p.y(l.Y[piece[0]])), color)
			continue
		}
		p.out.WriteString(`<path fill="none" d="`)
		for k, at := range piece {
			p.out.WriteString(step(k, p.x(l.X[at]), p.y(l.Y[at])))
		}
		p.f(`" %s><title>%s</title></path>`, style, escaped(l.Name))
	}
	if l.Name == "" || p.names == most {
		return
	}
	y := float64(top + 8 + p.names*nameStep)
	p.f(`<path d="M%d %sh18" %s/>`, width-right+10, number(y), style)
	p.text(width-right+34, y+4, "", shortened(l.Name))
	p.names++
}

// end closes the element and writes it.
func (p *plot) end(w io.Writer) error {
	p.out.WriteString("</svg>\n")
	_, err := w.Write(p.out.Bytes())
	return err
}

// step is a command of a path, which begins with the first.
func step(k int, x, y float64) string {
	command := "L"
	if k == 0 {
		command = "M"
	}
	return command + number(x) + " " + number(y)
}

// pieces are the indices of points whose coordinates are all finite, cut where
// one is not.
func pieces(coordinates ...[]float64) (all [][]int) {
	open := false
	for i := range coordinates[0] {
		ok := true
		for _, c := range coordinates {
			ok = ok && finite(c[i])
		}
		switch {
		case ok && open:
			all[len(all)-1] = append(all[len(all)-1], i)
		case ok:
			all = append(all, []int{i})
		}
		open = ok
	}
	return all
}
