package focus_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

var (
	focusPhotos = flag.Int("focus.photos", 2, "photos that TestFocusReport scores every method on")
	focusOnly   = flag.String("focus.only", "", "names of the maps that TestFocusReport scores, parted by semicolons; \"\": all")
	focusInt8   = flag.Bool("focus.int8", false, "score what the model says in int8")
	focusQuick  = flag.Bool("focus.quick", false, "leave out occlusion and rise, which ask hundreds of times")
	focusReport = flag.String("focus.report", "", "file that TestFocusReport writes its table to, in Markdown")
	focusScores = flag.String("focus.scores", "", "file that keeps the scores of each photo and map, in JSON lines: a run that was ended goes on where it was")
)

// score is the evidence of one map of one photo.
type score struct {
	Photo     string  `json:"photo"`
	Map       string  `json:"map"`
	Deletion  float64 `json:"deletion"`
	Insertion float64 `json:"insertion"`
	Positive  float64 `json:"positive"`
	Negative  float64 `json:"negative"`
}

// gain is what Evidence.Score is.
func (s score) gain() float64 { return s.Insertion - s.Deletion }

// scores are those of all photos by map and photo, each written to a file as
// soon as it is there.
type scores struct {
	by   map[[2]string]score
	file *os.File // nil: none
}

