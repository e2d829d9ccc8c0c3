//go:build unix

package models

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/backend/ref"
)

// TestTruncatedAfterMapping cuts the weight file at every stage of its use.
// Without guard each of these ends the process with SIGBUS.
func TestTruncatedAfterMapping(t *testing.T) {
	fast, err := cpu.New(backend.Options{})
	require.NoError(t, err)
	defer fast.Close()
	page := int64(os.Getpagesize())

	for name, b := range map[string]backend.Backend{"ref": ref.Backend{}, "cpu": fast} {
		t.Run("between Open and Model/"+name, func(t *testing.T) {
			dir := copyGolden(t, "timm_vit")
			c, err := Open(dir, Options{})
			require.NoError(t, err)
			defer func() { require.NoError(t, c.Close()) }()
			require.NoError(t, os.Truncate(filepath.Join(dir, "model.safetensors"), page))
			m, err := c.Model(b)
			require.ErrorIs(t, err, errChanged)
			require.Nil(t, m)
			require.Empty(t, c.Revision())
		})
	}
	t.Run("between header and tensors", func(t *testing.T) {
		for _, name := range []string{"timm_vit", "timm_vit_f16"} { // one is looked at in place, the other converted
			dir := copyGolden(t, name)
			path := filepath.Join(dir, "model.safetensors")
			f, err := openFile(path)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(path, page))
			c := &Checkpoint{files: []*file{f}}
			require.ErrorIs(t, c.load(os.DirFS(dir), &loader{}), errChanged)
			require.NoError(t, c.Close())
		}
	})
}

// TestGuardPassesPanics: a fault elsewhere and any other panic are bugs and
// stay what they are.
func TestGuardPassesPanics(t *testing.T) {
	require.PanicsWithValue(t, "ours", func() { _ = guard(nil, func() error { panic("ours") }) })
	require.ErrorIs(t, guard(nil, func() error { return io.EOF }), io.EOF)

	data, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	require.NoError(t, err)
	defer func() { require.NoError(t, syscall.Munmap(data)) }()
	var sink byte
	require.Panics(t, func() { _ = guard(nil, func() error { sink = data[0]; return nil }) })
	require.ErrorIs(t, guard([]*file{{path: "f", data: data}}, func() error { sink = data[0]; return nil }), errChanged)
	require.Zero(t, sink)
}

// TestNamedPipe: a pipe in the place of a file is refused and not waited for.
func TestNamedPipe(t *testing.T) {
	for _, name := range []string{"preprocessor_config.json", "config.json", "model.safetensors"} {
		dir := copyGolden(t, "hf_vit")
		pipeInPlace(t, dir, name)
	}
}

func pipeInPlace(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.Remove(path))
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	done := make(chan error, 1)
	go func() { _, err := Open(dir, Options{}); done <- err }()
	select {
	case err := <-done:
		require.ErrorContains(t, err, "not a regular file")
	case <-time.After(10 * time.Second):
		t.Fatal("Open waits for the pipe")
	}
}
