package models

import (
	"cmp"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/vit"
)

func TestTop(t *testing.T) {
	c := &Checkpoint{Labels: []string{"a", "b", "c", "d"}}
	logits := []float32{1, 3, 3, 0}
	all := c.Top(logits, 0, 0)
	require.Len(t, all, 4)
	sum := math.E + 2*math.Exp(3) + 1
	for i, want := range []Prediction{{1, "b", math.Exp(3) / sum}, {2, "c", math.Exp(3) / sum}, {0, "a", math.E / sum}, {3, "d", 1 / sum}} {
		require.Equal(t, want.Index, all[i].Index)
		require.Equal(t, want.Label, all[i].Label)
		require.InDelta(t, want.Score, all[i].Score, 1e-15)
	}
	require.Equal(t, all[:2], c.Top(logits, 2, 0))
	require.Equal(t, all, c.Top(logits, 99, 0))
	require.Equal(t, all[:2], c.Top(logits, 0, 0.2))
	require.Empty(t, c.Top(logits, 0, 1))

	c.Scoring = vit.Sigmoid
	multi := c.Top([]float32{0, 2, -2, 2}, 2, 0)
	require.Equal(t, []int{1, 3}, []int{multi[0].Index, multi[1].Index})
	require.InDelta(t, 1/(1+math.Exp(-2)), multi[0].Score, 1e-15)
	require.Len(t, c.Top([]float32{0, 2, -2, 2}, 0, 0.5), 3)

	c.Scoring = vit.Raw
	raw := c.Top([]float32{-3, 2, -2, 0.5}, 0, 0)
	require.Equal(t, []Prediction{{1, "b", 2}, {3, "d", 0.5}, {2, "c", -2}, {0, "a", -3}}, raw, "outputs below 0 are outputs")

	require.PanicsWithValue(t, "models: 3 logits, 4 labels", func() { c.Top(make([]float32, 3), 1, 0) })
}

// TestTopIsTheFirstOfAll: how many are asked for changes nothing else, ties
// included.
func TestTopIsTheFirstOfAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		logits := make([]float32, 1+rng.IntN(12))
		for i := range logits {
			logits[i] = float32(rng.IntN(4))
		}
		c := &Checkpoint{Labels: make([]string, len(logits))}
		all := c.Top(logits, 0, 0)
		require.True(t, slices.IsSortedFunc(all, func(a, b Prediction) int {
			return cmp.Or(cmp.Compare(logits[b.Index], logits[a.Index]), cmp.Compare(a.Index, b.Index))
		}))
		for k := 1; k <= len(all)+1; k++ {
			require.Equal(t, all[:min(k, len(all))], c.Top(logits, k, 0))
		}
	}
}

// TestTopOfAnything: scores are numbers from 0 to 1, whatever a model's
// weights make of a photo; JSON has no NaN.
func TestTopOfAnything(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, how := range []vit.Scoring{vit.Softmax, vit.Sigmoid} {
		c := &Checkpoint{Labels: []string{"a", "b", "c"}, Scoring: how}
		for _, logits := range [][]float32{
			{nan, nan, nan}, {inf, 1, -inf}, {inf, inf, nan}, {-inf, -inf, -inf}, {nan, 2, 1}, {3e38, -3e38, 3e38}, {math.MaxFloat32, 0, nan},
		} {
			for _, p := range c.Top(logits, 0, 0) {
				require.True(t, p.Score >= 0 && p.Score <= 1, "%v: %v", logits, p)
			}
		}
	}
	c := &Checkpoint{Labels: []string{"a", "b", "c"}}
	require.Equal(t, 1, c.Top([]float32{nan, 2, 1}, 1, 0)[0].Index)
	require.InDelta(t, 0.5, c.Top([]float32{inf, 0, inf}, 1, 0)[0].Score, 0)
}

