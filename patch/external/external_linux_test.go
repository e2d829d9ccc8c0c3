package external_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/patch/external"
)

func isAny(err error, of ...error) bool {
	for _, e := range of {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// script is a decoder that a shell plays: $1 is the file in, $2 the file out.
func script(t *testing.T, text string, l external.Limits) *external.Program {
	t.Helper()
	p, err := external.New(patch.HEIC, []string{"sh", "-c", text, "fake", "{in}", "{out}.png"}, l)
	require.NoError(t, err)
	return p
}

// plain is a HEIC of 96 × 64 pixels, and the path of its picture as PNG.
func plain(t *testing.T) (data []byte, golden string) {
	t.Helper()
	data, err := os.ReadFile("testdata/pictures/plain.heic")
	require.NoError(t, err)
	golden, err = filepath.Abs("testdata/pictures/plain.heic.png")
	require.NoError(t, err)
	return data, golden
}

// private has temporary folders made in one of the test's, and says what is
// left there.
func private(t *testing.T) (left func() []os.DirEntry) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	return func() []os.DirEntry {
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		return entries
	}
}

func decode(ctx context.Context, p patch.Decoder, data []byte) (*patch.Photo, error) {
	return patch.Decode(ctx, data, patch.Options{Decoders: map[string]patch.Decoder{patch.HEIC: p}})
}

func TestDecodes(t *testing.T) {
	left := private(t)
	data, golden := plain(t)
	for name, command := range map[string][]string{
		"files": {"sh", "-c", `cmp -s "$1" in.heic && cp ` + golden + ` "$2"`, "fake", "{in}", "{out}.png"},
		"pipes": {"sh", "-c", `cmp -s - in.heic && cat ` + golden},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := external.New(patch.HEIC, command, external.Limits{})
			require.NoError(t, err)
			photo, err := decode(t.Context(), p, data)
			require.NoError(t, err)
			mean, greatest := difference(t, golden, photo)
			require.Zero(t, mean)
			require.Zero(t, greatest)
		})
	}
	require.Empty(t, left())
}

// TestFaults: whatever a program does, there is an error of the picture's, and
// nothing is left of it.
func TestFaults(t *testing.T) {
	left := private(t)
	data, golden := plain(t)
	other := strings.Replace(golden, "plain.heic", "grid.heic", 1)
	quick := external.Limits{Timeout: 500 * time.Millisecond}
	for _, c := range []struct {
		name, script string
		limits       external.Limits
		want         error
		says         string
	}{
		{"hangs", `sleep 1000`, quick, patch.ErrSize, "not done within 500ms"},
		{"hangs with children", `sleep 1000 & sleep 1000 & wait`, quick, patch.ErrSize, "not done within 500ms"},
		{"leaves a child behind", `sleep 1000 & exit 0`, external.Limits{}, patch.ErrImage, ""},
		{"spins", `while :; do :; done`, quick, patch.ErrSize, "not done"},
		{"floods its file", `cat /dev/zero >"$2"`, external.Limits{}, patch.ErrSize, "wrote more than"},
		{"floods files", `i=0; while :; do head -c 9000 /dev/zero >o$i; i=$((i+1)); done`, external.Limits{}, patch.ErrSize, "wrote more than"},
		{"floods its messages", `head -c 50000000 /dev/zero | tr '\0' 'x' >&2; exit 1`, external.Limits{}, patch.ErrImage, "exit status 1"},
		{"takes memory", `head -c 1000000000 /dev/zero | tail -n 1 >"$2"`, external.Limits{}, patch.ErrImage, "exit status 1"},
		{"takes more than it may", `head -c 60000000 /dev/zero | tail -n 1 >"$2"`, external.Limits{Memory: 40_000_000}, patch.ErrImage, "40 MB of memory"},
		{"fails", `echo first >&2; printf 'no \033[31msuch codec' >&2; exit 3`, external.Limits{}, patch.ErrImage, "sh: exit status 3, with 150 MB of memory: no [31msuch codec"},
		{"dies", `kill -SEGV $$`, external.Limits{}, patch.ErrImage, "segmentation"},
		{"writes nothing", `:`, external.Limits{}, patch.ErrImage, "wrote 0 pictures"},
		{"writes two", `cp ` + golden + ` out-1.png; cp ` + golden + ` out-2.png`, external.Limits{}, patch.ErrImage, "wrote 2 pictures"},
		{"writes an empty file", `: >"$2"`, external.Limits{}, patch.ErrImage, "returned nothing"},
		{"writes garbage", `echo garbage >"$2"`, external.Limits{}, patch.ErrImage, `begins with "garbage\n"`},
		{"writes half a picture", `head -c 1000 ` + golden + ` >"$2"`, external.Limits{}, patch.ErrImage, "returned"},
		{"writes another size", `cp ` + other + ` "$2"`, external.Limits{}, patch.ErrImage, "declared 96×64 pixels, the decoder returned 180×120"},
		{"writes what only a program reads", `cp "$1" "$2"`, external.Limits{}, patch.ErrImage, "no picture"},
		{"writes a link", `ln -s ` + golden + ` "$2"`, external.Limits{}, patch.ErrImage, "no plain file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			_, err := decode(t.Context(), script(t, c.script, c.limits), data)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), os.Getenv("TMPDIR"))
			require.Less(t, time.Since(start), 15*time.Second)
			require.Empty(t, left())
		})
	}
}

