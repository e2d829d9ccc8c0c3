package api_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

const outsidePictures = "../patch/external/testdata/pictures/"

// TestDecoders: what no program is set for is 415 with what to do; with one, a
// HEIC is answered as the picture that it shows, and a program that hangs or
// needs more memory than there is is 422.
func TestDecoders(t *testing.T) {
	heic, err := os.ReadFile(outsidePictures + "plain.heic")
	require.NoError(t, err)
	golden, err := filepath.Abs(outsidePictures + "plain.heic.png")
	require.NoError(t, err)
	shown, err := os.ReadFile(golden)
	require.NoError(t, err)

	none := start(t, nil).post("/v1/classify", heic)
	require.Equal(t, http.StatusUnsupportedMediaType, none.status)
	require.Contains(t, string(none.body), "HEIC")
	require.Contains(t, string(none.body), "decoders")

	with := func(script string) func(*api.Config) {
		return func(cfg *api.Config) {
			cfg.Decoders.HEIC.Command = []string{"sh", "-c", script, "fake", "{in}", "{out}.png"}
			cfg.Decoders.HEIC.Timeout = api.Duration(2 * time.Second)
		}
	}
	c := start(t, with(`cp `+golden+` "$2"`))
	for _, path := range []string{"/v1/preprocess", "/v1/explain", "/v1/classify"} {
		got := c.post(path, heic)
		require.Equal(t, http.StatusOK, got.status, "%s: %s", path, got.body)
	}
	sum := func(data []byte) any {
		var r struct {
			Results []struct {
				SHA256 string `json:"sha256"`
			} `json:"results"`
		}
		got := c.post("/v1/preprocess", data)
		require.Equal(t, http.StatusOK, got.status)
		require.NoError(t, json.Unmarshal(got.body, &r))
		require.NotEmpty(t, r.Results[0].SHA256)
		return r
	}
	require.Equal(t, sum(shown), sum(heic))
	require.Equal(t, http.StatusUnsupportedMediaType, c.post("/v1/classify", []byte("\x00\x00\x00\x14ftypavif\x00\x00\x00\x00avif")).status)

	require.Equal(t, http.StatusUnprocessableEntity, start(t, with(`sleep 1000`)).post("/v1/classify", heic).status)
	require.Equal(t, http.StatusBadRequest, start(t, with(`exit 1`)).post("/v1/classify", heic).status)
	tight := start(t, func(cfg *api.Config) {
		with(`cp ` + golden + ` "$2"`)(cfg)
		cfg.Decoders.HEIC.Memory, cfg.DecodeBudget = 100_000_000, 100_100_000
	})
	require.Equal(t, http.StatusOK, tight.post("/v1/classify", heic).status)
}

// TestDecodersConfig: what is wrong of a decoder is said at the start.
func TestDecodersConfig(t *testing.T) {
	cfg := api.DefaultConfig()
	cfg.Decoders.AVIF.Command = []string{"no-such-program", "{in}"}
	_, err := api.New(cfg)
	require.ErrorContains(t, err, "no-such-program")

	cfg = api.DefaultConfig()
	cfg.Decoders.AVIF = api.Decoder{Command: []string{"sh"}, Memory: cfg.DecodeBudget + 1}
	require.ErrorContains(t, cfg.Validate(), "decoders: memory 500000001 of avif, want at most decode_budget")

	path := filepath.Join(t.TempDir(), "vitserve.yaml")
	require.NoError(t, os.WriteFile(path, []byte("decoders:\n  heic:\n    command: [heif-convert, --quiet, \"{in}\", \"{out}.png\"]\n    timeout: 5s\n"), 0o600))
	cfg, err = api.LoadConfig(path, []string{"VITSERVE_SERVE_DECODERS={jxl: {command: [djxl, '{in}', '{out}.ppm'], at_once: 3}}"})
	require.NoError(t, err)
	want := api.DefaultConfig().Decoders
	want.HEIC.Command, want.HEIC.Timeout = []string{"heif-convert", "--quiet", "{in}", "{out}.png"}, api.Duration(5*time.Second)
	want.JXL.Command, want.JXL.AtOnce = []string{"djxl", "{in}", "{out}.ppm"}, 3
	require.Equal(t, want, cfg.Decoders)
}