func TestLabels(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "labels.txt")
	require.NoError(t, os.WriteFile(file, []byte("one\n two \r\nthree\n\n"), 0o600))
	empty := filepath.Join(dir, "empty.txt")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	long := filepath.Join(dir, "long.txt")
	require.NoError(t, os.WriteFile(long, []byte(strings.Repeat("x", maxLabel+1)), 0o600))
	binary := filepath.Join(dir, "binary.txt")
	require.NoError(t, os.WriteFile(binary, []byte("\xff\xfe\n"), 0o600))

	for _, c := range []struct {
		name, config, file string
		classes            int
		first, last        string
		err                string
	}{
		{name: "file", file: file, classes: 3, first: "one", last: "three"},
		{name: "file before config", config: `{"id2label":{"0":"a","1":"b","2":"c"}}`, file: file, classes: 3, first: "one", last: "three"},
		{name: "file of another length", file: file, classes: 4, err: "3 labels, the model has 4"},
		{name: "empty file", file: empty, classes: 4, err: "0 labels"},
		{name: "no file", file: file + "x", classes: 4, err: "no such file"},
		{name: "folder", file: dir, classes: 4, err: "want a file"},
		{name: "long line", file: long, classes: 1, err: "line 1"},
		{name: "binary", file: binary, classes: 1, err: "line 1 is not UTF-8"},
		{name: "id2label", config: `{"id2label":{"0":"a","1":"b"}}`, classes: 2, first: "a", last: "b"},
		{name: "id2label of other classes", config: `{"id2label":{"-1":"x","0":"a","7":"x"}}`, classes: 2, first: "a", last: "class 1"},
		{name: "label_names", config: `{"label_names":["n1","n2"],"label_descriptions":{"n1":"cat"}}`, classes: 2, first: "cat", last: "n2"},
		{name: "label_names by index", config: `{"label_names":{"0":"n1","1":"n2"}}`, classes: 2, first: "n1", last: "n2"},
		{name: "labels in pretrained_cfg", config: `{"pretrained_cfg":{"label_names":["n1"],"label_descriptions":{"n1":"cat"}}}`, classes: 1, first: "cat", last: "cat"},
		{name: "nothing", classes: 21843, first: "class 0", last: "class 21842"},
		{name: "LABEL_0", config: `{"id2label":{"0":"LABEL_0","1":"LABEL_1"}}`, classes: 2, first: "class 0", last: "class 1"},
		{name: "ImageNet", classes: 1000, first: "tench", last: "toilet tissue"},
		{name: "ImageNet, LABEL_0", config: `{"id2label":{"0":"LABEL_0"}}`, classes: 1000, first: "tench", last: "toilet tissue"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := loaderFor(t, c.config, "")
			l.cfg.Classes, l.options.Labels = c.classes, c.file
			names, _, err := l.labels()
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Len(t, names, c.classes)
			require.Equal(t, c.first, names[0])
			require.Equal(t, c.last, names[c.classes-1])
			require.NotContains(t, names, "")
		})
	}
	l := loaderFor(t, "", "")
	names, _, err := l.labels()
	require.NoError(t, err)
	require.Nil(t, names, "a model without a head has no labels")
}

func TestClass(t *testing.T) {
	c := &Checkpoint{Name: "zoo", Labels: []string{"tabby, tabby cat", "tiger cat", "crane", "school bus", "crane", "7"}}
	for name, want := range map[string]int{"0": 0, "5": 5, "tabby": 0, "Tabby Cat": 0, " tabby ": 0, "tabby, tabby cat": 0, "TIGER CAT": 1, "school bus": 3} {
		got, err := c.Class(name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	for name, says := range map[string]string{
		"6": "6, want 0 to 5", "-1": "want 0 to 5", "7": "7, want 0 to 5 or a label", "cat": `"cat", want 0 to 5 or a label of zoo`, "": "want 0 to 5",
		"crane": "the label of 2 classes, want an index, such as 2 or 4",
	} {
		_, err := c.Class(name)
		require.ErrorIs(t, err, ErrClass, name)
		require.ErrorContains(t, err, says)
	}
}
