//go:build cgo && linux

package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/backend/gpu/standin"
)

// gpus are the drivers that tests open, and how.
var gpus = map[string]func(testing.TB){"cuda": standin.CUDA, "opencl:0": standin.OpenCL}

// TestGPUCommands: classify and explain answer on a GPU as they do on the CPU.
func TestGPUCommands(t *testing.T) {
	photo := filepath.Join("..", "..", "testdata", "images", "banana.jpg")
	classify := func(on string) answer {
		got := vitserve(t, "classify", "--json", "--backend", on, photo)
		require.Equal(t, exitOK, got.code, got.stderr)
		return lines[answer](t, got.stdout)[0]
	}
	explain := func(on string) v1.ExplainAnswer {
		got := vitserve(t, "explain", "--json", "--method", "relevance", "--backend", on, photo)
		require.Equal(t, exitOK, got.code, got.stderr)
		var a v1.ExplainAnswer
		require.NoError(t, json.Unmarshal([]byte(got.stdout), &a), got.stdout)
		return a
	}
	wantClasses, wantMap := classify("cpu"), explain("cpu")
	for on, driver := range gpus {
		t.Run(on, func(t *testing.T) {
			driver(t)
			got := classify(on)
			require.Len(t, got.Predictions, len(wantClasses.Predictions))
			for i, p := range wantClasses.Predictions {
				require.Equal(t, p.Index, got.Predictions[i].Index)
				require.InDelta(t, p.Score, got.Predictions[i].Score, 1e-5)
			}
			have, want := explain(on).Results[0].Maps[0], wantMap.Results[0].Maps[0]
			require.NotEmpty(t, want.Values)
			for i, row := range want.Values {
				require.InDeltaSlice(t, row, have.Values[i], 1e-4, "row %d", i)
			}
			said := vitserve(t, "version", "--backend", on)
			require.Equal(t, exitOK, said.code)
			kind, _, _ := strings.Cut(on, ":")
			require.Contains(t, said.stdout, kind+"/")
		})
	}
}

// TestGPUPhotos: DeiT-tiny's first answers on 25 real photos are the CPU's.
func TestGPUPhotos(t *testing.T) {
	dir := shared(t)
	standin.Whole(t)
	photos, err := filepath.Glob(filepath.Join(dir, "data", "nips2017", "images", "*"))
	require.NoError(t, err)
	require.Greater(t, len(photos), 25)
	classify := func(on string) []answer {
		got := vitserve(t, append([]string{"classify", "--json", "--model", filepath.Join(dir, "models", "deit_tiny_patch16_224"), "--backend", on}, photos[:25]...)...)
		require.Equal(t, exitOK, got.code, got.stderr)
		return lines[answer](t, got.stdout)
	}
	want := classify("cpu")
	for on, driver := range gpus {
		t.Run(on, func(t *testing.T) {
			driver(t)
			got := classify(on)
			require.Len(t, got, 25)
			for i, a := range want {
				require.Equal(t, a.Predictions[0].Index, got[i].Predictions[0].Index, a.Image)
				require.InDelta(t, a.Predictions[0].Score, got[i].Predictions[0].Score, 1e-4, a.Image)
			}
		})
	}
}
