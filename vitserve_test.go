package vitserve_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

func open(t testing.TB, name string, o ...vitserve.Options) *vitserve.Model {
	m, err := vitserve.Open(name, o...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func testPhoto(name string) string { return filepath.Join("testdata", "images", name) }

func read(t testing.TB, name string) []byte {
	b, err := os.ReadFile(testPhoto(name))
	require.NoError(t, err)
	return b
}

// stripes is a picture with an edge.
func stripes(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(7 * x), uint8(255 * (x / 9 % 2)), uint8(3 * y), uint8(100 + x)})
		}
	}
	return m
}

// TestSources: the same photo is answered alike whatever it comes from.
func TestSources(t *testing.T) {
	m := open(t, "starter")
	data := read(t, "banana.jpg")
	want, err := m.Classify(t.Context(), vitserve.File(testPhoto("banana.jpg")))
	require.NoError(t, err)
	require.Equal(t, "banana", want.Predictions[0].Label)
	require.Len(t, want.Predictions, 20)
	require.Equal(t, [2]int{320, 240}, want.Geometry.Photo)
	photo, err := patch.Decode(t.Context(), data, patch.Options{})
	require.NoError(t, err)
	before := bytes.Clone(photo.Image.Pix)
	for name, s := range map[string]vitserve.Source{
		"bytes": vitserve.Bytes(data), "reader": vitserve.Reader(bytes.NewReader(data)), "image": vitserve.Image(photo.Image),
	} {
		got, err := m.Classify(t.Context(), s)
		require.NoError(t, err, name)
		require.Equal(t, want.Logits, got.Logits, name)
	}
	require.Equal(t, before, photo.Image.Pix, "an image is not changed")

	// What can be read twice is answered twice alike.
	s := vitserve.Bytes(data)
	for range 2 {
		got, err := m.Classify(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, want.Logits, got.Logits)
	}
}

// TestImages: any kind of image in memory is answered as its PNG is.
func TestImages(t *testing.T) {
	m := open(t, "starter")
	from := stripes(70, 90)
	gray, rgba64, ycc := image.NewGray(from.Rect), image.NewNRGBA64(from.Rect), image.NewYCbCr(image.Rect(0, 0, 70, 90), image.YCbCrSubsampleRatio420)
	paletted := image.NewPaletted(from.Rect, color.Palette{color.Black, color.NRGBA{200, 10, 90, 255}})
	for y := range 90 {
		for x := range 70 {
			gray.Set(x, y, from.At(x, y))
			rgba64.Set(x, y, from.At(x, y))
			paletted.SetColorIndex(x, y, uint8(x/5%2))
		}
	}
	for i := range ycc.Y {
		ycc.Y[i] = uint8(i)
	}
	for _, m2 := range []image.Image{from, gray, rgba64, paletted, from.SubImage(image.Rect(11, 3, 60, 50))} {
		var file bytes.Buffer
		require.NoError(t, png.Encode(&file, m2))
		want, err := m.Classify(t.Context(), vitserve.Bytes(file.Bytes()))
		require.NoError(t, err)
		got, err := m.Classify(t.Context(), vitserve.Image(m2))
		require.NoError(t, err)
		require.Equal(t, want.Logits, got.Logits, "%T %v", m2, m2.Bounds())
		require.Equal(t, want.Geometry, got.Geometry)
		// And it can be sent.
		sent, err := vitserve.Image(m2).Read(t.Context())
		require.NoError(t, err)
		again, err := m.Classify(t.Context(), vitserve.Bytes(sent))
		require.NoError(t, err)
		require.Equal(t, want.Logits, again.Logits)
	}
	type own struct{ image.Image }
	for _, c := range []image.Image{ycc, own{ycc}, ycc.SubImage(image.Rect(3, 5, 40, 41))} {
		_, err := m.Classify(t.Context(), vitserve.Image(c))
		require.NoError(t, err)
	}
	_, err := m.Classify(t.Context(), vitserve.Image(image.NewGray(image.Rectangle{})))
	require.ErrorIs(t, err, patch.ErrImage)
	_, err = m.Classify(t.Context(), vitserve.Image(image.NewUniform(color.White)))
	require.ErrorIs(t, err, patch.ErrSize)
}

