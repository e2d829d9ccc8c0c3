package measure

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

type golden struct {
	Logits, Other, Outliers [][]float32
	Truth                   []int
	NLL, Brier, ECE, AURC   float64
	ByTorchmetrics          float64 `json:"ece_torchmetrics"`
	EqualMass               float64 `json:"ece_equal_mass"`
	Temperature             float64
	OtherTemperature        float64 `json:"temperature_other"`
	Entropy, KL             []float64
	Detection               map[string][3]float64
	Maps                    [2][]float32
	Drift                   [4]float64
	McNemar                 [3]float64
}

// TestGolden holds the measures to those of scikit-learn, netcal, torchmetrics
// and SciPy on the same logits.
func TestGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(data, &g))
	const near = 1e-6
	n := float64(len(g.Logits))
	var confidence []float64
	var right, other []bool
	var nll, brier float64
	for i, z := range g.Logits {
		p, q := Softmax(z, 1), Softmax(g.Other[i], 1)
		nll, brier = nll+NLL(p, g.Truth[i])/n, brier+Brier(p, g.Truth[i])/n
		confidence = append(confidence, p[Best(p)])
		right = append(right, Rank(p, g.Truth[i]) == 0)
		other = append(other, Best(q) == g.Truth[i])
		require.InDelta(t, g.Entropy[i], Entropy(p), near)
		require.InDelta(t, g.KL[i], KL(p, q), near)
	}
	require.InDelta(t, g.NLL, nll, near)
	require.InDelta(t, g.Brier, brier, near)
	require.InDelta(t, g.ECE, CalibrationError(Reliability(confidence, right, Bins)), near)
	require.InDelta(t, g.ByTorchmetrics, CalibrationError(Reliability(confidence, right, Bins)), near)
	require.InDelta(t, g.EqualMass, CalibrationError(EqualMass(confidence, right, Bins)), near)
	require.InDelta(t, g.AURC, AURC(confidence, right), near)
	for i, logits := range [][][]float32{g.Logits, g.Other} {
		got, err := Temperature(func(f func([]float32, int)) error {
			for j, z := range logits {
				f(z, g.Truth[j])
			}
			return nil
		})
		require.NoError(t, err)
		require.InDelta(t, []float64{g.Temperature, g.OtherTemperature}[i], got, 1e-4)
	}
	scores := map[string]func(z []float32) float64{
		"msp":       func(z []float32) float64 { p := Softmax(z, 1); return -p[Best(p)] },
		"max_logit": func(z []float32) float64 { return -float64(z[Best(Softmax(z, 1))]) },
		"energy":    func(z []float32) float64 { return -Energy(z) },
		"entropy":   func(z []float32) float64 { return Entropy(Softmax(z, 1)) },
	}
	require.Len(t, g.Detection, len(scores))
	for name, want := range g.Detection {
		of := func(all [][]float32) (s []float64) {
			for _, z := range all {
				s = append(s, scores[name](z))
			}
			return s
		}
		d := Detect(of(g.Logits), of(g.Outliers))
		require.InDeltaSlice(t, want[:], []float64{d.AUROC, d.AUPR, d.FPR95}, near, name)
	}
	d := Compare(g.Maps[0], g.Maps[1])
	require.InDeltaSlice(t, g.Drift[:], []float64{d.Cosine, d.Spearman, d.JS, d.IoU}, near)
	p := Paired(right, other, 1)
	require.Equal(t, []int{int(g.McNemar[0]), int(g.McNemar[1])}, []int{p.OnlyFirst, p.OnlySecond})
	require.InDelta(t, g.McNemar[2], p.P, near)
	require.Less(t, p.Interval[0], p.Difference)
	require.Greater(t, p.Interval[1], p.Difference)
}