// TestEndsWithContext: a program and what it has started end with the context,
// while it runs and while it waits for a place.
func TestEndsWithContext(t *testing.T) {
	left := private(t)
	data, _ := plain(t)
	pids := filepath.Join(t.TempDir(), "pids")
	p := script(t, `sleep 1000 & echo $! $$ >`+pids+`.new; mv `+pids+`.new `+pids+`; wait`, external.Limits{AtOnce: 1})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			_, err := decode(ctx, p, data)
			require.ErrorIs(t, err, context.Canceled)
		})
	}
	require.Eventually(t, func() bool { _, err := os.Stat(pids); return err == nil }, 20*time.Second, time.Millisecond)
	cancel()
	start := time.Now()
	all.Wait()
	require.Less(t, time.Since(start), 5*time.Second)
	text, err := os.ReadFile(pids)
	require.NoError(t, err)
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return gone(pid) }, 10*time.Second, 5*time.Millisecond, "process %d", pid)
	}
	require.Empty(t, left())
}

// gone reports whether a process has ended: it is not there, or a zombie.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(rest, "Z")
}

// TestAtOnce: no more processes than are allowed run at the same time.
func TestAtOnce(t *testing.T) {
	data, golden := plain(t)
	lock := filepath.Join(t.TempDir(), "lock")
	p := script(t, `mkdir `+lock+` || exit 9; sleep 0.02; rmdir `+lock+`; cp `+golden+` "$2"`, external.Limits{AtOnce: 1})
	var all sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs {
		all.Go(func() { _, errs[i] = decode(t.Context(), p, data) })
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
}

// TestPrivate: a program sees no more of this process than it needs, and no
// shell reads its arguments.
func TestPrivate(t *testing.T) {
	private(t)
	t.Setenv("SECRET", "of the server")
	data, golden := plain(t)
	seen := filepath.Join(t.TempDir(), "seen")
	text := `{ env | grep -v '^\(PWD\|OLDPWD\|SHLVL\|_\)=' | cut -d= -f1 | sort; stat -c %a . in.heic; ulimit -c; ulimit -n; for a; do echo "$a"; done; } >` + seen + `; cp ` + golden + ` out.png`
	p, err := external.New(patch.HEIC, []string{"sh", "-c", text, "fake", "{in}", "{out}.png", "; touch $HOME `id` *"}, external.Limits{})
	require.NoError(t, err)
	_, err = decode(t.Context(), p, data)
	require.NoError(t, err)
	got, err := os.ReadFile(seen)
	require.NoError(t, err)
	require.Equal(t, []string{
		"HOME", "LC_ALL", "MALLOC_ARENA_MAX", "PATH", "TMPDIR", "700", "600", "0", "64",
		"in.heic", "out.png", "; touch $HOME `id` *",
	}, strings.Split(strings.TrimSpace(string(got)), "\n"))
}

// TestBytes: what a program may take is counted, and is what limits it.
func TestBytes(t *testing.T) {
	p := script(t, `ulimit -v >&2; exit 1`, external.Limits{})
	data, _ := plain(t)
	d, err := patch.Declared(data, patch.Options{Decoders: map[string]patch.Decoder{patch.HEIC: p}})
	require.NoError(t, err)
	require.Equal(t, 96, d.Width)
	require.Equal(t, 64, d.Height)
	require.EqualValues(t, 150_000_000+24*96*64, p.Bytes(96, 64))
	require.EqualValues(t, p.Bytes(96, 64)+int64(len(data)), d.Bytes)
	require.Equal(t, d.Bytes, d.PixelsBytes)
	_, err = decode(t.Context(), p, data)
	require.ErrorContains(t, err, ": "+strconv.FormatInt(p.Bytes(96, 64)/1024, 10)+": ")
	require.EqualValues(t, 450_000_000, p.Bytes(8000, 6000))
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		format  string
		command []string
		limits  external.Limits
		says    string
	}{
		{"png", []string{"sh"}, external.Limits{}, "unknown format"},
		{patch.HEIC, nil, external.Limits{}, "no command"},
		{patch.HEIC, []string{"no-such-program"}, external.Limits{}, "not found"},
		{patch.HEIC, []string{"sh"}, external.Limits{Timeout: -1}, "want at least 0"},
		{patch.HEIC, []string{"sh"}, external.Limits{Memory: 1000}, "memory 1000, want at least"},
	} {
		_, err := external.New(c.format, c.command, c.limits)
		require.ErrorContains(t, err, c.says)
	}
}
