package focus

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuestionRows(t *testing.T) {
	class, pooled := Shape{Grid: [2]int{4, 5}, Prefix: 1}, Shape{Grid: [2]int{4, 5}, Prefix: 2, Pooled: true}
	for _, c := range []struct {
		q    Question
		s    Shape
		rows []int // nil: every one
	}{
		{Question{Method: "raw"}, class, []int{0}},
		{Question{Method: "raw"}, pooled, nil},
		{Question{Method: "raw", Queries: [][]int{{3, 4}, {0, 1}, {3, 4}}}, class, []int{2, 20}},
		{Question{Method: "raw", Queries: [][]int{{0, 1}}}, pooled, []int{3}},
		{Question{Queries: [][]int{{0, 1}}}, class, nil},
		{Question{Method: AutoMethod}, class, nil},
		{Question{Method: "raw", Keep: &Part{Layer: 2}}, class, nil},
		{Question{Targets: []Target{{Class: 1}}}, class, []int{}},
		{Question{Method: "rise"}, class, []int{}},
	} {
		require.Equal(t, c.rows, c.q.Rows(c.s), "%+v", c.q)
		require.Equal(t, c.q.Method == AutoMethod, c.q.Gram())
	}
	require.Nil(t, Question{Method: "normrollout"}.Rows(class))
	require.True(t, Question{Method: "normrollout"}.Gram())
}

// TestDefault: without a method, the best of the cheap ones; attention alone
// where there is no class to derive, or where an option is of that.
func TestDefault(t *testing.T) {
	for _, c := range []struct {
		q              Question
		knows, without string // the default of a model that knows classes, and of one that does not
	}{
		{Question{}, DefaultMethod, AttentionMethod},
		{Question{Evidence: true}, DefaultMethod, AttentionMethod},
		{Question{Best: 3}, DefaultMethod, DefaultMethod}, // refused of such a model
		{Question{Options: Options{Start: 2, Mass: 0.5}}, DefaultMethod, AttentionMethod},
		{Question{Options: Options{Fusion: Max, Discard: 0.9}}, AttentionMethod, AttentionMethod},
		{Question{Options: Options{Compat: VitExplain}}, AttentionMethod, AttentionMethod},
		{Question{Queries: [][]int{{1, 1}}}, AttentionMethod, AttentionMethod},
		{Question{Targets: []Target{{Class: 1}}, Options: Options{Discard: 0.9}}, DefaultMethod, DefaultMethod}, // refused: it has none
		{Question{Options: Options{Layer: 2}}, DefaultMethod, AttentionMethod},                                  // likewise
	} {
		require.Equal(t, c.knows, c.q.Default(true), "%+v", c.q)
		require.Equal(t, c.without, c.q.Default(false), "%+v", c.q)
	}
	require.False(t, Question{}.AsksModel())
	require.True(t, Question{Evidence: true}.AsksModel())
	once, each := makeMethodNamed(t, DefaultMethod).passes(Options{}, Shape{Depth: 12})
	require.LessOrEqual(t, once+each, 1.5)
}

func makeMethodNamed(t *testing.T, name string) Method {
	m, err := Find(name)
	require.NoError(t, err)
	return m
}

// TestAutoTriesWhatIsCheap: every method that costs at most three passes.
func TestAutoTriesWhatIsCheap(t *testing.T) {
	var tried []string
	for _, c := range candidates() {
		tried = append(tried, c.method)
	}
	for _, m := range Methods() {
		if m.From == FromMaps {
			continue
		}
		once, each := m.passes(Options{}, Shape{Grid: [2]int{14, 14}, Depth: 12, Heads: 12})
		if once+each <= 3 {
			require.Contains(t, tried, m.Name)
		} else {
			require.NotContains(t, tried, m.Name)
		}
	}
}

func TestQuestionKeeps(t *testing.T) {
	s := Shape{Grid: [2]int{4, 5}, Prefix: 1}
	var q Question
	require.NoError(t, q.OfSheet(s))
	require.Equal(t, Question{Method: "raw", Keep: &Part{Rows: []int{0}}}, q)
	q = Question{Queries: [][]int{{1, 1}}}
	require.NoError(t, q.OfSheet(s))
	require.Equal(t, []int{7}, q.Keep.Rows)
	q = Question{Options: Options{Layer: 2}}
	require.NoError(t, q.OfAttention())
	require.Equal(t, &Part{Layer: 2}, q.Keep)
	for _, q := range []Question{{Method: "rollout"}, {Best: 1}, {Options: Options{Head: 1}}, {Queries: [][]int{{1, 1}, {2, 2}}}} {
		require.ErrorIs(t, q.OfSheet(s), ErrOption, "%+v", q)
	}
	for _, q := range []Question{{Method: "rollout"}, {Best: 1}, {Options: Options{Mass: 0.5}}, {Queries: [][]int{{1, 1}}}, {Evidence: true}} {
		require.ErrorIs(t, q.OfAttention(), ErrOption, "%+v", q)
	}
}

func TestParseCell(t *testing.T) {
	got, err := ParseCell("3,14")
	require.NoError(t, err)
	require.Equal(t, []int{3, 14}, got)
	for _, text := range []string{"", "3", "3,", ",4", "3,4,5", "-1,2", "a,b", "3, 4", "+3,4"} {
		_, err := ParseCell(text)
		require.ErrorIs(t, err, ErrOption, text)
	}
}