func TestErrors(t *testing.T) {
	_, err := vitserve.Open("no-such-model")
	require.ErrorIs(t, err, models.ErrNotFound)
	_, err = vitserve.Open("starter", vitserve.Options{Precision: "f64"})
	require.ErrorContains(t, err, `precision "f64"`)
	_, err = vitserve.Open("starter", vitserve.Options{Backend: "abacus"})
	require.ErrorContains(t, err, `no backend "abacus"`)
	require.Panics(t, func() { _, _ = vitserve.Open("starter", vitserve.Options{}, vitserve.Options{}) })

	m := open(t, "starter")
	for _, c := range []struct {
		s    vitserve.Source
		want error
		text string
	}{
		{vitserve.File("no-such-file.jpg"), os.ErrNotExist, "no-such-file.jpg: no such file"},
		{vitserve.File(testPhoto("broken.jpg")), patch.ErrImage, "broken.jpg: patch: "},
		{vitserve.Bytes([]byte("hello")), patch.ErrFormat, "patch: "},
		{vitserve.Failed("x", io.ErrUnexpectedEOF), io.ErrUnexpectedEOF, "x: unexpected EOF"},
		{vitserve.Source{}, nil, "the zero Source is no photo"},
	} {
		_, err := m.Classify(t.Context(), c.s)
		require.ErrorContains(t, err, c.text)
		_, embed := m.Embed(t.Context(), c.s)
		_, explain := m.Explain(t.Context(), c.s)
		require.Equal(t, err.Error(), embed.Error())
		require.Equal(t, err.Error(), explain.Error())
		if c.want != nil {
			require.ErrorIs(t, err, c.want)
		}
	}
	q := vitserve.Question{Classes: []string{"dog"}}
	_, err = m.Explain(t.Context(), vitserve.File(testPhoto("banana.jpg")), q)
	require.ErrorIs(t, err, models.ErrClass)
	q = vitserve.Question{}
	q.Method = "lime"
	_, err = m.Explain(t.Context(), vitserve.File(testPhoto("banana.jpg")), q)
	require.ErrorIs(t, err, focus.ErrOption)
	_, err = m.Embed(t.Context(), vitserve.File(testPhoto("banana.jpg")), vit.Embedding{Pool: "max"})
	require.ErrorContains(t, err, "max")

	headless := open(t, filepath.Join("models", "testdata", "golden", "hf_dino"))
	_, err = headless.Classify(t.Context(), vitserve.File(testPhoto("banana.jpg")))
	require.ErrorIs(t, err, vitserve.ErrHead)
	q.Method = "relevance"
	_, err = headless.Explain(t.Context(), vitserve.File(testPhoto("banana.jpg")), q)
	require.ErrorIs(t, err, vitserve.ErrHead)
	_, err = headless.Evaluate(t.Context(), vitserve.Files("testdata"), vitserve.StreamOptions{}, nil)
	require.ErrorIs(t, err, vitserve.ErrHead)
	x, err := headless.Explain(t.Context(), vitserve.File(testPhoto("banana.jpg")))
	require.NoError(t, err)
	require.NotNil(t, x.Maps[0].Map)
	e, err := headless.Embed(t.Context(), vitserve.File(testPhoto("banana.jpg")))
	require.NoError(t, err)
	require.Equal(t, headless.Config().Features(), e.Shape()[0])
}

func TestClose(t *testing.T) {
	m, err := vitserve.Open("starter")
	require.NoError(t, err)
	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	_, err = m.Classify(t.Context(), vitserve.File(testPhoto("banana.jpg")))
	require.ErrorIs(t, err, vitserve.ErrClosed)

	for _, err = range m.Stream(t.Context(), vitserve.Files(testPhoto("banana.jpg")), vitserve.StreamOptions{}) {
	}
	require.ErrorIs(t, err, vitserve.ErrClosed)

	// A stream under way is answered to its end.
	m, err = vitserve.Open("starter")
	require.NoError(t, err)
	var many []string
	for range 40 {
		many = append(many, testPhoto("banana.jpg"))
	}
	closed := make(chan error, 1)
	n := 0
	for r, err := range m.Stream(t.Context(), vitserve.Files(many...), vitserve.StreamOptions{Batch: 4}) {
		require.NoError(t, errors.Join(err, r.Err))
		if n++; n == 1 {
			go func() { closed <- m.Close() }()
			time.Sleep(10 * time.Millisecond)
		}
	}
	require.Equal(t, 40, n)
	require.NoError(t, <-closed)

	// A backend of the caller's, which models share, stays open.
	b, err := backend.Open("cpu", backend.Options{Threads: 1})
	require.NoError(t, err)
	one, two := open(t, "starter", vitserve.Options{On: b}), open(t, "starter", vitserve.Options{On: b})
	require.NoError(t, one.Close())
	_, err = two.Classify(t.Context(), vitserve.File(testPhoto("banana.jpg")))
	require.NoError(t, err)
	require.NoError(t, two.Close())
	require.NoError(t, b.Close())
}

