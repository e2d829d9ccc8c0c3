package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/color"
	"image/png"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// direct explains a picture without a server.
func direct(t testing.TB, data []byte, method string, o focus.Options) (*focus.Map, []float32) {
	b, err := backend.Open("cpu", backend.Options{})
	require.NoError(t, err)
	defer b.Close()
	ck, err := models.Open("", models.Options{})
	require.NoError(t, err)
	defer ck.Close()
	model, err := vit.New(b, ck.Config, ck.Weights)
	require.NoError(t, err)
	s, err := model.NewSession(vit.SessionOptions{})
	require.NoError(t, err)
	defer s.Close()
	x := tensor.New(tensor.WithShape(1, 3, 64, 64), tensor.Of(tensor.Float32))
	one := tensor.New(tensor.WithShape(3, 64, 64), tensor.WithBacking(x.Float32s()))
	transform := ck.Transform
	if o.Compat != "" {
		transform = focus.VitExplainTransform(transform)
	}
	_, err = transform.Pixels(t.Context(), one, data, patch.Options{})
	require.NoError(t, err)
	if o.Compat != "" {
		focus.VitExplainPixels(one, transform.Mean, transform.Std)
	}
	out, err := s.Forward(x, vit.Wants{AttnFull: true, Gram: true})
	require.NoError(t, err)
	rows, cols := ck.Config.Grid()
	m, err := focus.Find(method)
	require.NoError(t, err)
	f, err := m.Map(t.Context(), focus.Subject{Model: vitserve.View{Session: s}, Pixels: x, Record: &focus.Record{
		Shape: focus.Shape{Grid: [2]int{rows, cols}, Patch: ck.Config.Patch, Prefix: ck.Config.Prefix, Depth: ck.Config.Depth}, Attn: out.Attn, Gram: out.Gram,
	}}, o)
	require.NoError(t, err)
	return f, out.Logits.Float32s()
}

func TestExplain(t *testing.T) {
	c := start(t, nil)
	bus := photo(t, "school_bus.png")
	for _, e := range []struct {
		query  string
		method string
		o      focus.Options
	}{
		{"", "legrad", focus.Options{}},
		{"?method=rollout", "rollout", focus.Options{}},
		{"?fusion=max&discard=0.5", "rollout", focus.Options{Fusion: focus.Max, Discard: 0.5}},
		{"?start=3", "legrad", focus.Options{Start: 3}},
		{"?queries=3,4", "rollout", focus.Options{Query: []int{3, 4}}},
		{"?method=raw", "raw", focus.Options{}},
		{"?method=raw&layer=2&head=3", "raw", focus.Options{Layer: 2, Head: 3}},
		{"?method=raw&queries=3,4", "raw", focus.Options{Query: []int{3, 4}}},
		{"?method=raw&mass=0.6", "raw", focus.Options{Mass: 0.6}},
		{"?method=normrollout", "normrollout", focus.Options{}},
		{"?method=normrollout&queries=3,4&discard=0.5", "normrollout", focus.Options{Query: []int{3, 4}, Discard: 0.5}},
		{"?compat=vit-explain", "rollout", focus.Options{Compat: focus.VitExplain}},
	} {
		t.Run(e.query, func(t *testing.T) {
			want, logits := direct(t, bus, e.method, e.o)
			a := c.post("/v1/explain"+e.query, bus).explained(t)
			require.Equal(t, "starter", a.Model)
			require.NotEmpty(t, a.Note)
			f := a.Results[0].Maps[0]
			require.Equal(t, e.method, f.Method)
			require.NotEmpty(t, f.Paper)
			require.Equal(t, [2]int{8, 8}, [2]int{f.Rows, f.Cols})
			var flat []float32
			for _, row := range f.Values {
				flat = append(flat, row...)
			}
			require.Equal(t, want.Values.Float32s(), flat)
			require.Equal(t, want.Layer, f.Layer)
			require.Equal(t, want.Head, f.Head)
			require.Equal(t, want.OnPrefix, f.OnPrefix)
			require.Greater(t, f.Max, f.Min)
			require.True(t, f.Min <= f.Mean && f.Mean <= f.Max)
			require.Equal(t, e.o.Discard, f.Discard)
			require.Positive(t, a.Results[0].TimingsMs.Explain)
			if e.o.Compat != "" {
				return // what it classifies is not what the model is meant to see
			}
			require.Equal(t, "school bus", (*a.Results[0].Predictions)[0].Label)

			// The scores are the classifier's, to the bit.
			classified := c.post("/v1/classify?logits=true", bus).classified(t).Results[0]
			explained := c.post("/v1/explain"+and(e.query)+"logits=true", bus).explained(t).Results[0]
			require.Equal(t, classified.Logits, explained.Logits)
			require.InDeltaSlice(t, logits, explained.Logits, 1e-4)
		})
	}
}

