package browsertest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	stdimage "image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const waits, tick = 20 * time.Second, 50 * time.Millisecond

// canvas is what a view shows, in its own pixels.
func (p *tab) canvas(view string) stdimage.Image {
	p.t.Helper()
	data := eval[string](p, fmt.Sprintf("document.querySelector(%q).querySelector('.stage canvas').toDataURL('image/png')", view))
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(data, "data:image/png;base64,"))
	require.NoError(p.t, err)
	m, err := png.Decode(bytes.NewReader(raw))
	require.NoError(p.t, err)
	return m
}

// post asks the server itself.
func post(t *testing.T, at, file string) []byte {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	r, err := http.Post(at, "application/octet-stream", bytes.NewReader(data))
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.StatusCode, "%s: %s", at, body)
	return body
}

// overlayOf is the server's own overlay of a photo.
func overlayOf(t *testing.T, s *server, file, query string) stdimage.Image {
	m, err := png.Decode(bytes.NewReader(post(t, s.url+"/v1/explain?picture=overlay&format=png"+query, file)))
	require.NoError(t, err)
	return m
}

// difference is the mean difference of two pictures' channels, in grey levels;
// infinite where their sizes differ.
func difference(t *testing.T, a, b stdimage.Image) float64 {
	if a.Bounds().Size() != b.Bounds().Size() {
		t.Logf("sizes %v and %v", a.Bounds().Size(), b.Bounds().Size())
		return math.Inf(1)
	}
	size, sum := a.Bounds().Size(), 0.0
	for y := range size.Y {
		for x := range size.X {
			p := color.NRGBAModel.Convert(a.At(a.Bounds().Min.X+x, a.Bounds().Min.Y+y)).(color.NRGBA)
			q := color.NRGBAModel.Convert(b.At(b.Bounds().Min.X+x, b.Bounds().Min.Y+y)).(color.NRGBA)
			for _, d := range []int{int(p.R) - int(q.R), int(p.G) - int(q.G), int(p.B) - int(q.B)} {
				sum += math.Abs(float64(d))
			}
		}
	}
	return sum / float64(3*size.X*size.Y)
}

// scene is a picture in which every place looks otherwise.
func scene(w, h int) stdimage.Image {
	m := stdimage.NewNRGBA(stdimage.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			fx, fy := float64(x)/float64(w), float64(y)/float64(h)
			c := color.NRGBA{R: uint8(255 * fx), G: uint8(255 * fy), B: uint8(127 + 127*math.Sin(9*fx+5*fy)), A: 255}
			if math.Hypot(fx-0.3, fy-0.4) < 0.2 {
				c = color.NRGBA{R: 240, G: 210, B: 40, A: 255}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

// written is a file of a picture; a JPEG has an EXIF orientation.
func written(t *testing.T, name string, m stdimage.Image, orientation uint16) string {
	path := filepath.Join(t.TempDir(), name)
	var b bytes.Buffer
	if filepath.Ext(name) == ".png" {
		require.NoError(t, png.Encode(&b, m))
	} else {
		require.NoError(t, jpeg.Encode(&b, m, &jpeg.Options{Quality: 92}))
		exif := []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01")
		exif = append(binary.BigEndian.AppendUint16(exif, orientation), 0, 0, 0, 0, 0, 0)
		segment := append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(exif)+2)), exif...)
		data := b.Bytes()
		b = *bytes.NewBuffer(append(append(append([]byte{}, data[:2]...), segment...), data[2:]...))
	}
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

// shapes are the photos whose places are compared.
func shapes(t *testing.T) (files []string) {
	for o := uint16(1); o <= 8; o++ {
		files = append(files, written(t, fmt.Sprintf("orientation%d.jpg", o), scene(230, 150), o))
	}
	return append(files,
		written(t, "wide.jpg", scene(1500, 97), 1), written(t, "tall.png", scene(75, 900), 1),
		written(t, "tiny.png", scene(9, 7), 1), written(t, "large.jpg", scene(1700, 1200), 6))
}

// TestPositions: the canvas is the server's own overlay, and the patch under a
// click is the one that a request names.
func TestPositions(t *testing.T) {
	s := serve(t)
	p := open(t, s.url, 1280)
	for _, file := range shapes(t) {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			p.t = t
			p.give(file)
			p.answered(name)
			worst := 0.0
			compare := func(query string) {
				d := difference(t, p.canvas("#view"), overlayOf(t, s, file, query))
				require.LessOrEqual(t, d, 2.0, query)
				worst = max(worst, d)
			}
			compare("")
			p.choose("#colors", "viridis")
			p.click("#smooth")
			p.set("#alpha", "80", "input")
			p.wait("!document.querySelector('#smooth').checked")
			compare("&colors=viridis&upsample=nearest&alpha=0.8")
			p.choose("#method", "inputgradient") // with signs
			p.wait("document.querySelector('#view figcaption').textContent.startsWith('Map of inputgradient')")
			p.choose("#colors", "")
			compare("&method=inputgradient&upsample=nearest&alpha=0.8")
			t.Logf("mean difference at most %.3f grey levels", worst)
			p.set("#alpha", "65", "input")
			p.click("#smooth")
			p.choose("#method", "")
			p.wait("document.querySelector('#view figcaption').textContent.startsWith('Map of legrad')")

			for _, at := range [][2]float64{{0.09, 0.2}, {0.44, 0.56}, {0.56, 0.93}, {0.94, 0.07}} {
				p.patch(s, file, at)
			}
		})
	}
	p.t = t
}

