package focus

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

// golden reads one of the fixtures that testdata/make_golden.py makes.
func golden(t *testing.T, name string) *tensor.Dense {
	f, err := os.Open(filepath.Join("testdata", name))
	require.NoError(t, err)
	defer f.Close()
	d := new(tensor.Dense)
	require.NoError(t, d.ReadNpy(f))
	return d
}

func TestRolloutGolden(t *testing.T) {
	for _, kind := range []struct {
		name   string
		prefix int
		grid   [2]int
	}{
		{"class", 1, [2]int{3, 4}}, {"distilled", 2, [2]int{3, 3}}, {"patches", 0, [2]int{4, 3}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			attn, want := golden(t, kind.name+"_attn.npy"), golden(t, kind.name+"_rollout.npy")
			s := attn.Shape()
			r := &Record{Shape: Shape{Grid: kind.grid, Prefix: kind.prefix}}
			for l := range s[0] {
				size := s[1] * s[2] * s[3] * s[4]
				r.Attn = append(r.Attn, tensor.New(tensor.WithShape(s[1:]...), tensor.WithBacking(attn.Float32s()[l*size:(l+1)*size])))
			}
			row := 0
			for _, fusion := range []Fusion{Mean, Max, Min} {
				for _, discard := range []float64{0, 0.5, 0.9} {
					for _, compat := range []string{"", VitExplain} {
						for b := range s[1] {
							m, err := rollout(r, b, Options{Fusion: fusion, Discard: discard, Compat: compat})
							require.NoError(t, err)
							for i, got := range m.Values.Float32s() {
								w := want.Float32s()[row*s[3]+kind.prefix+i]
								require.InDelta(t, w, got, 1e-6+1e-5*float64(w), "%s %g %s image %d cell %d", fusion, discard, compat, b, i)
							}
							row++
						}
					}
				}
			}
			require.Equal(t, want.Shape()[0]*want.Shape()[1], row, "every golden was looked at")
		})
	}
}
