package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

// flagOf is the flag of a setting of serve.
func flagOf(setting string) string {
	flags := newServe().Flags()
	for _, name := range []string{strings.ReplaceAll(setting, "_", "-"), map[string]string{"max_body": "body-limit", "models": "model", "decoders": "decoder", "models.labels": "labels"}[setting]} {
		if name != "" && flags.Lookup(name) != nil {
			return name
		}
	}
	return ""
}

// TestReference: every setting is in docs/settings.md, with its default and an
// example that can be put into a file. With -update the page is written anew.
func TestReference(t *testing.T) {
	var page bytes.Buffer
	require.NoError(t, api.WriteReference(&page, flagOf))
	path := filepath.Join("..", "..", "docs", "settings.md")
	if *update {
		require.NoError(t, os.WriteFile(path, page.Bytes(), 0o644))
	}
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, page.String(), string(written), "go test ./internal/cli -run TestReference -update")

	told := map[string]api.Setting{}
	for _, s := range api.Settings() {
		told[s.Name] = s
	}
	var look func(prefix string, of reflect.Type)
	look = func(prefix string, of reflect.Type) {
		for f := range of.Fields() {
			name := f.Tag.Get("yaml")
			if name == "" || name == "-" {
				continue
			}
			name = prefix + name
			if name == "decoders.avif" || name == "decoders.jxl" {
				continue // as decoders.heic
			}
			if f.Type.Kind() == reflect.Struct {
				look(name+".", f.Type)
			} else if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
				look(name+".", f.Type.Elem())
			}
			if name == "decoders.heic" {
				continue // what it has is told
			}
			s, ok := told[name]
			require.True(t, ok, "%s is in no reference", name)
			require.NotEmpty(t, s.What)
			require.NotEmpty(t, s.Default)
			delete(told, name)
			if strings.Contains(name, ".") {
				continue
			}
			file := writeFile(t, t.TempDir(), "serve.yaml", []byte(name+": "+s.Example+"\n"))
			cfg, err := api.LoadConfig(file, nil)
			require.NoError(t, err, name)
			if name != "tls_cert" && name != "tls_key" { // which want each other
				require.NoError(t, cfg.Validate(), name)
			}
			if name != "backend" {
				require.NotEqual(t, api.DefaultConfig(), cfg, "the example of %s changes nothing", name)
			}
		}
	}
	look("", reflect.TypeFor[api.Config]())
	require.Empty(t, told, "settings that there are not")
}
