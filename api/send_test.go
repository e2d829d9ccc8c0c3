package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	_ "image/jpeg"
	"image/png"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"gorgonia.org/tensor"
)

// TestFormats holds what is sent to what was asked for, by name and by Accept.
func TestFormats(t *testing.T) {
	c := start(t, nil)
	bus := photo(t, "school_bus.png")
	const (
		isJSON = "application/json"
		isPNG  = "image/png"
		isJPEG = "image/jpeg"
		isNpy  = "application/x-npy"
	)
	for _, e := range []struct{ query, accept, want string }{
		{"", "", isJSON}, {"", "*/*", isJSON}, {"", isPNG, isPNG}, {"", isJPEG, isJPEG}, {"", isNpy, isNpy}, {"", "application/octet-stream", isNpy},
		{"", "image/avif,image/webp,image/*,*/*;q=0.8", isPNG}, {"", "text/html,*/*;q=0.8", isJSON}, {"", "image/*;q=0.5, image/png;q=0.1", isJPEG},
		{"", "application/*", isJSON}, {"", "image/png;q=0.3, image/jpeg;q=0.4", isJPEG}, {"", "*/*, application/json;q=0", isPNG},
		{"picture=overlay", "*/*", isPNG}, {"picture=heat", "", isPNG}, {"picture=sheet", "*/*", isPNG}, {"picture=heat", isJSON, isJSON},
		{"picture=sheet", isJPEG, isJPEG}, {"quality=50", "", isJPEG}, {"quality=50&picture=heat", "*/*", isJPEG}, {"quality=50", isJSON, isJSON},
		{"values=map", "*/*", isNpy}, {"values=attention", "", isNpy}, {"values=map", isJSON, isJSON},
		{"format=json", isPNG, isJSON}, {"format=png", isJSON, isPNG}, {"format=jpeg&picture=sheet", "text/html", isJPEG}, {"format=npy", "*/*", isNpy},
		{"format=json&picture=heat", "", isJSON}, {"class=beacon&classes=1&format=json", "", ""}, {"format=npy&classes=3", "", isNpy},
	} {
		r := c.post("/v1/explain?"+e.query, bus, "Accept", e.accept)
		if e.want == "" {
			require.Equal(t, http.StatusUnprocessableEntity, r.status, "%+v %s", e, r.body)
			continue
		}
		require.Equal(t, http.StatusOK, r.status, "%+v %s", e, r.body[:min(len(r.body), 200)])
		require.Equal(t, e.want, r.header.Get("Content-Type"), "%+v", e)
		require.Equal(t, "Accept", r.header.Get("Vary"))
		if e.want != isJSON {
			require.Equal(t, "starter", r.header.Get("X-Model"))
			require.NotEmpty(t, r.header.Get("X-Geometry"))
		}
	}
	for _, e := range []struct {
		query, accept string
		status        int
		says          string
	}{
		{"", "image/webp", 406, "application/json, image/png, image/jpeg, application/x-npy"}, {"", "text/html", 406, "application/json"},
		{"", "image/png;q=0", 406, "application/json"}, {"picture=heat", isNpy, 406, "image/png, image/jpeg, application/json"},
		{"values=attention", isJSON, 406, isNpy}, {"quality=9", isPNG, 406, "image/jpeg, application/json"},
		{"classes=2&format=png", "", 422, "2 maps as png, want one, or application/json"}, {"method=raw&queries=1,1&queries=2,2", isJPEG, 406, "2 maps"},
		{"format=gif", "", 422, "json or png or jpeg or npy"}, {"picture=painting", "", 422, "overlay or heat or sheet"}, {"values=all", "", 422, "map or attention"},
		{"values=map&picture=heat", "", 422, "want one of them"}, {"values=attention&format=json", "", 422, "want npy"}, {"format=png&quality=5", "", 422, "jpeg or json"},
		{"quality=0", "", 422, "1 to 100"}, {"quality=101", "", 422, "1 to 100"}, {"picture=heat&alpha=0.4", "", 422, "no photo under it"},
		{"picture=sheet&method=rollout", "", 422, "no method but raw"}, {"picture=sheet&class=beacon", "", 422, "no class"}, {"picture=sheet&head=2", "", 422, "mass with a sheet"},
		{"values=attention&method=relevance", "", 422, "no method but raw"}, {"values=attention&fusion=max", "", 422, "layer and head with values"},
		{"values=attention&queries=1,1", "", 422, "neither queries"}, {"values=attention&layer=7", "", 422, "1 to 6"}, {"values=attention&head=4", "", 422, "1 to 3"},
		{"picture=sheet&queries=1,1&queries=1,2", "", 422, "want one"},
	} {
		r := c.post("/v1/explain?"+e.query, bus, "Accept", e.accept)
		require.Equal(t, e.status, r.status, "%+v %s", e, r.body[:min(len(r.body), 200)])
		require.Contains(t, r.problem(t).Detail, e.says)
	}
	// What is wrong with Accept is not classify's business.
	require.Equal(t, http.StatusOK, c.post("/v1/classify", bus, "Accept", "text/html").status)
}

