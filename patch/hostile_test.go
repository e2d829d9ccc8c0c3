package patch

import (
	"bytes"
	"image/jpeg"
	"math/rand/v2"
	"runtime"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/hostile"
)

// allocated is what f allocates in all, in bytes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestBomb: 300 kB that would be 10 GB are refused at a glance.
func TestBomb(t *testing.T) {
	bomb := hostile.Bomb(50000)
	require.InDelta(t, 300_000, len(bomb), 30_000)

	var err error
	best := time.Hour
	used := allocated(func() {
		for range 5 {
			start := time.Now()
			_, err = Decode(t.Context(), bomb, Options{})
			best = min(best, time.Since(start))
		}
	})
	require.ErrorIs(t, err, ErrSize)
	require.ErrorContains(t, err, "50000×50000")
	require.Less(t, best, 50*time.Millisecond)
	require.Less(t, used, uint64(1<<20))
}

// TestHiddenFrame: two readers of markers must not see two sizes. Each file
// has a small frame where a length leads to, and a large one where a reader
// that skips what has no length finds it.
func TestHiddenFrame(t *testing.T) {
	small := "\xff\xc0\x00\x11\x08\x00\x10\x00\x10\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
	large := strings.Replace(small, "\x00\x10\x00\x10", "\xfd\xe8\xfd\xe8", 1)
	for _, marker := range []byte{0x00, 0x01, 0x7f, 0xd0, 0xd7, 0xd8, 0xd9} {
		length := string([]byte{0, byte(2 + len(large))})
		data := []byte("\xff\xd8\xff" + string(marker) + length + large + small)
		used := allocated(func() {
			_, err := Decode(t.Context(), data, Options{})
			require.Error(t, err)
		})
		require.Less(t, used, uint64(1<<20), "marker %#x", marker)
		d, err := Declared(data, Options{})
		if err == nil {
			c, err := jpeg.DecodeConfig(bytes.NewReader(data))
			require.NoError(t, err)
			require.Equal(t, [2]int{c.Width, c.Height}, [2]int{d.Width, d.Height}, "marker %#x", marker)
		}
	}
}

// TestMutated spoils a thousand files of every format: each is decoded or
// refused with one of the package's errors, within a bound on memory.
func TestMutated(t *testing.T) {
	const maxPixels = 1 << 16
	byFormat := map[string][][]byte{}
	for _, data := range fixtures(t) {
		f, err := sniff(data)
		require.NoError(t, err)
		byFormat[f.name] = append(byFormat[f.name], data)
	}
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			files := byFormat[f.name]
			require.NotEmpty(t, files)
			sort.Slice(files, func(i, j int) bool { return bytes.Compare(files[i], files[j]) < 0 })
			rng := rand.New(rand.NewPCG(11, 12))
			good := 0
			for i := range 1000 {
				data := hostile.Mutate(rng, files[i%len(files)])
				var err error
				used := allocated(func() { _, err = Decode(t.Context(), data, Options{MaxPixels: maxPixels}) })
				// Eight bytes a pixel, twice, and the decoders' tables.
				require.Less(t, used, uint64(64*maxPixels+4<<20))
				if err == nil {
					good++
					continue
				}
				require.True(t, wraps(err, ErrFormat, ErrImage, ErrSize), err)
			}
			t.Logf("%d of 1000 still decode", good)
		})
	}
}
