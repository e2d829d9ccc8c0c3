package cli

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFormats: the same answers as table, JSON, CSV and TSV, on the terminal
// and in a file, here and from a server.
func TestFormats(t *testing.T) {
	dir := t.TempDir()
	bus := writeFile(t, dir, "bus.png", testPicture(t))
	broken := writeFile(t, dir, "broken.png", testPicture(t)[:500])
	addr, stop := startServer(t)
	defer stop()
	for format, sep := range map[string]rune{"csv": ',', "tsv": '\t'} {
		got := vitserve(t, "classify", "--format", format, "--top-k", "2", bus, broken)
		require.Equal(t, exitFailed, got.code, "one is broken")
		r := csv.NewReader(strings.NewReader(got.stdout))
		r.Comma = sep
		rows, err := r.ReadAll()
		require.NoError(t, err)
		require.Equal(t, [][]string{
			{"image", "rank", "label", "class", "score", "error"}, {bus, "1", "school bus", "13", rows[1][4], ""}, {bus, "2", "sports car", "14", rows[2][4], ""},
			{broken, "", "", "", "", rows[3][5]},
		}, rows)
		require.NotEmpty(t, rows[3][5])

		file := filepath.Join(dir, "out."+format)
		require.Equal(t, exitFailed, vitserve(t, "classify", "--format", format, "--top", "2", "--output", file, bus, broken).code)
		written, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, got.stdout, string(written))

		far := vitserve(t, "classify", "--url", addr, "--format", format, "--top", "2", bus)
		require.Equal(t, exitOK, far.code, far.stderr)
		require.Equal(t, got.stdout[:strings.Index(got.stdout, broken)], far.stdout)
	}
	require.Equal(t, vitserve(t, "classify", "--json", bus).stdout, vitserve(t, "classify", "--format", "json", bus).stdout)
	require.Equal(t, vitserve(t, "classify", bus).stdout, vitserve(t, "classify", "--format", "table", bus).stdout)
	require.Contains(t, vitserve(t, "classify", "--json", "--format", "csv", bus).stderr, "want one of them")
}

// TestSortInto: pictures are copied by their label, and nothing is overwritten.
func TestSortInto(t *testing.T) {
	dir := t.TempDir()
	bus := testPicture(t)
	writeFile(t, dir, "a/x.png", bus)
	writeFile(t, dir, "b/x.png", append(append([]byte{}, bus...), 0)) // another file of the same name
	writeFile(t, dir, "c/x.png", bus)                                 // the same file again
	writeFile(t, dir, "d/broken.png", bus[:500])
	into := filepath.Join(dir, "sorted")
	sorted := func() (names []string) {
		require.NoError(t, filepath.WalkDir(into, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				name, _ := filepath.Rel(into, path)
				names = append(names, filepath.ToSlash(name))
			}
			return err
		}))
		return names
	}
	args := []string{"classify", "--sort-into", into, filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c"), filepath.Join(dir, "d")}
	for range 2 {
		got := vitserve(t, args...)
		require.Equal(t, exitFailed, got.code)
		require.Equal(t, []string{"school bus/x-2.png", "school bus/x.png"}, sorted(), "a second run changes nothing")
	}
	got := vitserve(t, "classify", "--min-score", "0.999", "--sort-into", into, filepath.Join(dir, "a"))
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, sorted(), unsorted+"/x.png")
}

func TestFolderName(t *testing.T) {
	for label, want := range map[string]string{
		"tabby, tabby cat": "tabby", "a/b": "a_b", `c:\d`: "c__d", "..": "_", "": "_", "con": "_con", "COM1.x": "_COM1.x", "trailing. ": "trailing", "\x00nul": "_nul", "ü": "ü",
		strings.Repeat("ü", 100): strings.Repeat("ü", 60),
	} {
		require.Equal(t, want, folderName(label), label)
	}
}

// TestPatterns: a shell that matches no patterns leaves them to the command.
func TestPatterns(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "a.png", testPicture(t))
	writeFile(t, dir, "b.png", testPicture(t))
	writeFile(t, dir, "[odd].png", testPicture(t))
	got := vitserve(t, "classify", "--top", "1", filepath.Join(dir, "?.png"))
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Equal(t, 2, strings.Count(got.stdout, "\n"))
	require.Equal(t, exitOK, vitserve(t, "classify", filepath.Join(dir, "[odd].png")).code, "a file of that very name")
	got = vitserve(t, "classify", filepath.Join(dir, "*.gif"))
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "no file matches")
}

func TestDoctor(t *testing.T) {
	atHub(t, starterHub(t, "acme/starter").URL)
	got := vitserve(t, "doctor")
	require.Equal(t, exitOK, got.code, got.stdout)
	for _, what := range []string{"processor", "kernels", "answers", "cache", "hub", "memory", "temporary"} {
		require.Contains(t, got.stdout, what)
	}
	require.Contains(t, got.stdout, "can be reached")
	require.Contains(t, vitserve(t, "doctor", "--offline").stdout, "not to be asked")
	t.Setenv("HF_HUB_CACHE", "/dev/null/nowhere")
	got = vitserve(t, "doctor", "--offline")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stdout, "WRONG  cache")
}

func TestVersionFlag(t *testing.T) {
	require.Equal(t, vitserve(t, "version").stdout, vitserve(t, "--version").stdout)
}

// TestCompletion: values of flags, of every command that has them.
func TestCompletion(t *testing.T) {
	atHub(t, "http://127.0.0.1:9")
	for line, want := range map[string]string{
		"explain --method leg": "legrad", "explain --colors v": "viridis", "classify --precision b": "bf16", "classify --format c": "csv", "serve --log-level w": "warn",
		"classify --model sta": "starter", "explain --class sch": "school bus", "bench --preset vit_b": "vit_base_patch16_224", "embed --pool g": "grid",
	} {
		got := vitserve(t, append([]string{"__complete"}, strings.Fields(line)...)...)
		require.Equal(t, exitOK, got.code)
		require.Contains(t, strings.Split(got.stdout, "\n"), want, line)
	}
}