// TestPictures paints every kind, by itself and within JSON.
func TestPictures(t *testing.T) {
	c := start(t, nil)
	bus := photo(t, "school_bus.png")
	sizes := map[string]image.Point{"overlay": {X: 320, Y: 240}, "heat": {X: 64, Y: 64}, "sheet": {X: 64 + 3*116, Y: 64 + 6*116}}
	for kind, size := range sizes {
		for query, format := range map[string]string{"": "png", "&quality=30": "jpeg", "&format=jpeg": "jpeg", "&colors=viridis&upsample=nearest": "png"} {
			r := c.post("/v1/explain?picture="+kind+query, bus)
			m, found, err := image.Decode(bytes.NewReader(r.body))
			require.NoError(t, err, "%s%s %s", kind, query, r.body[:min(200, len(r.body))])
			require.Equal(t, format, found)
			require.Equal(t, size, m.Bounds().Size())
			if format == "jpeg" && !strings.Contains(query, "quality") {
				continue
			}
			// JSON holds the same picture.
			one := c.post("/v1/explain?format=json&picture="+kind+query, bus).explained(t).Results[0]
			p := one.Maps[0].Picture
			if kind == "sheet" {
				require.Zero(t, p)
				p = one.Sheet
			} else {
				require.Zero(t, one.Sheet)
			}
			require.Equal(t, r.body, p.B64, "%s%s", kind, query)
			require.Equal(t, "image/"+format, string(p.Type))
			require.Equal(t, size, image.Pt(p.Width, p.Height))
		}
	}
	require.Less(t, len(c.post("/v1/explain?quality=10", bus).body), len(c.post("/v1/explain?quality=95", bus).body)/2)
	require.NotEqual(t, c.post("/v1/explain?picture=sheet", bus).body, c.post("/v1/explain?picture=sheet&queries=2,3", bus).body)

	// compat paints, too, as that program does: in the size of the model's input.
	painted, _, err := image.Decode(bytes.NewReader(c.post("/v1/explain?picture=overlay&format=png&compat=vit-explain", bus).body))
	require.NoError(t, err)
	require.Equal(t, image.Pt(64, 64), painted.Bounds().Size())

	// Many pictures and maps: each has its own, a broken one none.
	a := c.form("/v1/explain?format=json&picture=overlay", file{"file", "a", bus}, file{"file", "b", photo(t, "broken.jpg")}, file{"file", "c", photo(t, "sideways.jpg")},
		file{field: "class", data: []byte("beacon")}, file{field: "class", data: []byte("7")}).explained(t)
	require.Equal(t, http.StatusBadRequest, a.Results[1].Error.Status)
	require.Empty(t, a.Results[1].Maps)
	seen := map[string]bool{}
	for _, i := range []int{0, 2} {
		require.Len(t, a.Results[i].Maps, 2)
		for _, m := range a.Results[i].Maps {
			require.Equal(t, a.Results[i].Geometry.Photo, []int{m.Picture.Width, m.Picture.Height})
			_, err := png.Decode(bytes.NewReader(m.Picture.B64))
			require.NoError(t, err)
			require.False(t, seen[string(m.Picture.B64)])
			seen[string(m.Picture.B64)] = true
		}
	}
}

