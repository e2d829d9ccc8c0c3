package browsertest

import (
	"fmt"
	stdimage "image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPhotos: every way in which photos come to the page, at both widths.
func TestPhotos(t *testing.T) {
	s := serve(t)
	for _, width := range []int64{360, 1280} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			p := open(t, s.url, width)
			p.wait("document.querySelector('#model').options.length === 1")
			p.accessible()

			p.give(image("banana.jpg"))
			p.answered("banana.jpg")
			p.wait("document.querySelector('#labels li .name').textContent === 'banana'")
			require.Equal(t, "70.7 %", p.text("#labels li .score"))
			require.Equal(t, 5, eval[int](p, "document.querySelectorAll('#labels li').length"))
			for _, stage := range []string{"decode", "preprocess", "queue", "infer", "explain", "encode", "all"} {
				require.Regexp(t, `^\d+(\.\d)? ms$`, p.text("[data-stage="+stage+"]"))
			}
			p.accessible()

			p.click("#samples button:nth-child(2)") // a sample
			p.answered("pizza.jpg")
			p.do(focus("#samples button:nth-child(3)"))
			p.key("\r")
			p.answered("jellyfish.jpg")

			drop(p, "drop", "dragged.jpg", "orange.jpg")
			p.answered("dragged.jpg")
			drop(p, "paste", "pasted.jpg", "pizza.jpg")
			p.answered("pasted.jpg")

			// The drop zone is a button, by mouse and by keys.
			eval[bool](p, "document.querySelector('#file').addEventListener('click', (e) => { e.preventDefault(); window.chosen = (window.chosen ?? 0) + 1; }), true")
			p.click("#drop")
			for _, key := range []string{"\r", " "} {
				p.do(focus("#drop"))
				p.key(key)
			}
			require.Equal(t, 3, eval[int](p, "window.chosen"))

			p.click("#camera")
			p.wait("document.querySelector('#camera-dialog').open && document.querySelector('#camera-video').videoWidth > 0")
			p.accessible()
			p.click("#camera-take")
			p.answered("camera.jpg")
			require.False(t, eval[bool](p, "document.querySelector('#camera-dialog').open"))
			p.click("#camera")
			p.wait("document.querySelector('#camera-dialog').open")
			p.key("\x1b")
			p.wait("!document.querySelector('#camera-dialog').open && !document.querySelector('#camera-video').srcObject")

			// All of them are in the grid.
			require.Equal(t, 6, eval[int](p, "document.querySelectorAll('#grid button').length"))
			require.LessOrEqual(t, eval[int](p, "document.documentElement.scrollWidth"), int(width), "nothing sticks out")
		})
	}
}

// drop has a file of the project come by an event.
func drop(p *tab, event, name, from string) {
	data, err := os.ReadFile(image(from))
	require.NoError(p.t, err)
	eval[bool](p, fmt.Sprintf(`(() => {
		const all = new DataTransfer();
		all.items.add(new File([new Uint8Array(%s)], %q, { type: "image/jpeg" }));
		const e = %q === "drop" ? new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: all })
			: new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: all });
		(%q === "drop" ? document.querySelector("#drop") : document.body).dispatchEvent(e);
		return e.defaultPrevented;
	})()`, strings.ReplaceAll(fmt.Sprint(data), " ", ","), name, event, event))
}

// TestGrid: several at once are a grid; a broken one is told in it, and no
// request fails for it.
func TestGrid(t *testing.T) {
	s := serve(t)
	p := open(t, s.url, 1280)
	p.give(image("banana.jpg"), image("broken.jpg"), image("text.png"), image("pizza.jpg"), image("sideways.jpg"))
	p.answered("banana.jpg")
	require.Equal(t, 5, eval[int](p, "document.querySelectorAll('#grid button').length"))
	cell := func(n int) string { return p.text(fmt.Sprintf("#grid li:nth-child(%d)", n)) }
	require.Contains(t, cell(1), "banana 70.7 %")
	require.Contains(t, cell(2), "cut off")
	require.Contains(t, cell(3), "not an image")
	require.Contains(t, cell(4), "pizza 76.7 %")
	p.accessible()
	p.click("#grid li:nth-child(4) button")
	p.answered("pizza.jpg")
	require.Equal(t, "true", eval[string](p, "document.querySelector('#grid li:nth-child(4) button').getAttribute('aria-pressed')"))
	p.do(focus("#grid li:nth-child(5) button"))
	p.key("\r")
	p.answered("sideways.jpg")
	p.wait("document.querySelector('#view canvas').width === 320 && document.querySelector('#view canvas').height === 240")
	require.Greater(t, eval[int](p, "document.querySelector('#grid canvas').width"), 100, "each has its map")
}

// TestFewer: a server that takes fewer photos at once is asked more often.
func TestFewer(t *testing.T) {
	s := serve(t, "--max-images", "2")
	p := open(t, s.url, 1280)
	p.expect(`^network error: .* 413 .*/v1/explain`)
	p.give(image("banana.jpg"), image("pizza.jpg"), image("jellyfish.jpg"))
	p.answered("banana.jpg")
	p.wait("[...document.querySelectorAll('#grid li')].every((e) => e.textContent.endsWith('%'))")
	require.Equal(t, 3, eval[int](p, "document.querySelectorAll('#grid li').length"))
}

