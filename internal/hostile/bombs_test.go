package hostile_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/hostile"
)

// TestBombs: ten kinds of each format and more, the same for the same seed,
// others for another, about as large as asked for.
func TestBombs(t *testing.T) {
	one, again, other := hostile.Bombs(1, hostile.Small), hostile.Bombs(1, hostile.Small), hostile.Bombs(2, hostile.Small)
	require.Equal(t, one, again)
	kinds, whole := map[string][]string{}, map[string]int{}
	differ := 0
	for i, a := range one {
		require.NotContains(t, kinds[a.Format], a.Kind)
		kinds[a.Format] = append(kinds[a.Format], a.Kind)
		if a.Whole {
			whole[a.Format]++
		}
		if !slices.Equal(a.Data, other[i].Data) {
			differ++
		}
		require.NotEmpty(t, a.Data)
		require.Less(t, len(a.Data), 6*hostile.Small.Bytes, "%s: %s", a.Format, a.Kind)
	}
	for _, format := range []string{"jpeg", "png", "gif", "bmp", "tiff", "webp", "dib", "ico"} {
		require.GreaterOrEqual(t, len(kinds[format]), 10, format)
		require.GreaterOrEqual(t, whole[format], 2, format)
	}
	require.Greater(t, differ, len(one)/2)
}

func TestBodies(t *testing.T) {
	all := hostile.Bodies(1, hostile.Small)
	require.Equal(t, all, hostile.Bodies(1, hostile.Small))
	require.GreaterOrEqual(t, len(all), 10)
	for i, b := range all {
		require.LessOrEqual(t, len(b.Data), 2*hostile.Small.Bytes, b.Kind)
		require.False(t, slices.ContainsFunc(all[:i], func(other hostile.Body) bool { return other.Kind == b.Kind }), b.Kind)
	}
}