func readNpy(t *testing.T, r reply) *tensor.Dense {
	require.Equal(t, http.StatusOK, r.status, "%s", r.body[:min(len(r.body), 200)])
	d := new(tensor.Dense)
	require.NoError(t, d.ReadNpy(bytes.NewReader(r.body)))
	return d
}

func TestNpy(t *testing.T) {
	c := start(t, nil)
	bus := photo(t, "school_bus.png")
	want := c.post("/v1/explain?classes=2", bus).explained(t).Results[0].Maps
	got := readNpy(t, c.post("/v1/explain?classes=2&values=map", bus))
	require.Equal(t, tensor.Shape{2, 8, 8}, got.Shape())
	require.Equal(t, append(slices.Concat(want[0].Values...), slices.Concat(want[1].Values...)...), got.Float32s())
	require.Equal(t, tensor.Shape{8, 8}, readNpy(t, c.post("/v1/explain?values=map", bus)).Shape())

	all := readNpy(t, c.post("/v1/explain?values=attention", bus))
	require.Equal(t, tensor.Shape{6, 3, 65, 65}, all.Shape())
	const plane = 65 * 65
	for i := 0; i < len(all.Float32s()); i += 65 {
		var sum float64
		for _, p := range all.Float32s()[i : i+65] {
			sum += float64(p)
		}
		require.InDelta(t, 1, sum, 1e-5)
	}
	part := readNpy(t, c.post("/v1/explain?values=attention&layer=2&head=3", bus))
	require.Equal(t, tensor.Shape{1, 1, 65, 65}, part.Shape())
	require.Equal(t, all.Float32s()[(1*3+2)*plane:(1*3+3)*plane], part.Float32s())
	require.Equal(t, tensor.Shape{1, 3, 65, 65}, readNpy(t, c.post("/v1/explain?values=attention&layer=6", bus)).Shape())

	// A patch's row is that of the matrices, less the class token's column.
	row := c.post("/v1/explain?method=raw&layer=4&head=2&queries=3,5", bus).explained(t).Results[0].Maps[0]
	require.Equal(t, []int{3, 5}, row.Query)
	q := 1 + 3*8 + 5
	require.Equal(t, all.Float32s()[(3*3+1)*plane+q*65+1:(3*3+1)*plane+(q+1)*65], slices.Concat(row.Values...))
	require.InDelta(t, all.Float32s()[(3*3+1)*plane+q*65], row.OnPrefix, 1e-6)
}

// TestAnswerLimit holds that what one answer may take is bounded, and what
// all take together.
func TestAnswerLimit(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.MaxAnswer = 100_000 })
	bus := photo(t, "school_bus.png")
	r := c.post("/v1/explain?values=attention", bus)
	require.Equal(t, http.StatusUnprocessableEntity, r.status)
	require.Contains(t, r.problem(t).Detail, fmt.Sprintf("takes %d bytes, the limit is 100000", 4*6*3*65*65))
	require.Equal(t, http.StatusOK, c.post("/v1/explain?values=attention&layer=1&head=1", bus).status)
	big := pngOf(t, pattern(400, 400, 5))
	r = c.post("/v1/explain?picture=overlay", big)
	require.Equal(t, http.StatusUnprocessableEntity, r.status)
	require.Contains(t, r.problem(t).Detail, "limit of 100000 bytes")
	require.Equal(t, http.StatusOK, c.post("/v1/explain?picture=overlay&quality=20", big).status)
	require.Contains(t, string(c.get("/metrics").body), "\nvitserve_body_bytes 0\n")

	// All bodies and answers together may take no more than the budget.
	c = start(t, func(cfg *api.Config) { cfg.MaxBody, cfg.BodyBudget = 150_000, 150_000 })
	r = c.post("/v1/explain?values=attention", bus)
	require.Equal(t, http.StatusUnprocessableEntity, r.status, "more than is ever free")
	r = c.post("/v1/explain?values=attention&head=1", bus)
	require.Equal(t, http.StatusTooManyRequests, r.status, "%s", r.body[:min(200, len(r.body))])
	require.Equal(t, http.StatusOK, c.post("/v1/explain?values=attention&layer=1&head=1", bus).status)
}