// TestGoroutines asks one model from many goroutines: every answer is that of
// a goroutine alone, bit for bit.
func TestGoroutines(t *testing.T) {
	m := open(t, "starter", vitserve.Options{Threads: 3})
	names := []string{"banana.jpg", "pizza.jpg", "school_bus.png", "sideways.jpg"}
	q := vitserve.Question{}
	q.Method = "relevance"
	type answers struct {
		logits, embedding, values []float32
	}
	ask := func(name string) (a answers, err error) {
		s := vitserve.File(testPhoto(name))
		c, err := m.Classify(t.Context(), s)
		if err != nil {
			return a, err
		}
		e, err := m.Embed(t.Context(), s)
		if err != nil {
			return a, err
		}
		x, err := m.Explain(t.Context(), s, q)
		if err != nil {
			return a, err
		}
		return answers{c.Logits, e.Float32s(), x.Maps[0].Map.Values.Float32s()}, nil
	}
	want := map[string]answers{}
	for _, name := range names {
		a, err := ask(name)
		require.NoError(t, err)
		want[name] = a
	}
	var wg sync.WaitGroup
	for i := range 8 {
		name := names[i%len(names)]
		wg.Go(func() {
			got, err := ask(name)
			if err != nil || !slices.Equal(got.logits, want[name].logits) || !slices.Equal(got.embedding, want[name].embedding) || !slices.Equal(got.values, want[name].values) {
				t.Errorf("%s: other answers than alone: %v", name, err)
			}
		})
	}
	wg.Wait()
}

// collect runs a stream to its end.
func collect(t *testing.T, stream iter.Seq2[vitserve.Result, error]) (all []vitserve.Result) {
	for r, err := range stream {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

func TestStream(t *testing.T) {
	m := open(t, "starter")
	all := slices.Collect(vitserve.Files(filepath.Join("testdata", "images")))
	require.Greater(t, len(all), 10)
	var many []vitserve.Source
	for range 5 {
		many = append(many, all...)
	}
	want := map[string][]float32{}
	for _, batch := range []int{0, 1, 3, 100} {
		results := collect(t, m.Stream(t.Context(), slices.Values(many), vitserve.StreamOptions{Batch: batch}))
		require.Len(t, results, len(many))
		for i, r := range results {
			require.Equal(t, many[i].Name, r.Source.Name, "in their order")
			broken := strings.HasSuffix(r.Source.Name, "broken.jpg") || strings.HasSuffix(r.Source.Name, "text.png")
			require.Equal(t, broken, r.Err != nil, "%s: %v", r.Source.Name, r.Err)
			if broken {
				continue
			}
			if want[r.Source.Name] == nil {
				a, err := m.Classify(t.Context(), r.Source)
				require.NoError(t, err)
				want[r.Source.Name] = a.Logits
				require.Equal(t, a.Geometry, r.Geometry)
			}
			require.Equal(t, want[r.Source.Name], r.Logits, r.Source.Name)
		}
	}
	none := collect(t, m.Stream(t.Context(), slices.Values([]vitserve.Source(nil)), vitserve.StreamOptions{}))
	require.Empty(t, none)

	e := vit.Embedding{Pool: vit.PoolGrid}
	for _, r := range collect(t, m.Stream(t.Context(), slices.Values(all), vitserve.StreamOptions{Embedding: &e, Batch: 4})) {
		if r.Err == nil {
			alone, err := m.Embed(t.Context(), r.Source, e)
			require.NoError(t, err)
			require.Equal(t, alone, r.Embedding)
		}
	}
}

// TestStreamIsBounded: sources are listed no faster than they are answered.
func TestStreamIsBounded(t *testing.T) {
	m := open(t, "starter")
	data := read(t, "banana.jpg")
	var listed atomic.Int64
	endless := func(yield func(vitserve.Source) bool) {
		for yield(vitserve.Bytes(data)) {
			listed.Add(1)
		}
	}
	n := 0
	for r, err := range m.Stream(t.Context(), endless, vitserve.StreamOptions{Batch: 2}) {
		require.NoError(t, err)
		require.NoError(t, r.Err)
		if n++; n == 10 {
			time.Sleep(50 * time.Millisecond)
			require.Less(t, listed.Load(), int64(200))
			break // and the source ends
		}
	}
	before := listed.Load()
	time.Sleep(20 * time.Millisecond)
	require.Equal(t, before, listed.Load(), "nobody lists any more")
}

// TestStreamStops: the end of the context ends the stream, also one whose
// source or photo never comes.
func TestStreamStops(t *testing.T) {
	m := open(t, "starter")
	never, write := io.Pipe()
	defer write.Close()
	data := read(t, "banana.jpg")
	block := make(chan struct{})
	defer close(block)
	for name, sources := range map[string]iter.Seq[vitserve.Source]{
		"photo":  slices.Values([]vitserve.Source{vitserve.Bytes(data), vitserve.Reader(never)}),
		"source": func(yield func(vitserve.Source) bool) { _ = yield(vitserve.Bytes(data)); <-block },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		var last error
		for _, err := range m.Stream(ctx, sources, vitserve.StreamOptions{}) {
			last = err
		}
		cancel()
		require.ErrorIs(t, last, context.DeadlineExceeded, name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Classify(ctx, vitserve.Reader(never))
	require.ErrorIs(t, err, context.Canceled)
}