func and(query string) string {
	if query == "" {
		return "?"
	}
	return query + "&"
}

func TestExplainMany(t *testing.T) {
	c := start(t, nil)
	a := c.form("/v1/explain",
		file{"file", "a", photo(t, "school_bus.png")}, file{"file", "b", photo(t, "broken.jpg")}, file{"file", "c", photo(t, "pizza.jpg")},
		file{field: "method", data: []byte("raw")}, file{field: "layer", data: []byte("6")}).explained(t)
	require.Len(t, a.Results, 3)
	require.Equal(t, 400, a.Results[1].Error.Status)
	norms := c.form("/v1/explain", file{"file", "a", photo(t, "school_bus.png")}, file{"file", "c", photo(t, "pizza.jpg")},
		file{field: "method", data: []byte("normrollout")}).explained(t)
	for i, name := range []string{"school_bus.png", "pizza.jpg"} {
		alone := c.post("/v1/explain?method=normrollout", photo(t, name)).explained(t)
		require.Equal(t, alone.Results[0].Maps[0], norms.Results[i].Maps[0])
		require.Empty(t, norms.Results[i].Maps[0].Fusion)
	}
	for _, i := range []int{0, 2} {
		alone := c.post("/v1/explain?method=raw&layer=6", photo(t, map[int]string{0: "school_bus.png", 2: "pizza.jpg"}[i])).explained(t)
		require.Equal(t, alone.Results[0].Maps[0], a.Results[i].Maps[0])
		require.Equal(t, alone.Results[0].Predictions, a.Results[i].Predictions)
	}
}

func TestOverlay(t *testing.T) {
	c := start(t, nil)
	bus := photo(t, "school_bus.png")
	for _, accept := range []string{"image/png", "image/*", "application/json;q=0.5, image/png", "text/html, image/png;q=0.9, */*;q=0.1"} {
		r := c.post("/v1/explain", bus, "Accept", accept)
		require.Equal(t, http.StatusOK, r.status, "%s", r.body)
		require.Equal(t, "image/png", r.header.Get("Content-Type"))
		require.Equal(t, "starter", r.header.Get("X-Model"))
		require.Len(t, r.header.Get("X-Model-Revision"), 64)
		require.Equal(t, "Accept", r.header.Get("Vary"))
		require.Contains(t, r.header.Get("Server-Timing"), "encode;dur=")
		var g v1.Geometry
		require.NoError(t, json.Unmarshal([]byte(r.header.Get("X-Geometry")), &g))
		require.Equal(t, []int{320, 240}, g.Photo)

		got, err := png.Decode(bytes.NewReader(r.body))
		require.NoError(t, err)
		m, _ := direct(t, bus, focus.DefaultMethod, focus.Options{})
		p, err := patch.Decode(t.Context(), bus, patch.Options{})
		require.NoError(t, err)
		want, err := focus.Overlay(p, patch.Geometry{
			Photo: [2]int{320, 240}, Input: [2]int{64, 64}, Orientation: 1, Coverage: g.Coverage, Seen: patch.Rect{X: g.Seen.X, Y: g.Seen.Y, W: g.Seen.W, H: g.Seen.H},
		}, m, focus.Style{})
		require.NoError(t, err)
		require.Equal(t, want.Bounds(), got.Bounds())
		for y := range want.Bounds().Dy() {
			for x := range want.Bounds().Dx() {
				require.Equal(t, color.NRGBAModel.Convert(want.At(x, y)), color.NRGBAModel.Convert(got.At(x, y)))
			}
		}
	}
	for _, accept := range []string{"", "*/*", "application/json", "application/json, image/png", "image/png;q=x", "*/*;q=0.1, image/png;q=0", ";;"} {
		require.Equal(t, "application/json", c.post("/v1/explain", bus, "Accept", accept).header.Get("Content-Type"), accept)
	}
	turbo, jet := c.post("/v1/explain", bus, "Accept", "image/png"), c.post("/v1/explain?colors=jet&alpha=0.9", bus, "Accept", "image/png")
	require.NotEqual(t, turbo.body, jet.body)
}

