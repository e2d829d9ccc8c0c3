package chart

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"io"
)

// Page is a report: one file of HTML that names no other file, so that it
// opens without a network and can be sent. What is added to it is written to W
// at once, so that a long report takes no memory; the first error sticks, and
// Close returns it.
type Page struct {
	w   io.Writer
	err error
}

// style is of every page.
const style = `body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1100px;margin:2rem auto;padding:0 1rem}
figure{margin:1rem 0;display:inline-block;vertical-align:top}figcaption{color:#555;max-width:640px}
img,svg{max-width:100%;height:auto}table{border-collapse:collapse;margin:1rem 0}caption{text-align:left;font-weight:bold}
td,th{padding:.2rem .6rem;border:1px solid #ddd;text-align:right}th{text-align:left;font-weight:normal;background:#f6f6f6}`

// NewPage begins a page.
func NewPage(w io.Writer, title string) *Page {
	p := &Page{w: w}
	p.write(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>%[1]s</title><style>%[2]s</style></head><body>
<h1>%[1]s</h1>
`, escaped(title), style)
	return p
}

func (p *Page) write(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// Heading adds a heading, of level 2 or more.
func (p *Page) Heading(level int, text string) {
	p.write("<h%d>%s</h%d>\n", level, escaped(text), level)
}

// Text adds a paragraph.
func (p *Page) Text(text string) { p.write("<p>%s</p>\n", escaped(text)) }

// Picture adds a picture, as PNG, with what it shows. Alt, for those who do
// not see it, is the caption where it is empty.
func (p *Page) Picture(m image.Image, caption string) {
	var b bytes.Buffer
	if p.err == nil {
		p.err = png.Encode(&b, m)
	}
	p.write(`<figure><img alt="%[1]s" src="data:image/png;base64,%[2]s"><figcaption>%[1]s</figcaption></figure>
`, escaped(caption), base64.StdEncoding.EncodeToString(b.Bytes()))
}

// Lines adds a chart.
func (p *Page) Lines(c Lines) { p.figure(c.WriteSVG) }

// Bars adds a chart.
func (p *Page) Bars(c Bars) { p.figure(c.WriteSVG) }

// Grid adds a table with colours.
func (p *Page) Grid(g Grid) {
	if p.err == nil {
		p.err = g.WriteHTML(p.w)
	}
}

func (p *Page) figure(svg func(io.Writer) error) {
	p.write("<figure>")
	if p.err == nil {
		p.err = svg(p.w)
	}
	p.write("</figure>\n")
}

// Table adds a table of texts under a head.
func (p *Page) Table(head []string, rows [][]string) {
	p.write("<table>\n")
	for i, row := range append([][]string{head}, rows...) {
		p.write("<tr>")
		for _, cell := range row {
			tag := "td"
			if i == 0 {
				tag = "th"
			}
			p.write("<%s>%s</%s>", tag, escaped(cell), tag)
		}
		p.write("</tr>\n")
	}
	p.write("</table>\n")
}

// Close ends the page and returns the first error.
func (p *Page) Close() error {
	p.write("</body></html>\n")
	return p.err
}
