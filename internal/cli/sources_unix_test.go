//go:build unix

package cli

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// within fails the test when do takes too long; a hang would end all tests.
func within(t *testing.T, limit time.Duration, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("it has not ended after %v", limit)
	}
}

func fifo(t *testing.T, dir, name string) string {
	path := filepath.Join(dir, name)
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	return path
}

func socket(t *testing.T, dir, name string) string {
	path := filepath.Join(dir, name)
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return path
}

// TestNoFilesInFolder: what would be waited for is passed over, and counted.
func TestNoFilesInFolder(t *testing.T) {
	dir, err := os.MkdirTemp("", "v") // names of sockets are short
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	writeFile(t, dir, "class/a.png", pngBytes(t, picture(1, 90, 70)))
	pipe := fifo(t, dir, "class/b.png")
	fifo(t, dir, "class/noextension")
	socket(t, dir, "class/s.jpg")
	require.NoError(t, os.Symlink(pipe, filepath.Join(dir, "class/link.jpg")))
	require.NoError(t, os.Symlink("/dev/zero", filepath.Join(dir, "class/zero.jpg")))
	const note = "5 passed over that are no files: pipes, sockets or devices"
	for _, args := range [][]string{{"classify", dir}, {"embed", dir}, {"bench", "--model", "starter", "--runs", "1", "--seconds", "0", "--images", dir}} {
		within(t, time.Minute, func() {
			got := vitserve(t, args...)
			require.Equal(t, exitOK, got.code, got.stderr)
			require.Contains(t, got.stderr, note)
		})
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "class/a.png")))
	within(t, time.Minute, func() {
		got := vitserve(t, "classify", dir)
		require.Equal(t, exitFailed, got.code)
		require.Contains(t, got.stderr, "no pictures in this folder")
		require.Contains(t, got.stderr, note)
	})
}

// TestNoFileNamed: a pipe that is named is read, as <(…) of a shell is one;
// a socket is refused.
func TestNoFileNamed(t *testing.T) {
	dir, err := os.MkdirTemp("", "v")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	data := pngBytes(t, picture(1, 90, 70))
	for _, command := range []string{"classify", "embed", "explain"} {
		pipe := fifo(t, dir, command)
		go func() { _ = os.WriteFile(pipe, data, 0) }()
		within(t, time.Minute, func() {
			got := vitserve(t, command, pipe)
			require.Equal(t, exitOK, got.code, got.stderr)
		})
	}
	s := socket(t, dir, "s.png")
	within(t, time.Minute, func() {
		got := vitserve(t, "classify", s)
		require.Equal(t, exitFailed, got.code)
		require.Contains(t, got.stderr, "a socket, want a file or a pipe")
	})

	t.Run("a pipe that nobody writes to ends with Ctrl-C", func(t *testing.T) {
		silent := fifo(t, dir, "silent")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		within(t, time.Minute, func() {
			var stdout, stderr bytes.Buffer
			require.Equal(t, exitInterrupted, Run(ctx, []string{"classify", silent}, strings.NewReader(""), &stdout, &stderr))
		})
	})
	t.Run("a pipe without end", func(t *testing.T) {
		endless := fifo(t, dir, "endless")
		go func() {
			f, err := os.OpenFile(endless, os.O_WRONLY, 0)
			if err != nil {
				return
			}
			defer f.Close()
			for chunk := make([]byte, 1<<20); err == nil; {
				_, err = f.Write(chunk)
			}
		}()
		within(t, time.Minute, func() {
			got := vitserve(t, "classify", endless)
			require.Equal(t, exitFailed, got.code)
			require.Contains(t, got.stderr, "file larger than 256 MiB")
		})
	})
}