// TestSeveral holds that several classes and patches are each what they are
// alone, in a query, a form and JSON.
func TestSeveral(t *testing.T) {
	c := start(t, nil)
	bus := photo(t, "school_bus.png")
	for _, e := range []struct {
		common string
		name   string
		values []string
	}{
		{"", "class", []string{"beacon", "Sports Car", "7"}},
		{"versus=pizza", "class", []string{"beacon", "3"}},
		{"method=occlusion", "class", []string{"beacon", "3"}},
		{"method=raw&evidence=true", "class", []string{"beacon", "3"}},
		{"method=raw&layer=3&head=1", "queries", []string{"0,0", "7,7", "3,4"}},
		{"method=rollout", "queries", []string{"6,1", "2,2"}},
	} {
		query, err := url.ParseQuery(e.common)
		require.NoError(t, err)
		var want []v1.Map
		for _, v := range e.values {
			query.Set(e.name, v)
			want = append(want, c.post("/v1/explain?"+query.Encode(), bus).explained(t).Results[0].Maps...)
		}
		require.Len(t, want, len(e.values))
		query[e.name] = e.values
		got := c.post("/v1/explain?"+query.Encode(), bus).explained(t).Results[0].Maps
		require.Equal(t, want, got, e.common)
		require.NotEqual(t, want[0], want[1])

		files := []file{{"file", "a", bus}}
		for _, v := range e.values {
			files = append(files, file{field: e.name, data: []byte(v)})
		}
		// What the form says goes before what the query says.
		got = c.form("/v1/explain?"+e.common+"&"+e.name+"="+e.values[0], files...).explained(t).Results[0].Maps
		require.Equal(t, want, got, e.common)

		body := fmt.Sprintf(`{"images":[{"b64":%s}],%q:%s}`, jsonOf(t, bus), e.name, jsonOf(t, e.values))
		got = c.post("/v1/explain?"+e.common, []byte(body), "Content-Type", "application/json").explained(t).Results[0].Maps
		require.Equal(t, want, got, e.common)
	}
	for _, query := range []string{"classes=3", "method=legrad&classes=3", "method=rise&masks=20&classes=3", "method=raw&evidence=true&classes=3"} {
		r := c.post("/v1/explain?"+query, bus).explained(t).Results[0]
		require.Len(t, r.Maps, 3)
		for i, m := range r.Maps {
			require.Equal(t, (*r.Predictions)[i], m.Class, query)
		}
	}
	require.Len(t, c.post("/v1/explain?classes=32", bus).explained(t).Results[0].Maps, 20, "all that there are")
	for query, says := range map[string]string{
		"class=1&classes=2": "want one of them", "classes=33": "1 to 32", "classes=0": "1 to 32", "classes=2&method=rollout": "knows no class",
		"class=":                           "0 to 19",
		strings.Repeat("class=1&", 33):     "more than 32",
		strings.Repeat("queries=1,1&", 33): "more than 32",
		"method=raw&evidence=true&classes=20&queries=1,1&queries=2,2": "at most 32",
		"method=relevance&queries=1,1":                                "has no query",
	} {
		r := c.post("/v1/explain?"+query, bus)
		require.Equal(t, http.StatusUnprocessableEntity, r.status, "%s: %s", query, r.body)
		require.Contains(t, r.problem(t).Detail, says, query)
	}
	for body, says := range map[string]string{`"class":"banana"`: "want an array", `"class":[3]`: "want a string", `"queries":[[1,2]]`: "want a string", `"class":null`: "want an array"} {
		r := c.post("/v1/explain", []byte(fmt.Sprintf(`{"images":[{"b64":%s}],%s}`, jsonOf(t, bus), body)), "Content-Type", "application/json")
		require.Equal(t, http.StatusBadRequest, r.status, "%s: %s", body, r.body)
		require.Contains(t, r.problem(t).Detail, says)
	}
}

