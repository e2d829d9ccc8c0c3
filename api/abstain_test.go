package api_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
)

// TestAbstain: below a threshold no label is answered and the answer says why;
// who does not ask gets the same answer as ever.
func TestAbstain(t *testing.T) {
	c := start(t, nil)
	banana := photo(t, "banana.jpg")
	plain := c.post("/v1/classify?top_k=3&logits=true", banana).classified(t)
	r := plain.Results[0]
	best, energy := (*r.Predictions)[0].Score, vit.Energy(r.Logits)
	require.Empty(t, r.Abstained)

	ask := func(query string) (predictions int, abstained string) {
		r := c.post("/v1/classify?top_k=3&"+query, banana).classified(t).Results[0]
		return len(*r.Predictions), r.Abstained
	}
	for _, c := range []struct {
		query, why  string
		predictions int
	}{
		{fmt.Sprintf("min_confidence=%g", best), "", 3},
		{fmt.Sprintf("min_confidence=%g", best+1e-6), fmt.Sprintf("confidence %.4g is below min_confidence %.4g", best, best+1e-6), 0},
		{fmt.Sprintf("min_energy=%g", energy-1e-6), "", 3},
		{fmt.Sprintf("min_energy=%g", energy+1), fmt.Sprintf("energy %.4g is below min_energy %.4g", energy, energy+1), 0},
		{"min_confidence=0.0001&min_energy=-5&min_score=1", "", 0},
	} {
		n, why := ask(c.query)
		require.Equal(t, c.why, why, c.query)
		require.Equal(t, c.predictions, n, c.query)
	}
	require.Equal(t, http.StatusUnprocessableEntity, c.post("/v1/classify?min_confidence=2", banana).status)
	require.Equal(t, http.StatusBadRequest, c.post("/v1/explain?min_confidence=0.5", banana).status)
	require.Equal(t, http.StatusBadRequest, c.post("/v1/classify?min_energy=NaN", banana).status)
}

// TestCalibrated: a server with a temperature file and thresholds of its own
// answers scores at that temperature, says so, abstains, and /metrics shows how
// sure it was and of what.
func TestCalibrated(t *testing.T) {
	ck, err := models.Open("starter", models.Options{})
	require.NoError(t, err)
	defer ck.Close()
	name := filepath.Join(t.TempDir(), models.TemperatureFile)
	write := func(k models.Calibration) {
		data, err := json.Marshal(k)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, data, 0o600))
	}
	write(models.Calibration{Temperature: 3, Weights: ck.Revision(), Photos: 99})
	c := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{Path: "starter", ID: "starter", Temperature: name, MinConfidence: 0.999}}
		cfg.DriftMetrics = true
	})
	banana := photo(t, "banana.jpg")
	a := c.post("/v1/classify?top_k=0&logits=true&min_confidence=0.0001", banana).classified(t)
	require.Contains(t, a.Note, "scores are at temperature 3, fitted on 99 photos")
	logits := a.Results[0].Logits
	sum := 0.0
	for _, z := range logits {
		sum += math.Exp(float64(z) / 3)
	}
	for _, p := range *a.Results[0].Predictions {
		require.InDelta(t, math.Exp(float64(logits[p.Index])/3)/sum, p.Score, 1e-6)
	}
	own := c.post("/v1/classify", banana).classified(t).Results[0]
	require.Contains(t, own.Abstained, "is below min_confidence 0.999")
	require.Empty(t, *own.Predictions)
	text := string(c.get("/metrics").body)
	require.Contains(t, text, `vitserve_confidence_count{model="starter"} 2`)
	require.Contains(t, text, `label="banana",model="starter"} 2`)

	write(models.Calibration{Temperature: 3, Weights: "other"})
	cfg := api.DefaultConfig()
	cfg.Models = []api.ModelConfig{{Path: "starter", Temperature: name}}
	s, err := api.New(cfg)
	if err == nil {
		err = s.Preload(t.Context())
		require.NoError(t, s.Close())
	}
	require.ErrorContains(t, err, "fitted for other weights")
	cfg.Models[0].MinConfidence = 7
	require.ErrorContains(t, cfg.Validate(), "min_confidence 7")
}