func openScores(t *testing.T, name string) *scores {
	s := &scores{by: map[[2]string]score{}}
	if name == "" {
		return s
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	for d := json.NewDecoder(file); ; {
		var one score
		if err := d.Decode(&one); err == io.EOF {
			break
		} else {
			require.NoError(t, err, name)
		}
		s.by[[2]string{one.Map, one.Photo}] = one
	}
	s.file = file
	return s
}

func (s *scores) add(t *testing.T, one score) {
	s.by[[2]string{one.Map, one.Photo}] = one
	if s.file != nil {
		require.NoError(t, json.NewEncoder(s.file).Encode(one))
	}
}

// candidate is one row of the report.
type candidate struct {
	name string
	make func(photo string, x focus.Subject) (*focus.Map, error)

	scores []score
}

// fixed is a map of values by row and column, for what a method must beat.
func fixed(grid [2]int, value func(r, c int) float64) *focus.Map {
	v := tensor.New(tensor.WithShape(grid[0], grid[1]), tensor.Of(tensor.Float32))
	for i := range v.Float32s() {
		v.Float32s()[i] = float32(value(i/grid[1], i%grid[1]))
	}
	return &focus.Map{Values: v}
}

// defaultRow is the row of the map that is made where no method is named.
const defaultRow = "LeGrad, the default"

func candidates(t *testing.T) []*candidate {
	all := []*candidate{
		{name: "random map", make: func(photo string, x focus.Subject) (*focus.Map, error) {
			rng := rand.New(rand.NewPCG(uint64(crc32.ChecksumIEEE([]byte(photo))), 3))
			return fixed(x.Grid, func(int, int) float64 { return rng.Float64() }), nil
		}},
		{name: "centre prior", make: func(_ string, x focus.Subject) (*focus.Map, error) {
			return fixed(x.Grid, func(row, col int) float64 {
				v := (float64(row)+0.5)/float64(x.Grid[0]) - 0.5
				u := (float64(col)+0.5)/float64(x.Grid[1]) - 0.5
				return math.Exp(-8 * (u*u + v*v))
			}), nil
		}},
	}
	for _, c := range []struct {
		name, method string
		o            focus.Options
	}{
		{"raw, last layer, mean", "raw", focus.Options{}},
		{"rollout, mean", "rollout", focus.Options{}},
		{"rollout, max, discard 0.9", "rollout", focus.Options{Fusion: focus.Max, Discard: 0.9}},
		{"norm-weighted rollout", "normrollout", focus.Options{}},
		{"relevance", "relevance", focus.Options{}},
		{"gradient rollout", "gradrollout", focus.Options{}},
		{"Grad-CAM", "gradcam", focus.Options{}},
		{defaultRow, focus.DefaultMethod, focus.Options{}},
		{"input × gradient", "inputgradient", focus.Options{}},
		{"integrated gradients", "integrated", focus.Options{}},
		{"occlusion", "occlusion", focus.Options{}},
		{"rise, 400 masks", "rise", focus.Options{}},
	} {
		m, err := focus.Find(c.method)
		require.NoError(t, err)
		if *focusQuick && m.From == focus.FromParts {
			continue
		}
		all = append(all, &candidate{name: c.name, make: func(_ string, x focus.Subject) (*focus.Map, error) {
			return m.Map(context.Background(), x, c.o)
		}})
	}
	if *focusOnly != "" {
		return slices.DeleteFunc(all, func(c *candidate) bool {
			return c.name != "random map" && !slices.Contains(strings.Split(*focusOnly, ";"), c.name)
		})
	}
	return all
}

// TestFocusReport scores every method on real photos
// with the real DeiT-tiny, for the class that the model sees. It holds that
// each beats chance, and over all photos that the default is what it is chosen
// for; with -focus.photos 250 -focus.report FILE it writes the table of the
// documentation.
func TestFocusReport(t *testing.T) {
	dir := shared(t)
	c, s := deitTinyIn(t, dir, 8, map[bool]backend.Precision{true: backend.Int8}[*focusInt8])
	list, err := os.ReadFile(filepath.Join(dir, "data", "nips2017", "labels.csv"))
	require.NoError(t, err)
	photos, err := csv.NewReader(bytes.NewReader(list)).ReadAll()
	require.NoError(t, err)
	photos = photos[1:]
	n := min(*focusPhotos, len(photos))
	all := candidates(t)

	kept := openScores(t, *focusScores)
	for i := range n {
		// Spread over the list, which is sorted by nothing in particular.
		photo := photos[i*len(photos)/n][0]
		missing := slices.DeleteFunc(slices.Clone(all), func(a *candidate) bool {
			_, found := kept.by[[2]string{a.name, photo}]
			return found
		})
		if len(missing) > 0 {
			data, err := os.ReadFile(filepath.Join(dir, "data", "nips2017", "images", photo))
			require.NoError(t, err)
			size := c.Transform.Size
			pixels := tensor.New(tensor.WithShape(1, 3, size[0], size[1]), tensor.Of(tensor.Float32))
			_, err = c.Transform.Pixels(t.Context(), tensor.New(tensor.WithShape(3, size[0], size[1]), tensor.WithBacking(pixels.Float32s())), data, patch.Options{})
			require.NoError(t, err)
			out, err := s.Forward(pixels, vit.Wants{AttnFull: true, Gram: true})
			require.NoError(t, err)
			subject := focus.Subject{
				Record: vitserve.RecordOf(vitserve.ShapeOf(c.Config), out), Model: vitserve.View{Session: s}, Pixels: pixels,
				Targets: []focus.Target{{Class: slices.Index(out.Logits.Float32s(), slices.Max(out.Logits.Float32s()))}},
			}
			for _, a := range missing {
				m, err := a.make(photo, subject)
				require.NoError(t, err, a.name)
				e, err := focus.Evaluate(context.Background(), subject, subject.Targets[0].Class, m)
				require.NoError(t, err, a.name)
				kept.add(t, score{photo, a.name, e.Deletion, e.Insertion, e.Positive, e.Negative})
			}
		}
		for _, a := range all {
			a.scores = append(a.scores, kept.by[[2]string{a.name, photo}])
		}
	}

	var table bytes.Buffer
	fmt.Fprintf(&table, "| map | deletion ↓ | insertion ↑ | insertion − deletion ↑ | positive ↓ | negative ↑ |\n|---|---|---|---|---|---|\n")
	for _, a := range all {
		cell := func(of func(score) float64) string {
			var x []float64
			for _, one := range a.scores {
				x = append(x, of(one))
			}
			mean, lo, hi := bootstrap(x)
			return fmt.Sprintf("%.3f (%.3f to %.3f)", mean, lo, hi)
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n", a.name,
			cell(func(s score) float64 { return s.Deletion }),
			cell(func(s score) float64 { return s.Insertion }),
			cell(score.gain),
			cell(func(s score) float64 { return s.Positive }),
			cell(func(s score) float64 { return s.Negative }))
	}
	t.Logf("%d photos\n%s", n, table.String())
	if *focusReport != "" {
		require.NoError(t, os.WriteFile(*focusReport, table.Bytes(), 0o644))
	}

	gain := func(a *candidate) (sum float64) {
		for _, one := range a.scores {
			sum += one.gain() / float64(n)
		}
		return sum
	}
	for _, a := range all {
		if slices.Contains([]string{"random map", "centre prior", "raw, last layer, mean"}, a.name) {
			continue // raw need not be better on every photo
		}
		require.Greater(t, gain(a), gain(all[0]), "%s is no better than a random map", a.name)
		if a.name == defaultRow && n == len(photos) {
			require.GreaterOrEqual(t, gain(a), 0.38)
		}
	}
}

// bootstrap returns the mean of x and its 95 % percentile interval under
// resampling with replacement: Efron, "Bootstrap Methods", Annals of
// Statistics 1979.
func bootstrap(x []float64) (mean, lo, hi float64) {
	rng := rand.New(rand.NewPCG(1, 1))
	means := make([]float64, 2000)
	for i := range means {
		for range x {
			means[i] += x[rng.IntN(len(x))] / float64(len(x))
		}
	}
	slices.Sort(means)
	for _, v := range x {
		mean += v / float64(len(x))
	}
	return mean, means[len(means)*25/1000], means[len(means)*975/1000]
}