type box struct{ X, Y, W, H float64 }

// patch clicks at a place, by shares of what the model saw.
func (p *tab) patch(s *server, file string, at [2]float64) {
	t := p.t
	t.Helper()
	var answer struct {
		Results []struct {
			Maps []struct {
				Rows, Cols int
				Query      []int
				Values     [][]float64
			}
			Geometry struct {
				Photo []float64
				Seen  box
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(p.text("#json")), &answer))
	g, m := answer.Results[0].Geometry, answer.Results[0].Maps[0]
	x, y := g.Seen.X+at[0]*g.Seen.W, g.Seen.Y+at[1]*g.Seen.H
	want := []int{int(at[1] * float64(m.Rows)), int(at[0] * float64(m.Cols))}

	eval[bool](p, "document.querySelector('#view canvas').scrollIntoView({ block: 'center' }), true")
	on := eval[box](p, "(() => { const r = document.querySelector('#view canvas').getBoundingClientRect(); return { X: r.left, Y: r.top, W: r.width, H: r.height }; })()")
	p.do(clickAt(on.X+x/g.Photo[0]*on.W, on.Y+y/g.Photo[1]*on.H))
	cell := fmt.Sprintf("%d,%d", want[0], want[1])
	p.wait(fmt.Sprintf("decodeURIComponent(location.hash).includes('patch=%s') && JSON.parse(document.querySelector('#json').textContent).results[0].maps[0].query?.join() === %q", cell, cell))

	require.NoError(t, json.Unmarshal([]byte(p.text("#json")), &answer))
	shown := answer.Results[0].Maps[0]
	require.NoError(t, json.Unmarshal(post(t, s.url+"/v1/explain?method=raw&queries="+cell, file), &answer))
	require.Equal(t, want, answer.Results[0].Maps[0].Query)
	require.Equal(t, answer.Results[0].Maps[0].Values, shown.Values)

	// The frame lies around the place that was clicked.
	frame := eval[box](p, "(() => { const r = document.querySelector('#view .mark').getBoundingClientRect(), c = document.querySelector('#view canvas').getBoundingClientRect(); return { X: r.left - c.left, Y: r.top - c.top, W: r.width, H: r.height }; })()")
	px, py := x/g.Photo[0]*on.W, y/g.Photo[1]*on.H
	require.InDelta(t, frame.X+frame.W/2, px, frame.W/2+2)
	require.InDelta(t, frame.Y+frame.H/2, py, frame.H/2+2)
	p.click("#unpatch")
	p.wait("!location.hash.includes('patch') && !JSON.parse(document.querySelector('#json').textContent).results[0].maps[0].query")
}
