package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClientLoops runs the clients of docs/serving.md, "Coming back", as they
// stand there, against a server that is busy at first.
func TestClientLoops(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "serving.md"))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(doc), "## Coming back")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	code := map[string]string{}
	for _, b := range regexp.MustCompile("(?s)```(python|js|go)\n(.*?)```").FindAllStringSubmatch(section, -1) {
		code[b[1]] = b[2]
	}
	require.Len(t, code, 3)

	c := start(t, nil)
	run := func(t *testing.T, name string, args []string, files map[string]string) {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s here", name)
		}
		var asked atomic.Int64
		begun := time.Now()
		busyAtFirst := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 1 {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
				_, _ = io.WriteString(w, `{"detail": "busy"}`)
				return
			}
			res, err := http.Post(c.url+r.URL.RequestURI(), "application/octet-stream", r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer res.Body.Close()
			w.WriteHeader(res.StatusCode)
			_, _ = io.Copy(w, res.Body)
		}))
		defer busyAtFirst.Close()
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "photo.jpg"), photo(t, "banana.jpg"), 0o600))
		for file, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(strings.ReplaceAll(text, "http://127.0.0.1:8080", busyAtFirst.URL)), 0o600))
		}
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "no_proxy=127.0.0.1", "GOFLAGS=", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "banana")
		require.EqualValues(t, 2, asked.Load())
		require.Greater(t, time.Since(begun), time.Second, "it waited as long as it was asked to")
	}
	t.Run("python", func(t *testing.T) {
		run(t, "python3", []string{"client.py"}, map[string]string{"client.py": code["python"]})
	})
	t.Run("js", func(t *testing.T) {
		run(t, "node", []string{"client.mjs"}, map[string]string{"client.mjs": code["js"] +
			"\nimport { readFileSync } from \"node:fs\";\nconsole.log(JSON.stringify(await classify(readFileSync(\"photo.jpg\"))));\n"})
	})
	t.Run("go", func(t *testing.T) {
		main := "package main\n\nimport (\n\t\"bytes\"\n\t\"io\"\n\t\"net/http\"\n\t\"os\"\n\t\"strconv\"\n\t\"time\"\n)\n\n" + code["go"] +
			"\nfunc main() {\n\tphoto, _ := os.ReadFile(\"photo.jpg\")\n\tr, err := classify(photo, \"http://127.0.0.1:8080/v1/classify\", 8)\n\tif err != nil {\n\t\tpanic(err)\n\t}\n\t_, _ = io.Copy(os.Stdout, r.Body)\n}\n"
		run(t, "go", []string{"run", "client.go"}, map[string]string{"client.go": main})
	})
}
