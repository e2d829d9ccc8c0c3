package api_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/models"
)

func cfgDuration(d api.Duration) time.Duration { return time.Duration(d) }

// fixCRC makes the header of a PNG valid again.
func fixCRC(b []byte) []byte {
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

func TestClassify(t *testing.T) {
	c := start(t, nil)
	banana := photo(t, "banana.jpg")
	raw := c.post("/v1/classify?top_k=3", banana, "Content-Type", "image/jpeg")
	a := raw.classified(t)
	require.Equal(t, "starter", a.Model)
	require.Regexp(t, "^[0-9a-f]{64}$", a.Revision)
	require.NotEmpty(t, a.Note, "the embedded model says that it is a stand-in")
	require.Len(t, a.Results, 1)
	r := a.Results[0]
	require.Equal(t, "banana", (*r.Predictions)[0].Label)
	require.Len(t, *r.Predictions, 3)
	require.Nil(t, r.Logits)
	require.Equal(t, []int{320, 240}, r.Geometry.Photo)
	require.Equal(t, []int{64, 64}, r.Geometry.Input)
	require.Positive(t, r.TimingsMs.Decode)
	require.Positive(t, r.TimingsMs.Infer)
	require.Equal(t, 1, r.Batch)
	for _, stage := range []string{"decode", "preprocess", "queue", "infer", "explain", "encode"} {
		require.Contains(t, raw.header.Get("Server-Timing"), stage+";dur=")
	}

	// All ways of sending a picture give the same bits.
	b64, err := json.Marshal(map[string]any{"top_k": 3, "images": []any{map[string]any{"b64": banana, "name": "b.jpg"}}})
	require.NoError(t, err)
	for name, got := range map[string]reply{
		"no content type":   c.post("/v1/classify?top_k=3", banana),
		"curl's default":    c.post("/v1/classify?top_k=3", banana, "Content-Type", "application/x-www-form-urlencoded"),
		"octet-stream":      c.post("/v1/classify?top_k=3", banana, "Content-Type", "application/octet-stream"),
		"form, query":       c.form("/v1/classify?top_k=3", file{"file", "b.jpg", banana}),
		"form, field":       c.form("/v1/classify", file{"picture", "b.jpg", banana}, file{field: "top_k", data: []byte("3")}),
		"JSON":              c.post("/v1/classify", b64, "Content-Type", "application/json"),
		"JSON beats query":  c.post("/v1/classify?top_k=7", b64, "Content-Type", "application/json; charset=utf-8"),
		"model by its name": c.post("/v1/classify?top_k=3&model=starter", banana),
		"low priority":      c.post("/v1/classify?top_k=3&priority=low&timeout_ms=10000", banana),
	} {
		require.Equal(t, r.Predictions, got.classified(t).Results[0].Predictions, name)
	}
}

func TestLogitsAndScores(t *testing.T) {
	c := start(t, nil)
	ck, err := models.Open("", models.Options{})
	require.NoError(t, err)
	defer ck.Close()
	all := c.post("/v1/classify?top_k=0&logits=true", photo(t, "ladybug.png")).classified(t).Results[0]
	require.Len(t, all.Logits, 20)
	require.Len(t, *all.Predictions, 20)
	var sum, score float64
	for _, l := range all.Logits {
		sum += math.Exp(float64(l))
	}
	for i, p := range *all.Predictions {
		require.Equal(t, ck.Labels[p.Index], p.Label)
		require.InDelta(t, math.Exp(float64(all.Logits[p.Index]))/sum, p.Score, 1e-6)
		require.True(t, i == 0 || p.Score <= (*all.Predictions)[i-1].Score)
		score += p.Score
	}
	require.InDelta(t, 1, score, 1e-6)

	second := (*all.Predictions)[1].Score
	some := c.post("/v1/classify?min_score="+jsonOf(t, second), photo(t, "ladybug.png")).classified(t).Results[0]
	require.Equal(t, (*all.Predictions)[:2], *some.Predictions)
	none := c.post("/v1/classify?min_score=1", photo(t, "ladybug.png"))
	require.Empty(t, *none.classified(t).Results[0].Predictions)
	require.Contains(t, string(none.body), `"predictions":[]`)
}

func jsonOf(t testing.TB, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func TestEXIF(t *testing.T) {
	c := start(t, nil)
	sideways := photo(t, "sideways.jpg")
	upright := c.post("/v1/classify", sideways).classified(t).Results[0].Geometry
	stored := c.post("/v1/classify?exif=off", sideways).classified(t).Results[0].Geometry
	require.Greater(t, upright.Orientation, 1)
	require.Equal(t, 1, stored.Orientation)
	require.Equal(t, []int{stored.Photo[1], stored.Photo[0]}, upright.Photo)
}

func TestManyPictures(t *testing.T) {
	c := start(t, nil)
	names := []string{"banana.jpg", "pizza.jpg", "broken.jpg", "text.png", "school_bus.png"}
	var files []file
	var images []any
	for _, n := range names {
		data := photo(t, n)
		files = append(files, file{"file", n, data})
		images = append(images, map[string]any{"name": n, "b64": base64.StdEncoding.EncodeToString(data)})
	}
	for how, got := range map[string]reply{
		"form": c.form("/v1/classify?logits=true", files...),
		"JSON": c.post("/v1/classify?logits=true", []byte(jsonOf(t, map[string]any{"images": images})), "Content-Type", "application/json"),
	} {
		a := got.classified(t)
		require.Len(t, a.Results, len(names), how)
		for i, r := range a.Results {
			require.Equal(t, names[i], r.Image, how)
			switch names[i] {
			case "broken.jpg":
				require.Equal(t, http.StatusBadRequest, r.Error.Status, how)
				require.Nil(t, r.Predictions)
			case "text.png":
				require.Equal(t, http.StatusUnsupportedMediaType, r.Error.Status, how)
			default:
				require.Zero(t, r.Error, how)
				alone := c.post("/v1/classify?logits=true", files[i].data).classified(t).Results[0]
				require.Equal(t, alone.Logits, r.Logits, "%s: company changes nothing", how)
			}
		}
	}
	// When every picture is broken, each still says so for itself.
	a := c.form("/v1/classify", files[2], files[3]).classified(t)
	require.Equal(t, "starter", a.Model)
	require.Equal(t, 400, a.Results[0].Error.Status)
	require.Equal(t, 415, a.Results[1].Error.Status)
}

func TestOptionsDoNotStick(t *testing.T) {
	c := start(t, nil)
	require.Len(t, *c.post("/v1/classify?top_k=1", photo(t, "pizza.jpg")).classified(t).Results[0].Predictions, 1)
	require.Len(t, *c.post("/v1/classify", photo(t, "pizza.jpg")).classified(t).Results[0].Predictions, 5)
}

func TestRequestIDs(t *testing.T) {
	c := start(t, nil)
	require.Equal(t, "my.id-1", c.get("/healthz", "X-Request-ID", "my.id-1").header.Get("X-Request-ID"))
	made := c.get("/healthz", "X-Request-ID", "not an id").header.Get("X-Request-ID")
	require.Regexp(t, "^[A-Z2-7]{26}$", made)
	require.NotEqual(t, made, c.get("/healthz", "X-Request-ID", strings.Repeat("x", 65)).header.Get("X-Request-ID"))
}
