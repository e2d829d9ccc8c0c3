package vitserve_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStranger builds the program of the README in an empty folder of its own
// module, against this checkout and without a network, and runs it.
func TestStranger(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	program := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindSubmatch(readme)
	require.NotNil(t, program, "README.md has no program")
	answer := regexp.MustCompile(`// (\S.*) ([0-9.]+)\n}`).FindSubmatch(program[1])
	require.NotNil(t, answer, "the program does not say what it prints")
	here, err := os.Getwd()
	require.NoError(t, err)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), program[1], 0o644))
	sums, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644))
	run := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod", "GOWORK=off")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%v: %s", args, stderr.String())
		return string(out)
	}
	binary := filepath.Join(dir, "stranger.exe")
	run(dir, "go", "mod", "init", "stranger.example/program")
	run(dir, "go", "mod", "edit", "-require=github.com/vitserve/vitserve@v0.0.0", "-replace=github.com/vitserve/vitserve="+here)
	run(dir, "go", "build", "-o", binary, ".")
	label, score, found := strings.Cut(strings.TrimSpace(run(here, binary)), " ")
	require.True(t, found)
	require.Equal(t, string(answer[1]), label)
	got, err := strconv.ParseFloat(score, 64)
	require.NoError(t, err)
	want, err := strconv.ParseFloat(string(answer[2]), 64)
	require.NoError(t, err)
	require.InDelta(t, want, got, 1e-5, "kernels differ in the last digits")
}
