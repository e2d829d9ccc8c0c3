package cli

import (
	"regexp"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVersion: every build says a version, and a commit or its own hash.
func TestBuildIsNamed(t *testing.T) {
	got := vitserve(t, "version")
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Regexp(t, regexp.MustCompile(`(?m)^vitserve  v?\d+\.\d+\.\d+`), got.stdout)
	require.Regexp(t, regexp.MustCompile(`(?m)^commit    .*[0-9a-f]{12}`), got.stdout)
}

func TestFromBuild(t *testing.T) {
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	for _, c := range []struct {
		version     string
		settings    []debug.BuildSetting
		v, revision string
	}{
		{"(devel)", nil, "", ""},
		{"", nil, "", ""},
		{"v1.2.3", nil, "v1.2.3", ""},
		{"v0.0.0-20261128151738-ed064fe0123a", nil, "v0.0.0-20261128151738-ed064fe0123a", "ed064fe0123a"},
		{"v0.1.1-0.20261128151738-ed064fe0123a+dirty", nil, "v0.1.1-0.20261128151738-ed064fe0123a+dirty", "ed064fe0123a"},
		{"(devel)", []debug.BuildSetting{setting("vcs.revision", "abc"), setting("vcs.modified", "false")}, "", "abc"},
		{"v1.2.3+dirty", []debug.BuildSetting{setting("vcs.modified", "true"), setting("vcs.revision", "abc")}, "v1.2.3+dirty", "abc with changes"},
	} {
		v, revision := fromBuild(&debug.BuildInfo{Main: debug.Module{Version: c.version}, Settings: c.settings})
		require.Equal(t, c.v, v, c.version)
		require.Equal(t, c.revision, revision, c.version)
	}
}
