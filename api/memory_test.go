package api

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"runtime/debug"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	_ "github.com/vitserve/vitserve/backend/cpu"
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
