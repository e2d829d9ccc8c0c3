package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	_ "github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/vit"
)

func TestCgroupLimit(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"none":            {nil, 0},
		"v2":              {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000\n"}, 1000},
		"v2 without":      {map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 0},
		"v2 above":        {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "2000\n"}, 2000},
		"v2 in container": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "3000\n"}, 3000},
		"v2 outside":      {map[string]string{"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "3000\n"}, 3000},
		"v1":              {map[string]string{"proc/self/cgroup": "5:cpu,cpuacct:/c\n4:memory:/d\n", "sys/fs/cgroup/memory/d/memory.limit_in_bytes": "4000\n", "sys/fs/cgroup/memory/c/memory.limit_in_bytes": "1\n"}, 4000},
		"v1 without":      {map[string]string{"proc/self/cgroup": "4:memory:/d\n", "sys/fs/cgroup/memory/d/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		"v1 in container": {map[string]string{"proc/self/cgroup": "4:memory:/docker/abc\n0::/docker/abc\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "5000\n"}, 5000},
		"junk":            {map[string]string{"proc/self/cgroup": "x\n0::/a\n", "sys/fs/cgroup/a/memory.max": "-5\n"}, 0},
	} {
		root := fstest.MapFS{}
		for file, text := range c.files {
			root[file] = &fstest.MapFile{Data: []byte(text), Mode: fs.ModePerm}
		}
		require.Equal(t, c.want, cgroupLimit(root), name)
		require.Equal(t, c.want, newMemory(Config{}, root, "").most, name)
		require.Equal(t, int64(77), newMemory(Config{MemoryLimit: 77}, root, "").most, name)
		require.Zero(t, newMemory(Config{MemoryLimit: 77}, root, "1GiB").most, "whoever starts the process knows best")
	}
	require.EqualValues(t, 600, goLimit(1000, 300))
	require.EqualValues(t, 125, goLimit(1000, 3000))
}

// TestMemoryLimit: while a server serves, Go's limit leaves room for its models.
func TestMemoryLimit(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	cfg := DefaultConfig()
	cfg.MemoryLimit, cfg.Logger = 1<<40, slog.New(slog.DiscardHandler)
	s, err := New(cfg)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.ServeListener(ctx, l) }()
	var bytes int64
	require.Eventually(t, func() bool {
		for _, m := range s.models.resident() {
			bytes = m.bytes
		}
		return bytes > 0 && debug.SetMemoryLimit(-1) == cfg.MemoryLimit-cfg.MemoryLimit/10-bytes
	}, 10*time.Second, time.Millisecond)
	stop()
	require.NoError(t, <-ended)
	require.Equal(t, before, debug.SetMemoryLimit(-1))
}

// TestGradientsAreLoaded: the weights that maps derive are made with the model
// and not by the first who asks, whatever the method, and are in what the model
// is said to take.
func TestGradientsAreLoaded(t *testing.T) {
	bus, err := os.ReadFile(filepath.Join("..", "testdata", "images", "school_bus.png"))
	require.NoError(t, err)
	for _, precision := range []string{"f32", "int8"} {
		cfg := DefaultConfig()
		cfg.Threads, cfg.Precision = 2, precision
		s, err := New(cfg)
		if errors.Is(err, backend.ErrUnsupported) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, s.Preload(t.Context()))
		b := s.backend.(interface {
			Bytes() int
			GradientBytes() int
		})
		explain := func(query string) (a v1.ExplainAnswer) {
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/explain"+query, bytes.NewReader(bus)))
			require.Equal(t, http.StatusOK, w.Code, "%s", w.Body)
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &a))
			return a
		}
		loaded, all := b.GradientBytes(), b.Bytes()
		require.Positive(t, loaded)
		a := explain("")
		require.Equal(t, focus.DefaultMethod, a.Results[0].Maps[0].Method)
		require.Equal(t, precision != "f32", strings.Contains(a.Note, "gradients of legrad maps are computed in f32 from the int8 weights"), a.Note)
		require.Equal(t, loaded, b.GradientBytes())
		require.LessOrEqual(t, b.Bytes(), all+all/100, "memory that the first answer took")
		for _, method := range focus.Names() {
			if (focus.Question{Method: method}).Derives() {
				explain("?method=" + method)
				require.Equal(t, loaded, b.GradientBytes(), "by the first %s", method)
			}
		}
		r := s.models.resident()[0]
		c := r.model.Config()
		require.Greater(t, r.bytes, 2*4*vit.Params(c)+vit.TraceBytes(c), "weights, those of gradients, and what a pass keeps")
		require.NoError(t, s.Close())
	}
}
