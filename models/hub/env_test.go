package hub

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"} {
		t.Setenv(name, "")
	}
	t.Setenv("XDG_CACHE_HOME", home)
	c, err := FromEnv()
	require.NoError(t, err)
	require.Equal(t, &Client{Cache: filepath.Join(home, "huggingface", "hub")}, c)

	t.Setenv("HF_HOME", home)
	require.NoError(t, os.WriteFile(filepath.Join(home, "token"), []byte("from-file\n"), 0o600))
	t.Setenv("HF_HUB_OFFLINE", "yes")
	t.Setenv("HF_ENDPOINT", "https://mirror.example/")
	c, err = FromEnv()
	require.NoError(t, err)
	require.Equal(t, &Client{Endpoint: "https://mirror.example/", Cache: filepath.Join(home, "hub"), Token: "from-file", Offline: true}, c)

	t.Setenv("HF_HUB_CACHE", "/elsewhere")
	t.Setenv("HF_TOKEN", " said ")
	c, err = FromEnv()
	require.NoError(t, err)
	require.Equal(t, "/elsewhere", c.Cache)
	require.Equal(t, "said", c.Token)

	t.Setenv("HF_ENDPOINT", "mirror.example")
	_, err = FromEnv()
	require.ErrorContains(t, err, "endpoint")
}

func TestIsName(t *testing.T) {
	for name, want := range map[string]bool{
		"google/vit-base-patch16-224": true, "timm/vit_base.augreg2_in21k_ft_in1k": true, "starter": false, "./starter": false, "../x": false, "a/b/c": false,
		"a/": false, "/a": false, "a/..": false, "a/b..c": false, "a--b/c": false, "": false, "a/b c": false, "-a/b": false,
	} {
		require.Equal(t, want, IsName(name), name)
	}
}
