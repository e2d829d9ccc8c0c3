package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// small makes a folder that has room for so many kilobytes: a disk of that size
// or, for who may mount none, where limit says so in a shell.
func small(t *testing.T, kilobytes int) (dir, limit string) {
	t.Helper()
	dir = t.TempDir()
	if syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kilobytes)) == nil {
		t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
		return dir, ""
	}
	return dir, fmt.Sprintf("ulimit -f %d; ", kilobytes)
}

// runIn runs vitserve in a folder with a limit, and returns what was said, the
// exit code and the names that are there afterwards.
func runIn(t *testing.T, dir, limit string, env []string, args ...string) (said string, code int, left []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", limit + `exec "$@"`, "bash", os.Args[0]}, args...)...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), asCommand+"=1"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		code = exit.ExitCode()
	}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			left = append(left, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}))
	return string(out), code, left
}

// TestNoRoom holds what happens when a disk becomes full amid each file that a
// command writes: it is said in words, with the file's name and what to do, the
// exit code is 1, and no half file is left.
func TestNoRoom(t *testing.T) {
	images, err := filepath.Abs(filepath.Join("..", "..", "testdata", "images"))
	require.NoError(t, err)
	photo := filepath.Join(images, "banana.jpg")
	for _, c := range []struct {
		name      string
		kilobytes int
		args      []string
		left      []string // what may stay: whole files, and what a run goes on from
	}{
		{"explain, a picture", 16, []string{"explain", photo, "-o", "map.png"}, nil},
		{"explain, a JPEG", 8, []string{"explain", photo, "-o", "map.jpg"}, nil},
		{"explain, values", 16, []string{"explain", photo, "--values", "attention", "-o", "attention.npy"}, nil},
		{"explain, several", 16, []string{"explain", photo, "--photo", "-o", "panel.png"}, nil},
		{"explain, a folder", 16, []string{"explain", photo, "-o", "maps/"}, nil},
		{"explain, a report", 16, []string{"explain", photo, "-o", "report.html"}, nil},
		{"corrupt, a file", 16, []string{"corrupt", photo, "--corruption", "fog", "--severity", "3", "-o", "fog.png"}, nil},
		{"corrupt, a folder", 16, []string{"corrupt", photo, "--corruption", "fog", "--severity", "3", "--format", "png", "-o", "c/"}, nil},
		{"corrupt, textures", 16, []string{"corrupt", "--textures", "frost"}, nil},
		{"robust, a report", 16, []string{"robust", photo, "--suite", "brightness", "--out", "r.html"}, []string{"r.html.rows"}},
		{"robust, rows", 4, []string{"robust", photo, "--suite", "imagenet-c", "--out", "r.json"}, []string{"r.json.rows"}},
		{"inspect, a tensor", 16, []string{"inspect", "starter", "--image", photo, "--npy", "x.npy"}, nil},
		{"classify, rows", 4, []string{"classify", "--format", "csv", "--top", "20", "-o", "labels.csv", photo, photo, photo, photo, photo}, nil},
		{"classify, copies", 8, []string{"classify", "--sort-into", "sorted", photo}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, limit := small(t, c.kilobytes)
			said, code, left := runIn(t, dir, limit, nil, c.args...)
			require.Equal(t, 1, code, said)
			require.Regexp(t, `the disk is full|no file may be so large here`, said)
			require.Contains(t, said, "make room, or write elsewhere")
			require.Equal(t, c.left, left, said)
		})
	}
}

// TestNoRoomForModel holds a disk that becomes full amid a download, by this
// program or by others: what came stays for the next try, which goes on from
// there, and until then no weights are there under the name that they are opened by.
func TestNoRoomForModel(t *testing.T) {
	const name, kilobytes = "acme/starter", 8 << 10
	dir, limit := small(t, kilobytes)
	filler := filepath.Join(dir, "filler")
	if limit != "" {
		limit = fmt.Sprintf("ulimit -f %d; ", kilobytes/4)
	}
	hub := hubOf(t, name, filepath.Join("..", "..", "models", "starter"))
	others := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/model.safetensors") && limit == "" {
			// It is found to fit before, and does not any more.
			_ = os.WriteFile(filler, make([]byte, kilobytes<<10-2<<20), 0o644)
		}
		hub.Config.Handler.ServeHTTP(w, r)
	}))
	defer others.Close()
	env := []string{"HF_ENDPOINT=" + others.URL, "HF_HUB_CACHE=cache", "HF_HUB_OFFLINE=", "TRANSFORMERS_OFFLINE=", "HF_TOKEN=", "no_proxy=127.0.0.1"}
	said, code, left := runIn(t, dir, limit, env, "pull", name)
	require.Equal(t, 1, code, said)
	require.Regexp(t, `the disk is full|no file may be so large here`, said)
	require.Contains(t, said, "make room")
	begun := false
	for _, file := range left {
		require.NotContains(t, file, "model.safetensors", said)
		begun = begun || strings.HasSuffix(file, ".incomplete")
	}
	require.True(t, begun, "what came stays: %v", left)

	_ = os.Remove(filler)
	said, code, left = runIn(t, dir, "", append(env, "HF_ENDPOINT="+hub.URL), "pull", name)
	require.Zero(t, code, said)
	require.Contains(t, strings.Join(left, "\n"), "model.safetensors")
}

// TestFullDevice holds /dev/full, which takes no byte.
func TestFullDevice(t *testing.T) {
	photo := filepath.Join("..", "..", "testdata", "images", "banana.jpg")
	for _, args := range [][]string{{"classify", "-o", "/dev/full", photo}, {"explain", "--json", photo}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		require.NoError(t, err)
		var stderr strings.Builder
		code := Run(t.Context(), args, strings.NewReader(""), full, &stderr)
		require.NoError(t, full.Close())
		require.Equal(t, 1, code)
		require.Contains(t, stderr.String(), "the disk is full")
	}
	require.FileExists(t, "/dev/full")
}
