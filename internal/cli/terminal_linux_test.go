package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// onTerminal runs a command line whose standard output or standard error, or
// both, are a terminal, and returns what that has shown.
func onTerminal(t *testing.T, stdout, stderr bool, args ...string) (string, int) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	require.NoError(t, unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	theirs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	seen := make(chan string)
	go func() {
		var all bytes.Buffer
		_, _ = all.ReadFrom(ours) // it ends with an error once nobody holds the other end
		seen <- all.String()
	}()
	elsewhere, err := os.Create(filepath.Join(t.TempDir(), "elsewhere"))
	require.NoError(t, err)
	out, errs := elsewhere, elsewhere
	if stdout {
		out = theirs
	}
	if stderr {
		errs = theirs
	}
	code := Run(t.Context(), args, strings.NewReader(""), out, errs)
	require.NoError(t, theirs.Close())
	shown := <-seen
	require.NoError(t, ours.Close())
	require.NoError(t, elsewhere.Close())
	return shown, code
}

// TestColours holds who is shown colours: a terminal, unless NO_COLOR is set to
// anything or TERM says that it is dumb.
func TestColours(t *testing.T) {
	photo := writeFile(t, t.TempDir(), "photo.png", pngBytes(t, picture(1, 64, 64)))
	for _, c := range []struct {
		name, color, term string
		colours           bool
	}{
		{"a terminal", "", "xterm-256color", true}, {"one without a name", "", "", true}, {"NO_COLOR", "1", "xterm-256color", false},
		{"NO_COLOR of any value", "0", "xterm", false}, {"dumb", "", "dumb", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", c.color)
			t.Setenv("TERM", c.term)
			for _, args := range [][]string{{"explain", photo}, {"explain", "--method", "raw", photo}} {
				shown, code := onTerminal(t, true, false, args...)
				require.Zero(t, code)
				require.Equal(t, c.colours, strings.Contains(shown, "\x1b[38;2;") && strings.Contains(shown, "▀"), shown)
				if !c.colours {
					require.NotContains(t, shown, "\x1b")
					require.Contains(t, shown, "@@", "letters in place of colours")
				}
			}
			shown, code := onTerminal(t, true, false, "classify", photo)
			require.Zero(t, code)
			require.NotContains(t, shown, "\x1b", "labels have no colours")
		})
	}
}

// TestBarOnTerminal holds who is shown a bar: a terminal that can take it away
// again.
func TestBarOnTerminal(t *testing.T) {
	dir := t.TempDir()
	for i := range 4 {
		writeFile(t, dir, fmt.Sprintf("%d.png", i), pngBytes(t, picture(i, 64, 64)))
	}
	for term, bar := range map[string]bool{"xterm": true, "dumb": false} {
		t.Setenv("TERM", term)
		shown, code := onTerminal(t, false, true, "classify", dir)
		require.Zero(t, code)
		back := strings.Contains(strings.ReplaceAll(shown, "\r\n", "\n"), "\r") // to the line's begin
		require.Equal(t, bar, back, "TERM=%s: %q", term, shown)
		if !bar {
			require.NotContains(t, shown, "\x1b")
		}
	}
}