// TestMixedBatch explains pictures that want different rows while the device
// is busy, so that they meet in one batch.
func TestMixedBatch(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.Backend, cfg.ExplainMaxBatch = "gated", 8 })
	paths := []string{"/v1/explain", "/v1/explain?method=raw&layer=1", "/v1/explain?method=raw&queries=2,2", "/v1/explain?discard=0.9", "/v1/explain?method=raw&head=2"}
	pics := []string{"school_bus.png", "pizza.jpg", "banana.jpg", "ladybug.png", "orange.jpg"}
	alone := make([]v1.ExplainResult, len(paths))
	for i := range paths {
		alone[i] = c.post(paths[i], photo(t, pics[i])).explained(t).Results[0]
	}
	free := busy(t)
	first := c.async(t.Context(), "/v1/explain", photo(t, "pizza.jpg"))
	waitMetric(c, fmt.Sprintf(`vitserve_batch_size_count{lane="explain",model="starter"} %d`, len(paths)+1))
	var waiting []chan reply
	for i := range paths {
		waiting = append(waiting, c.async(t.Context(), paths[i], photo(t, pics[i])))
	}
	waitMetric(c, `vitserve_queue_depth{lane="explain",model="starter",priority="high"} 5`)
	free()
	require.Equal(t, 1, (<-first).explained(t).Results[0].Batch)
	together := 0
	for i, w := range waiting {
		r := (<-w).explained(t).Results[0]
		require.Equal(t, alone[i].Maps, r.Maps, paths[i])
		require.Equal(t, alone[i].Predictions, r.Predictions, paths[i])
		together = max(together, r.Batch)
	}
	require.Greater(t, together, 1, "they met")
}

// TestAsking explains by asking the model about parts of the picture.
func TestAsking(t *testing.T) {
	c := start(t, nil)
	bus := photo(t, "school_bus.png")
	for _, e := range []struct {
		query, method, class string
		evidence             bool
	}{
		{"?method=occlusion", "occlusion", "school bus", false},
		{"?method=occlusion&window=2&class=beacon", "occlusion", "beacon", false},
		{"?method=rise&masks=40&keep=0.4&seed=3&class=13", "rise", "school bus", false},
		{"?method=raw&evidence=true", "raw", "school bus", true},
		{"?method=occlusion&evidence=true&class=Pizza", "occlusion", "pizza", true},
		{"?class=school+bus", "legrad", "school bus", false},
		{"?method=relevance&start=2", "relevance", "school bus", false},
		{"?method=relevance&class=13&versus=pizza", "relevance", "school bus", false},
		{"?method=gradcam&layer=5&class=beacon&evidence=true", "gradcam", "beacon", true},
		{"?method=legrad", "legrad", "school bus", false},
		{"?method=gradrollout", "gradrollout", "school bus", false},
		{"?method=inputgradient", "inputgradient", "school bus", false},
		{"?method=integrated&steps=5", "integrated", "school bus", false},
	} {
		t.Run(e.query, func(t *testing.T) {
			r := c.post("/v1/explain"+e.query, bus).explained(t).Results[0]
			require.Equal(t, e.method, r.Maps[0].Method)
			require.Equal(t, e.class, r.Maps[0].Class.Label)
			require.Greater(t, r.Maps[0].Max, r.Maps[0].Min)
			require.Equal(t, e.evidence, len(r.Maps[0].Evidence.DeletionCurve) == focus.EvidenceSteps+1)
			require.Equal(t, r.Maps[0], c.post("/v1/explain"+e.query, bus).explained(t).Results[0].Maps[0], "the same again")
			require.Equal(t, c.post("/v1/classify", bus).classified(t).Results[0].Predictions, r.Predictions)
		})
	}
	compared := c.post("/v1/explain?class=13&versus=pizza", bus).explained(t).Results[0].Maps[0].Values
	require.NotEqual(t, c.post("/v1/explain?class=13", bus).explained(t).Results[0].Maps[0].Values, compared)
	best := c.post("/v1/explain?method=auto", bus).explained(t).Results[0]
	require.Contains(t, focus.Names(), best.Maps[0].Method, "auto says what it chose")
	require.NotEmpty(t, best.Maps[0].Paper)
	require.Len(t, best.Maps[0].Evidence.InsertionCurve, focus.EvidenceSteps+1)
	plain := c.post("/v1/explain", bus).explained(t).Results[0]
	require.Equal(t, "school bus", plain.Maps[0].Class.Label, "the best one, where nobody asked about a class")
	require.Zero(t, c.post("/v1/explain?method=rollout", bus).explained(t).Results[0].Maps[0].Class, "attention is of none")
	require.Zero(t, plain.Maps[0].Evidence)
	require.Equal(t, http.StatusOK, c.post("/v1/explain?method=occlusion", bus, "Accept", "image/png").status)

	begin := time.Now()
	late := c.post("/v1/explain?method=rise&masks=20000&timeout_ms=100", bus)
	require.Equal(t, http.StatusGatewayTimeout, late.status, "%s", late.body)
	require.Equal(t, http.StatusOK, c.post("/v1/explain", bus).status)
	require.Less(t, time.Since(begin), 5*time.Second, "and the model does not go on")
}
