package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"Ärger 写真 🐈.jpg":        "Ärger 写真 🐈.jpg",
		`C:\x1b "quoted"`:       `C:\x1b "quoted"`,
		"\x1b]0;title\a.jpg":    `\x1b]0;title\a.jpg`,
		"a\nb\tc\rd\x7f":        `a\nb\tc\rd\x7f`,
		"\u009b31m":             `\u009b31m`,
		"evil\u202egpj.exe":     `evil\u202egpj.exe`,
		"latin \xe9\xff":        `latin \xe9\xff`,
		"\ufffd is a letter":    "\ufffd is a letter",
		"zero\u200bwidth\u2028": `zero\u200bwidth\u2028`,
	} {
		require.Equal(t, want, printable(in))
	}
	var b strings.Builder
	require.NoError(t, writeJSON(&b, "<写真>\u009b\u202e\U000e0001\x1b"))
	require.Equal(t, `"<写真>\u009b\u202e\udb40\udc01\u001b"`+"\n", b.String())
	require.Equal(t, "one \\x1b[2J\ntwo\\r", printableError(errors.Join(errors.New("one \x1b[2J"), errors.New("two\r"))))
}

// TestHostileNames: a terminal obeys nothing that a picture, a folder, a label
// or a tensor is called.
func TestHostileNames(t *testing.T) {
	const evil = "\x1b[2J\x1b]0;owned\a\u009b1m"
	dir := t.TempDir()
	good := writeFile(t, dir, evil+"/good"+evil+".png", pngBytes(t, picture(1, 40, 30)))
	bad := writeFile(t, dir, evil+"/bad"+evil+".png", []byte("\x1b[31m no picture"))
	labels := writeFile(t, dir, "labels.txt", []byte(strings.Repeat("cat "+evil+"\n", 20)))
	truth := writeFile(t, dir, "truth.csv", []byte("file,label\n"+filepath.Base(good)+",3\n"))
	odd := filepath.Join(dir, "odd"+evil+".safetensors")
	header := `{"\u001b[2J":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`
	require.NoError(t, os.WriteFile(odd, append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header+"\x00\x00\x00\x00"...), 0o600))
	for _, args := range [][]string{
		{"classify", "--labels", labels, good, bad, filepath.Join(dir, evil)},
		{"classify", "--labels", labels, "--top", "1", good},
		{"classify", "--model", odd, good},
		{"classify", "--model", bad, good},
		{"explain", "--labels", labels, good},
		{"explain", "--class", evil, "--labels", labels, good},
		{"explain", bad},
		{"eval", "--labels", labels, "--truth", truth, filepath.Join(dir, evil)},
		{"eval", filepath.Join(dir, evil)},
		{"embed", bad},
		{"inspect", odd},
		{"inspect", bad},
		{"inspect", "starter", "--image", bad},
		{"convert", bad},
		{evil},
		{"classify", "--" + evil},
	} {
		got := vitserve(t, args...)
		for _, out := range []string{got.stdout, got.stderr} {
			require.NotContains(t, out, "\x1b", "%q", args)
			require.NotContains(t, out, "\a", "%q", args)
			require.NotContains(t, out, "\u009b", "%q", args)
		}
		require.NotEmpty(t, got.stdout+got.stderr)
	}
	require.Contains(t, vitserve(t, "classify", good).stdout, `good\x1b[2J\x1b]0;owned\a\u009b1m.png`)
}
