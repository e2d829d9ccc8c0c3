package trace

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseParent(t *testing.T) {
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	require.Equal(t, Parent{trace, span, true}, ParseParent("00-"+trace+"-"+span+"-01"))
	require.Equal(t, Parent{trace, span, false}, ParseParent("00-"+trace+"-"+span+"-02"))
	require.Equal(t, Parent{trace, span, true}, ParseParent("cc-"+trace+"-"+span+"-03-what-comes"), "of a version to come")
	for _, bad := range []string{
		"", "00", "00-" + trace + "-" + span, "00-" + trace + "-" + span + "-01-more", "ff-" + trace + "-" + span + "-01",
		"00-" + strings.ToUpper(trace) + "-" + span + "-01", "00-" + strings.Repeat("0", 32) + "-" + span + "-01",
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01", "00-" + trace[1:] + "-" + span + "-01", "00-" + trace + "-" + span + "-zz",
	} {
		require.Zero(t, ParseParent(bad), bad)
	}
}

func TestShare(t *testing.T) {
	sent := 0
	for range 1000 {
		if Begin(Parent{}, 0.25) != nil {
			sent++
		}
		require.NotNil(t, Begin(Parent{}, 1))
		require.Nil(t, Begin(Parent{}, 0))
		require.NotNil(t, Begin(Parent{"a", "b", true}, 0))
		require.Nil(t, Begin(Parent{"a", "b", false}, 1))
	}
	require.InDelta(t, 250, sent, 100)
}

// TestLost: a collector that refuses costs spans, and they are counted.
func TestLost(t *testing.T) {
	refuses := httptest.NewServer(http.NotFoundHandler())
	defer refuses.Close()
	e := NewExporter(refuses.URL, nil)
	for range 3 {
		e.End(Begin(Parent{}, 1))
	}
	e.Close()
	require.Equal(t, int64(3), e.Lost())
}