// TestAlexNet: AlexNet's own errors are 100, relative and not, and the means of
// its errors by severity are the constants in use.
func TestAlexNet(t *testing.T) {
	constants := map[string]float64{
		"gaussian_noise": .886428, "shot_noise": .894468, "impulse_noise": .922640, "defocus_blur": .819880, "glass_blur": .826268,
		"motion_blur": .785948, "zoom_blur": .798360, "snow": .866816, "frost": .826572, "fog": .819324, "brightness": .564592,
		"contrast": .853204, "elastic_transform": .646056, "pixelate": .717840, "jpeg_compression": .606500,
	}
	require.Len(t, alexNet, len(constants))
	for name, mean := range constants {
		errors := map[int]float64{}
		sum := 0.0
		for s := 1; s <= 5; s++ {
			e, ok := AlexNet(name, s)
			require.True(t, ok)
			errors[s] = e
			sum += e / 5
		}
		require.InDelta(t, mean, sum, 1e-9, name)
		for range 5 { // any severities of them
			ce, ok := CorruptionError(name, errors)
			require.True(t, ok)
			require.InDelta(t, 100, ce, 1e-9)
			ce, ok = RelativeCE(name, errors, AlexNetClean)
			require.True(t, ok)
			require.InDelta(t, 100, ce, 1e-9)
			if delete(errors, len(errors)); len(errors) == 0 {
				break
			}
		}
	}
	_, ok := CorruptionError("spatter", map[int]float64{1: 0.5})
	require.False(t, ok)
}

func TestSequences(t *testing.T) {
	require.InDelta(t, 0.5, FlipProbability([]int{1, 1, 2, 2, 3}, false, 1), 1e-12)
	require.InDelta(t, 0.75, FlipProbability([]int{1, 1, 2, 2, 3}, true, 1), 1e-12)
	require.InDelta(t, 1, FlipProbability([]int{1, 1, 2, 2, 3}, false, 2), 1e-12)
	a, b := []int{1, 2, 3, 4, 5}, []int{2, 1, 3, 4, 9}
	require.InDelta(t, 1+1+0+0+1, TopDistance([][]int{a, b}, false, 1), 1e-12)
	require.InDelta(t, 0, TopDistance([][]int{a, a, a}, true, 1), 1e-12)
	require.InDelta(t, 5+4+3+2+1, TopDistance([][]int{a, {11, 12, 13, 14, 15}}, false, 1), 1e-12)
}

// TestBootstrap holds the interval of a share to the normal one and to Wilson's.
func TestBootstrap(t *testing.T) {
	const n, right = 400, 300
	got := Bootstrap(n, 4000, 3, func(times []int) float64 {
		sum := 0
		for i, c := range times {
			if i < right {
				sum += c
			}
		}
		return float64(sum) / n
	})
	half := 1.96 * math.Sqrt(0.75*0.25/n)
	require.InDelta(t, 0.75-half, got[0], 0.006)
	require.InDelta(t, 0.75+half, got[1], 0.006)
	w := Wilson(right, n)
	require.InDelta(t, got[0], w[0], 0.008)
	require.InDelta(t, got[1], w[1], 0.008)
}

// TestPerfect: what cannot be better, and what knows nothing.
func TestPerfect(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := make([]float32, 49)
	for i := range m {
		m[i] = rng.Float32()
	}
	d := Compare(m, m)
	require.InDeltaSlice(t, []float64{1, 1, 0, 1}, []float64{d.Cosine, d.Spearman, d.JS, d.IoU}, 1e-9)
	require.Equal(t, Detection{1, 1, 0}, Detect([]float64{0, 0, 1}, []float64{2, 3}))
	equal := Detect([]float64{1, 1}, []float64{1, 1})
	require.Equal(t, Detection{0.5, 0.5, 1}, equal)
	require.True(t, math.IsNaN(Detect(nil, []float64{1}).AUROC))
	require.InDelta(t, 0, AURC([]float64{0.9, 0.5}, []bool{true, true}), 1e-12)
	for class, want := range []float64{0.01, 100} { // always right, always wrong: as sure and as unsure as can be
		got, err := Temperature(func(f func([]float32, int)) error { f([]float32{3, 1}, class); return nil })
		require.NoError(t, err)
		require.InEpsilon(t, want, got, 1e-3)
	}
	failed := errors.New("failed")
	_, err := Temperature(func(func([]float32, int)) error { return failed })
	require.ErrorIs(t, err, failed)
	require.InDeltaSlice(t, []float64{0.25, 0.75}, Only([]float64{0.1, 0.6, 0.3}, []int{0, 2}), 1e-12)
	require.Equal(t, []float64{0.5, 0.5}, Only([]float64{0, 1, 0}, []int{0, 2}))
}