// TestSummary holds what is said beside a map's values.
func TestSummary(t *testing.T) {
	c := start(t, nil)
	r := c.post("/v1/explain?method=auto", photo(t, "school_bus.png")).explained(t).Results[0]
	m := r.Maps[0]
	require.Len(t, m.Trials, 10)
	best := m.Trials[0]
	for _, trial := range m.Trials {
		require.Contains(t, focus.Names(), trial.Method)
		require.NotNil(t, trial.Insertion)
		if *trial.Insertion-*trial.Deletion > *best.Insertion-*best.Deletion {
			best = trial
		}
	}
	require.Equal(t, best.Method, m.Method)
	require.InDelta(t, *best.Insertion, m.Evidence.Insertion, 0)
	require.Len(t, m.Evidence.PositiveCurve, focus.PerturbationSteps)
	require.Len(t, m.Evidence.NegativeCurve, focus.PerturbationSteps)
	require.NotNil(t, r.Outliers)

	plain := c.post("/v1/explain?method=rollout", photo(t, "school_bus.png")).explained(t).Results[0]
	require.Nil(t, plain.Outliers, "nobody looked for them")
	m = plain.Maps[0]
	require.True(t, 0 < m.Entropy && m.Entropy <= 1)
	require.True(t, 0 < m.OnPrefix && m.OnPrefix < 1)
	require.InDelta(t, 30, m.Peak.W, 0.5, "an eighth of what the model saw, in the photo's pixels")
	require.NotEmpty(t, m.Boxes)
	var mass float64
	for _, b := range append(m.Boxes, m.Peak) {
		require.True(t, 0 <= b.X && b.X+b.W <= 320.001 && 0 <= b.Y && b.Y+b.H <= 240.001)
		mass += b.Share
	}
	require.InDelta(t, 0.5, mass-m.Peak.Share, 0.1)
	raw, err := json.Marshal(m)
	require.NoError(t, err)
	require.NotContains(t, string(raw), `"picture"`)
}

// TestFlat holds that a map which is all alike is neither answered nor drawn:
// Grad-CAM finds nothing in the pizza that speaks for an umbrella.
func TestFlat(t *testing.T) {
	c := start(t, nil)
	pizza, bus := photo(t, "pizza.jpg"), photo(t, "school_bus.png")
	for _, query := range []string{"", "&picture=overlay", "&picture=heat", "&format=npy", "&evidence=true"} {
		r := c.post("/v1/explain?method=gradcam&class=umbrella"+query, pizza)
		require.Equal(t, http.StatusUnprocessableEntity, r.status, "%s", r.body)
		require.Contains(t, r.problem(t).Detail, "flat map")
	}
	a := c.form("/v1/explain?method=gradcam&format=json&picture=overlay&class=umbrella", file{"file", "a", pizza}, file{"file", "b", bus}).explained(t)
	require.Equal(t, http.StatusUnprocessableEntity, a.Results[0].Error.Status)
	require.Empty(t, a.Results[0].Maps)
	require.NotEmpty(t, a.Results[1].Maps[0].Picture.B64)

	r := c.post("/v1/explain?method=gradcam&class=pizza&class=umbrella&format=npy", pizza)
	require.Equal(t, http.StatusUnprocessableEntity, r.status, "a file cannot say which is missing")
	two := c.post("/v1/explain?method=gradcam&class=umbrella&class=pizza&format=json&picture=overlay", pizza).explained(t).Results[0]
	require.Len(t, two.Maps, 1)
	require.Equal(t, "pizza", two.Maps[0].Class.Label)
	require.NotEmpty(t, two.Maps[0].Picture.B64)
	require.Len(t, two.Failed, 1)
	require.Equal(t, "umbrella", two.Failed[0].Class.Label)
	require.Contains(t, two.Failed[0].Error.Detail, "flat map")
}