// TestBroken: what cannot be read is told in words, and the page goes on.
func TestBroken(t *testing.T) {
	s := serve(t)
	p := open(t, s.url, 360)
	p.expect(`^network error: .* 400 \(Bad Request\) .*/v1/explain`)
	p.expect(`^network error: .* 415 \(Unsupported Media Type\) .*/v1/explain`)
	p.give(image("broken.jpg"))
	p.wait("document.querySelector('#error').checkVisibility()")
	require.Contains(t, p.text("#error-words"), "cut off")
	p.accessible()
	p.give(image("text.png"))
	p.wait("document.querySelector('#error-words').textContent.includes('cannot read this file')")
	p.give(image("banana.jpg"))
	p.answered("banana.jpg")
	require.False(t, p.shown("#error"))
}

// TestConverted: what the browser can draw and the server cannot read is made
// a PNG, once; the answer is that of the picture.
func TestConverted(t *testing.T) {
	s := serve(t)
	p := open(t, s.url, 1280)
	p.expect(`^network error: .* 415 \(Unsupported Media Type\) .*/v1/explain`)
	p.give(external("444.avif"))
	p.answered("444.avif")
	require.Equal(t, 2, p.explained(), "refused once, converted once")
	p.choose("#method", "raw")
	p.wait("document.querySelector('#view figcaption').textContent.startsWith('Map of raw')")
	require.Equal(t, 3, p.explained(), "and not again")

	// Upright once: the picture that was sent has no orientation any more.
	p.give(external("irot1.avif"))
	p.answered("irot1.avif")
	p.choose("#method", "")
	p.click("#map")
	p.wait("!document.querySelector('#map').checked")
	f, err := os.Open(external("irot1.avif.png"))
	require.NoError(t, err)
	defer f.Close()
	want, err := png.Decode(f)
	require.NoError(t, err)
	require.LessOrEqual(t, difference(t, p.canvas("#view"), want), 2.0)
	p.wait("JSON.parse(document.querySelector('#json').textContent).results[0].geometry.orientation === 1")

	// Among others it is, too.
	p.give(image("banana.jpg"), external("444.avif"))
	p.wait("document.querySelectorAll('#grid li').length === 4 && /%$/.test(document.querySelector('#grid li:nth-child(4)').textContent)")
}

// TestServerPaints: a photo that only the server can read is painted by it.
func TestServerPaints(t *testing.T) {
	s := serve(t)
	tif, err := filepath.Abs("../../../patch/testdata/formats/exif6.tif")
	require.NoError(t, err)
	p := open(t, s.url, 1280)
	p.give(tif)
	p.answered("exif6.tif")
	want := overlayOf(t, s, tif, "")
	require.LessOrEqual(t, difference(t, p.canvas("#view"), want), 0.0)
	p.choose("#colors", "viridis")
	p.click("#smooth")
	p.wait("document.querySelector('#status').textContent.startsWith('exif6.tif: ')")
	want = overlayOf(t, s, tif, "&colors=viridis&upsample=nearest")
	require.Eventually(t, func() bool { return difference(t, p.canvas("#view"), want) == 0 }, waits, tick)
}

// explained is how often the server was asked for a map.
func (p *tab) explained() (n int) {
	asked, _ := p.loaded()
	for _, at := range asked {
		if strings.Contains(at, "/v1/explain") {
			n++
		}
	}
	return n
}

// TestTransparent: the server passes transparency over, and a canvas cannot, so
// that the server paints such a photo, too.
func TestTransparent(t *testing.T) {
	s := serve(t)
	m := stdimage.NewNRGBA(stdimage.Rect(0, 0, 90, 60))
	for y := range 60 {
		for x := range 90 {
			m.SetNRGBA(x, y, color.NRGBA{R: uint8(2 * x), G: uint8(4 * y), B: 200, A: uint8(255 * (x / 45))})
		}
	}
	file := written(t, "clear.png", m, 1)
	p := open(t, s.url, 1280)
	p.give(file)
	p.answered("clear.png")
	require.Zero(t, difference(t, p.canvas("#view"), overlayOf(t, s, file, "")))
	p.choose("#corruption", "fog")
	p.set("#severity", "2", "input")
	p.wait("document.querySelector('#corrupt-told').textContent !== ''")
}

// TestDrawing: what only an img draws is converted, too.
func TestDrawing(t *testing.T) {
	s := serve(t)
	file := filepath.Join(t.TempDir(), "drawing.svg")
	require.NoError(t, os.WriteFile(file, []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="200" height="120"><rect width="200" height="120" fill="#fe6"/><circle cx="80" cy="60" r="40" fill="#d22"/></svg>`), 0o600))
	p := open(t, s.url, 360)
	p.expect(`^network error: .* 415 \(Unsupported Media Type\) .*/v1/explain`)
	p.give(file)
	p.answered("drawing.svg")
	require.Equal(t, 2, p.explained())
	require.Equal(t, stdimage.Pt(200, 120), p.canvas("#view").Bounds().Size())
}

func external(name string) string {
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "patch", "external", "testdata", "pictures", name))
	if err != nil {
		panic(err)
	}
	return path
}
