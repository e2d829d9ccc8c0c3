package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConvertRefuses(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "weights.pth", []byte("not a checkpoint"))
	got := vitserve(t, "convert", file)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "weights.pth")
	require.NoFileExists(t, dir+"/weights.safetensors")
	require.Equal(t, exitUsage, vitserve(t, "convert").code)
}

// pth is where the fixtures of package models lie.
const pth = "../../models/testdata/pth/"

func TestConvert(t *testing.T) {
	dir := t.TempDir()
	data, err := os.ReadFile(pth + "dino.pth")
	require.NoError(t, err)
	file := writeFile(t, dir, "dino.pth", data)
	got := vitserve(t, "convert", file)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Regexp(t, `^\d+ tensors under "teacher", [\d.]+ KiB, in .*dino\.safetensors\n`, got.stdout)
	require.FileExists(t, filepath.Join(dir, "dino.safetensors"))

	got = vitserve(t, "convert", file)
	require.Equal(t, exitFailed, got.code, "an existing file is not written over")

	evil := filepath.Join(dir, "evil.safetensors")
	got = vitserve(t, "convert", pth+"evil.pth", "-o", evil)
	require.Equal(t, exitFailed, got.code)
	require.NoFileExists(t, evil)
}
