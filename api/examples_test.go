package api_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExamples runs the examples of docs/serving.md as they stand there, but
// for the address.
func TestExamples(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "serving.md"))
	require.NoError(t, err)
	_, asking, found := strings.Cut(string(doc), "## Asking")
	require.True(t, found)
	asking, _, _ = strings.Cut(asking, "\n## ")
	blocks := regexp.MustCompile("(?s)```(sh|python)\n(.*?)```").FindAllStringSubmatch(asking, -1)
	require.Len(t, blocks, 2)

	c := start(t, nil)
	dir := t.TempDir()
	for name, from := range map[string]string{"photo.jpg": "banana.jpg", "a.jpg": "pizza.jpg", "b.png": "school_bus.png"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), photo(t, from), 0o600))
	}
	run := func(t *testing.T, tool string, args ...string) string {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here", tool)
		}
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "no_proxy=127.0.0.1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	for _, b := range blocks {
		code := strings.ReplaceAll(b[2], "http://127.0.0.1:8080", c.url)
		if b[1] == "python" {
			t.Run("python", func(t *testing.T) {
				out := run(t, "python3", "python3", "-c", code)
				require.Contains(t, out, "starter")
				require.Contains(t, out, "banana")
			})
			continue
		}
		for i, line := range strings.Split(strings.TrimSpace(code), "\n") {
			t.Run("curl", func(t *testing.T) {
				out := run(t, "curl", "sh", "-c", strings.Replace(line, "curl ", "curl -fsS ", 1))
				if _, file, found := strings.Cut(line, " -o "); found {
					file, _, _ = strings.Cut(file, " ")
					sent, err := os.ReadFile(filepath.Join(dir, file))
					require.NoError(t, err)
					magic := map[string]string{".png": "\x89PNG", ".jpg": "\xff\xd8\xff", ".npy": "\x93NUMPY"}[filepath.Ext(file)]
					require.True(t, strings.HasPrefix(string(sent), magic), file)
					return
				}
				var answer struct {
					Results []struct {
						Predictions []struct{ Label string }
						Embedding   []float32
						Steps       []string
					}
				}
				require.NoError(t, json.Unmarshal([]byte(out), &answer), "%s", out)
				switch {
				case strings.Contains(line, "/v1/embed"):
					require.NotEmpty(t, answer.Results[0].Embedding)
					return
				case strings.Contains(line, "/v1/preprocess"):
					require.NotEmpty(t, answer.Results[0].Steps)
					return
				}
				require.Equal(t, map[int]string{0: "banana", 1: "pizza", 2: "banana", 6: "banana", 7: "pizza", 8: "banana", 9: "pizza"}[i], answer.Results[0].Predictions[0].Label)
			})
		}
	}
}
