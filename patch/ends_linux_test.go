package patch

import (
	"context"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/hostile"
	"golang.org/x/sys/unix"
	"gorgonia.org/tensor"
)

// watch is a context that measures the processor time between the looks at it,
// and ends at one of them.
type watch struct {
	context.Context
	looks, end int
	last, most time.Duration
	ended      time.Duration // when it did
	after      time.Duration // what was done after that
}

// spent is the processor time of the calling thread.
func spent() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

func (w *watch) Err() error {
	now := spent()
	w.most = max(w.most, now-w.last)
	w.last = now
	if w.looks++; w.end > 0 && w.looks >= w.end {
		if w.ended == 0 {
			w.ended = now
		}
		return context.Canceled
	}
	return nil
}

// during calls f with a watch that ends at a look, 0 for never.
func during(end int, f func(ctx context.Context) error) (*watch, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w := &watch{Context: context.Background(), end: end, last: spent()}
	err := f(w)
	w.most = max(w.most, spent()-w.last)
	w.after = spent() - w.ended
	return w, err
}

// costly are files that take their decoders long.
func costly(t *testing.T) map[string][]byte {
	files := map[string][]byte{}
	kinds := []string{
		"jpeg: progressive, all gray", "jpeg: progressive, four inks", "jpeg: a restart in every unit",
		"jpeg: arithmetic code of noise", "jpeg: arithmetic code, progressive", "jpeg: lossless, one difference",
		"png: zeros of 16 bits with alpha", "png: zeros of 16 bits with alpha, interlaced", "png: zeros",
		"gif: zeros, interlaced", "gif: blocks of one byte",
		"tiff: zeros, deflated, four samples of 16 bits", "tiff: zeros, LZW", "tiff: white, fax", "tiff: CIELab", "tiff: planes",
		"tiff: zeros, Zstandard, four samples of 16 bits", "tiff: colors that sixteen pixels share", "tiff: white, fax without ends of lines",
		"webp: lossless, every transform", "webp: lossless, one colour", "webp: lossy, every block predicted", "webp: alpha of one value",
	}
	for _, a := range hostile.Bombs(5, budget()) {
		if name := a.Format + ": " + a.Kind; slices.Contains(kinds, name) {
			files[name] = a.Data
		}
	}
	require.Len(t, files, len(kinds))
	// One bit a pixel makes the most work of a byte.
	edge := math.Sqrt(float64(budget().Pixels))
	w, h := int(edge), int(edge)
	bmp := patched(fixtures(t)["palette.bmp"], 18, byte(w), byte(w>>8), 0, 0, byte(h), byte(h>>8), 0, 0)
	r, err := openBMP(bmp)
	require.NoError(t, err)
	files["bmp: indices"] = append(bmp[:len(bmp)-len(r.pix)], make([]byte, r.stride*h)...)
	turned := pngChunk("eXIf", []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"))
	files["png: on its side"] = pngKind{w, h, 1, pngGray, false}.write(1, func([]byte) {}, turned)
	return files
}

// TestEnds: decoding, turning, resizing and cropping look at their context at
// least every 100 ms of processor time, in every format, and end with it.
func TestEnds(t *testing.T) {
	if raceEnabled {
		t.Skip("times of the race detector mean nothing")
	}
	const limit = 100 * time.Millisecond
	tr := good()
	dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
	for name, data := range costly(t) {
		t.Run(name, func(t *testing.T) {
			ways := map[string]func(ctx context.Context) error{
				"Decode": func(ctx context.Context) error {
					_, err := Decode(ctx, data, Options{})
					return err
				},
				"Pixels": func(ctx context.Context) error {
					_, err := tr.Pixels(ctx, dst, data, Options{})
					return err
				},
			}
			for way, f := range ways {
				// What else the machine does makes a time longer, never shorter.
				w, err := during(0, f)
				for range 4 {
					require.NoError(t, err)
					if w.most < limit {
						break
					}
					again, e := during(0, f)
					w.most, err = min(w.most, again.most), e
				}
				t.Logf("%s: %d looks, at most %v from one to the next", way, w.looks, w.most)
				require.Less(t, w.most, limit, way)
				half, err := during(max(1, w.looks/2), f)
				require.ErrorIs(t, err, context.Canceled, way)
				require.Less(t, half.after, 2*limit, "%s goes on after its context has ended", way)
			}
		})
	}
}
