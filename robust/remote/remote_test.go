package remote

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust"
	"github.com/vitserve/vitserve/robust/corrupt"
)

func input() []robust.Input { return []robust.Input{{Picture: corrupt.New(40, 40), Whole: true}} }

// TestServer: labels come from the first answer by the alphabet, a busy server
// is asked again, a refused picture is that picture's, and a refused key ends
// the run.
func TestServer(t *testing.T) {
	var asked, busy, status atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if busy.Add(-1) >= 0 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		if s := status.Load(); s != 0 {
			http.Error(w, "no", int(s))
			return
		}
		_, _ = w.Write([]byte(`[{"label": "zebra", "score": 0.7}, {"label": "ant", "score": 0.2}]`))
	}))
	defer server.Close()
	ctx := context.Background()
	s, err := Open(ctx, Options{URL: server.URL, Mapping: HuggingFace(), Batch: 2, Kind: "huggingface", Model: "m"})
	require.NoError(t, err)
	require.Equal(t, []string{"ant", "zebra"}, s.About().Labels)
	busy.Store(3)
	before := asked.Load()
	a, err := s.Answer(ctx, input())
	require.NoError(t, err)
	require.EqualValues(t, 4, asked.Load()-before)
	require.InDeltaSlice(t, []float64{0.2 / 0.9, 0.7 / 0.9}, a[0].Scores, 1e-12)
	status.Store(http.StatusUnprocessableEntity)
	a, err = s.Answer(ctx, input())
	require.NoError(t, err)
	require.ErrorContains(t, a[0].Err, "422")
	status.Store(http.StatusUnauthorized)
	_, err = s.Answer(ctx, input())
	require.ErrorContains(t, err, "401")
}

// TestMissing: classes that are left out share what is missing to one.
func TestMissing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"out": [{"i": 1, "s": 0.6}, {"i": 7, "s": 0.1}]}`))
	}))
	defer server.Close()
	s, err := Open(context.Background(), Options{URL: server.URL, Mapping: Mapping{Predictions: "out", Index: "i", Score: "s", Labels: []string{"a", "b", "c"}}})
	require.NoError(t, err)
	a, err := s.Answer(context.Background(), input())
	require.NoError(t, err)
	require.InDeltaSlice(t, []float64{0.2, 0.6, 0.2}, a[0].Scores, 1e-12)
	require.Contains(t, strings.Join(s.About().Notes, " "), "1 scores were of labels that no class has")
}

// TestPixels: what is sent is (v - mean)/deviation, and logits come back.
func TestPixels(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(`{"inputs": [{"name": "x", "shape": [-1, 3, 40, 40]}], "outputs": [{"name": "y", "shape": [-1, 3]}]}`))
			return
		}
		if r.Header.Get("Inference-Header-Content-Length") == "" || r.ContentLength < 3*40*40*4 {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte(`{"outputs": [{"name": "y", "data": [1, 2, 3]}]}`))
	}))
	defer server.Close()
	tr := patch.Transform{Size: [2]int{40, 40}, Fit: patch.FitShort, Resize: [2]int{40, 40}, Interpolation: patch.Bicubic, Rounding: patch.RoundTorchvision, Std: [3]float32{1, 1, 1}}
	p, err := OpenPixels(context.Background(), Options{URL: server.URL, Model: "m", Mapping: Mapping{Transform: &tr}})
	require.NoError(t, err)
	require.Len(t, p.About().Labels, 3)
	a, err := p.Answer(context.Background(), []robust.Input{{Picture: corrupt.New(40, 40)}, {Picture: corrupt.New(50, 40)}})
	require.Error(t, err, "the run's pictures have the model's size")
	require.Nil(t, a)
	a, err = p.Answer(context.Background(), []robust.Input{{Picture: corrupt.New(40, 40)}})
	require.NoError(t, err)
	require.Equal(t, []float32{1, 2, 3}, a[0].Logits)
	_, err = OpenPixels(context.Background(), Options{URL: server.URL, Model: "m"})
	require.ErrorContains(t, err, "transform")
}

// TestMapping: what is wrong with a mapping or an answer is said with its place.
func TestMapping(t *testing.T) {
	for text, says := range map[string]string{
		`{"body": 3}`:                   "body",
		`{"boddy": "x", "score": "s"}`:  "boddy",
		`{"label": "x"}`:                "want score",
		`{"score": "s"} {"score": "s"}`: "more than one",
	} {
		name := filepath.Join(t.TempDir(), "m.json")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		_, err := ReadMapping(name)
		require.ErrorContains(t, err, says)
	}
	m := Mapping{Predictions: "a.0", Score: "s", Label: "l"}
	for answer, says := range map[string]string{
		`{"b": 1}`:                `no member "a"`,
		`{"a": []}`:               `no element "0"`,
		`{"a": [3]}`:              "want a list",
		`{"a": [[{"l": "x"}]]}`:   `no member "s"`,
		`{"a": [[{"s": "0.5"}]]}`: "no number",
		`not JSON`:                "want JSON",
		`{"a": 3}`:                "leads nowhere",
	} {
		_, err := m.read([]byte(answer))
		require.ErrorContains(t, err, says, answer)
	}
	all, err := (&Mapping{Scores: "p"}).read([]byte(`{"p": [0.5, 0.25]}`))
	require.NoError(t, err)
	require.Equal(t, []named{{"", 0, 0.5}, {"", 1, 0.25}}, all)
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`[{"label": "a", "score": 1, "index": 3}]`))
	f.Add([]byte(`{"p": [1, 2e308, null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []Mapping{HuggingFace(), {Scores: "p"}, {Predictions: "a.0", Index: "index", Score: "score"}} {
			all, err := m.read(data)
			if err != nil {
				continue
			}
			s := &Server{o: Options{Mapping: m}, class: map[string]int{"a": 0}}
			s.about.Labels = []string{"a", "b"}
			if a := s.answer(all); a.Err == nil && len(a.Scores) != 2 {
				t.Fatal("scores")
			}
			labelsOf(all)
		}
	})
}
