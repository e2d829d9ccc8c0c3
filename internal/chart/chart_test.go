package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// wellFormed reads all of an XML document.
func wellFormed(t require.TestingT, text string) {
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err, text)
	}
}

func svg(t require.TestingT, c interface{ WriteSVG(io.Writer) error }) string {
	var b bytes.Buffer
	require.NoError(t, c.WriteSVG(&b))
	wellFormed(t, b.String())
	return b.String()
}

func TestLines(t *testing.T) {
	got := svg(t, Lines{
		Title: "a <b> & c", X: "share, %", Y: "p", XRange: [2]float64{0, 1}, YRange: [2]float64{0, 1},
		Lines: []Line{{Name: "up", X: []float64{0, 0.5, 1}, Y: []float64{0, 0.5, 1}, Low: []float64{0, 0.4, 0.9}, High: []float64{0.1, 0.6, 1}}},
	})
	require.Contains(t, got, "a &lt;b&gt; &amp; c")
	require.Contains(t, got, `d="M64 312L277 174L490 36" stroke="#0072b2"`, "a diagonal of the plot")
	require.Equal(t, got, svg(t, Lines{
		Title: "a <b> & c", X: "share, %", Y: "p", XRange: [2]float64{0, 1}, YRange: [2]float64{0, 1},
		Lines: []Line{{Name: "up", X: []float64{0, 0.5, 1}, Y: []float64{0, 0.5, 1}, Low: []float64{0, 0.4, 0.9}, High: []float64{0.1, 0.6, 1}}},
	}))
	gap := svg(t, Lines{Lines: []Line{{Name: "x", X: []float64{0, 1, 2, 3}, Y: []float64{1, 2, math.NaN(), 3}}}})
	require.Equal(t, 1, strings.Count(gap, "<circle"), "a point alone behind the gap")
	require.Panics(t, func() { _ = Lines{Lines: []Line{{X: []float64{1}}}}.WriteSVG(io.Discard) })
}

func TestBars(t *testing.T) {
	got := svg(t, Bars{Title: "t", Y: "top-1", Labels: []string{"a", "a name that is far too long for it"}, Values: []float64{0.5, -0.25}, Low: []float64{0.4, -0.5}, High: []float64{0.6, 0}})
	require.Equal(t, 3, strings.Count(got, "<rect"), "two and the background")
	require.Contains(t, got, "a name that is far to…")
	require.Contains(t, got, "a name that is far too long for it: -0.25")
	svg(t, Bars{})
	require.Panics(t, func() { _ = Bars{Labels: []string{"x"}}.WriteSVG(io.Discard) })
}

// TestAnything: whatever the numbers, a chart is well formed and no coordinate
// in it is NaN or infinite.
func TestAnything(t *testing.T) {
	wild := regexp.MustCompile(`NaN|Inf`)
	rapid.Check(t, func(rt *rapid.T) {
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0})), 0, 8).Draw(rt, "values")
		x := make([]float64, len(values))
		for i := range x {
			x[i] = float64(i)
		}
		name := rapid.String().Draw(rt, "name")
		for _, got := range []string{
			svg(rt, Lines{Lines: []Line{{Name: name, X: x, Y: values}, {X: values, Y: x}}}),
			svg(rt, Bars{Labels: make([]string, len(values)), Values: values}),
		} {
			require.False(rt, wild.MatchString(got), got)
		}
		var b bytes.Buffer
		require.NoError(rt, Grid{Title: name, Rows: []string{name}, Cols: make([]string, len(values)), Values: [][]float64{values}}.WriteHTML(&b))
	})
}

func TestTicks(t *testing.T) {
	require.InDeltaSlice(t, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}, span{0, 1}.ticks(), 1e-12)
	require.InDeltaSlice(t, []float64{-50, 0, 50, 100}, span{-60, 110}.ticks(), 1e-9)
	for _, s := range []span{{0, 1e-9}, {1e12, 2e12}, {-3, 5}, {0, 28}} {
		n := len(s.ticks())
		require.True(t, 2 <= n && n <= 8, "%v: %d", s, n)
	}
}

// TestPage: a page names nothing outside of itself, whatever it holds.
func TestPage(t *testing.T) {
	var b bytes.Buffer
	p := NewPage(&b, `<script>alert("x")</script>`)
	p.Heading(2, "<i>h</i>")
	p.Text("<img src=http://example.org/x>")
	p.Picture(image.NewGray(image.Rect(0, 0, 3, 2)), `a "caption" of <b>`)
	p.Lines(Lines{Title: "l", Lines: []Line{{Name: "</svg>", X: []float64{0, 1}, Y: []float64{0, 1}}}})
	p.Bars(Bars{Title: "b", Labels: []string{"<x>"}, Values: []float64{1}})
	p.Grid(Grid{Title: "g", Rows: []string{"<r>"}, Cols: []string{"<c>", "d"}, Values: [][]float64{{0, math.NaN()}}})
	p.Table([]string{"<a>"}, [][]string{{"<b>"}})
	require.NoError(t, p.Close())
	got := b.String()
	for _, bad := range []string{"<script", "<i>", "<img src", "<x>", "<r>", "<c>", "<a>", "<b>"} {
		require.NotContains(t, got, bad)
	}
	require.NotRegexp(t, `<[^>]*\b(src|href)="?(http|//|/|\.)`, got)
	require.Contains(t, got, `src="data:image/png;base64,`)
	require.Contains(t, got, "default-src 'none'")

	p = NewPage(&failing{after: 100}, "t")
	p.Text("x")
	require.ErrorIs(t, p.Close(), errFull)
}

var errFull = errors.New("disk full")

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestNames: every line has its name beside the plot, within the chart, as far
// as lines can be told apart, and no two of them look alike; how many others
// there are is said.
func TestNames(t *testing.T) {
	for _, n := range []int{1, 15, 24, 30} {
		c := Lines{}
		for i := range n {
			c.Lines = append(c.Lines, Line{Name: fmt.Sprintf("line %02d", i), X: []float64{0, 1}, Y: []float64{0, float64(i)}})
		}
		var b bytes.Buffer
		require.NoError(t, c.WriteSVG(&b))
		high, err := strconv.Atoi(regexp.MustCompile(`<svg [^>]*height="(\d+)"`).FindStringSubmatch(b.String())[1])
		require.NoError(t, err)
		named := regexp.MustCompile(`<text x="524" y="([\d.]+)">(line \d+)</text>`).FindAllStringSubmatch(b.String(), -1)
		require.Len(t, named, min(n, 24))
		for _, m := range named {
			y, err := strconv.ParseFloat(m[1], 64)
			require.NoError(t, err)
			require.Less(t, y, float64(high), m[2])
		}
		looks := map[string]bool{}
		for _, m := range regexp.MustCompile(`<path d="M500 [\d.]+h18" ([^/]*)/>`).FindAllStringSubmatch(b.String(), -1) {
			require.False(t, looks[m[1]], m[1])
			looks[m[1]] = true
		}
		require.Len(t, looks, min(n, 24))
		require.Equal(t, n > 24, strings.Contains(b.String(), "and 6 more"))
	}
}
