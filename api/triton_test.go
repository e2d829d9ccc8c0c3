package api_test

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTritonMetrics: counters under Triton's names grow with requests of any
// dialect, and the parts of their time are no longer than the whole.
func TestTritonMetrics(t *testing.T) {
	c := start(t, nil)
	read := func() map[string]float64 {
		all := map[string]float64{}
		for line := range strings.Lines(string(c.get("/metrics").body)) {
			if m := regexp.MustCompile(`^(nv_\w+)\{model="starter",(.*)version="1"\} (\S+)`).FindStringSubmatch(line); m != nil {
				v, err := strconv.ParseFloat(m[3], 64)
				require.NoError(t, err)
				all[m[1]+strings.TrimSuffix(m[2], ",")] = v
			}
		}
		return all
	}
	banana := photo(t, "banana.jpg")
	require.Equal(t, http.StatusOK, c.post("/v1/classify", banana).status)
	require.Equal(t, http.StatusOK, c.form("/v1/embed", file{"file", "a", banana}, file{"file", "b", banana}).status)
	require.Equal(t, http.StatusOK, c.post("/v1/explain?method=relevance", banana).status)
	require.Equal(t, http.StatusOK, c.post("/v1/preprocess", banana).status, "is no inference")
	require.Equal(t, http.StatusBadRequest, c.post("/v1/classify", []byte("GIF89a")).status)
	m := read()
	require.InDelta(t, 3, m["nv_inference_request_success"], 0)
	require.InDelta(t, 4, m["nv_inference_count"], 0)
	require.InDelta(t, 1, m[`nv_inference_request_failurereason="OTHER"`], 0)
	require.Positive(t, m["nv_inference_exec_count"])
	require.Contains(t, m, "nv_inference_pending_request_count")
	parts := 0.0
	for _, name := range []string{"queue", "compute_input", "compute_infer", "compute_output"} {
		parts += m["nv_inference_"+name+"_duration_us"]
	}
	for _, name := range []string{"compute_input", "compute_infer"} {
		require.Positive(t, m["nv_inference_"+name+"_duration_us"], name)
	}
	require.LessOrEqual(t, parts, m["nv_inference_request_duration_us"])
}
