package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/disintegration/imaging"
	"golang.org/x/term"
)

// checkPictureName refuses a file name that does not say how to encode.
func checkPictureName(path string) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".png", ".jpg", ".jpeg":
		return nil
	}
	return fmt.Errorf("output %s, want a name that ends in .png or .jpg, or .npy for values", path)
}

// isPNG reports whether a picture of that name is a PNG, and not a JPEG.
func isPNG(path string) bool { return strings.EqualFold(filepath.Ext(path), ".png") }

// encodePicture encodes m by the extension of path.
func encodePicture(w io.Writer, path string, m image.Image, quality int) error {
	if isPNG(path) {
		return png.Encode(w, m)
	}
	return jpeg.Encode(w, m, &jpeg.Options{Quality: quality})
}

// writeJSON writes v on one line, letters as they are. What a terminal might
// obey is escaped: JSON itself asks for that of the first 32 characters only.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	out := make([]byte, 0, len(line)+1)
	for _, r := range string(line) {
		if strconv.IsPrint(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, "\\u%04x", unit)
		}
	}
	_, err := w.Write(append(out, '\n'))
	return err
}

// canDraw reports whether w shows colours, and is to: https://no-color.org.
func canDraw(w io.Writer) bool { return isLively(w) && os.Getenv("NO_COLOR") == "" }

// drawPicture shows a picture on a terminal in coloured half blocks.
func drawPicture(w io.Writer, m image.Image) error {
	cols, rows := 80, 24
	if f, ok := w.(*os.File); ok {
		// A terminal need not know its size.
		if c, r, err := term.GetSize(int(f.Fd())); err == nil && c > 0 && r > 0 {
			cols, rows = c, r
		}
	}
	return drawBlocks(w, imaging.Fit(m, min(cols, 80), 2*max(rows-4, 8), imaging.Box))
}

// sideBySide is a photo and its map, of one height.
func sideBySide(photo, m image.Image) image.Image {
	high := min(photo.Bounds().Dy(), m.Bounds().Dy(), 400)
	a, b := imaging.Resize(photo, 0, high, imaging.Box), imaging.Resize(m, 0, high, imaging.Box)
	gap := max(high/40, 1)
	both := imaging.New(a.Bounds().Dx()+gap+b.Bounds().Dx(), high, color.NRGBA{A: 255})
	both = imaging.Paste(both, a, image.Point{})
	return imaging.Paste(both, b, image.Pt(a.Bounds().Dx()+gap, 0))
}

// shrunk is a picture as a page shows it.
func shrunk(m image.Image) image.Image {
	const most = 480
	if m.Bounds().Dx() <= most && m.Bounds().Dy() <= most {
		return m
	}
	return imaging.Fit(m, most, most, imaging.Lanczos)
}

// drawBlocks draws two pixels in each character: the upper half block's
// colour and its background.
func drawBlocks(w io.Writer, m *image.NRGBA) error {
	out := bufio.NewWriter(w)
	for y := 0; y < m.Rect.Dy(); y += 2 {
		for x := range m.Rect.Dx() {
			top := m.NRGBAAt(x, y)
			fmt.Fprintf(out, "\x1b[38;2;%d;%d;%dm", top.R, top.G, top.B)
			if y+1 < m.Rect.Dy() {
				low := m.NRGBAAt(x, y+1)
				fmt.Fprintf(out, "\x1b[48;2;%d;%d;%dm", low.R, low.G, low.B)
			}
			out.WriteString("▀")
		}
		out.WriteString("\x1b[0m\n")
	}
	return out.Flush()
}

// drawLetters shows the patches of a focus map in letters, darkest to
// brightest: two a patch, which is about square.
func drawLetters(w io.Writer, cells [][]float32) error {
	const ramp = " .:-=+*#%@"
	lo, hi := cells[0][0], cells[0][0]
	for _, row := range cells {
		for _, v := range row {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	if hi > 0 {
		lo = max(lo, 0) // of a map with signs, what speaks for the class
	}
	out := bufio.NewWriter(w)
	for _, row := range cells {
		line := ""
		for _, v := range row {
			i := 0
			if hi > lo {
				i = int((max(v, lo) - lo) / (hi - lo) * float32(len(ramp)-1))
			}
			line += strings.Repeat(ramp[i:i+1], 2)
		}
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	return out.Flush()
}
