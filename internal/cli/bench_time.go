package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// timer times runs, and the machine's peak between them.
type timer struct {
	runs    int           // at least so many
	atLeast time.Duration // and at least so long
	device  backend.Backend
	times   []time.Duration
	peak    float64 // GFLOP/s
}

// Times of warming up and of a look at the peak, and how many looks a
// measurement has.
const (
	warmUp    = 300 * time.Millisecond
	peakTime  = 20 * time.Millisecond
	peakLooks = 16
)

// time calls run over and over. The first calls, which find caches, pages and
// clocks as the calls before them did not, do not count.
func (t *timer) time(ctx context.Context, run func() error) error {
	for start := time.Now(); ; {
		if err := run(); err != nil {
			return err
		}
		if time.Since(start) > warmUp || ctx.Err() != nil {
			break
		}
	}
	look := func() { t.peak = max(t.peak, t.device.Peak(peakTime)) }
	look()
	start := time.Now()
	for looks := 1; len(t.times) < t.runs || time.Since(start) < t.atLeast; {
		if err := ctx.Err(); err != nil {
			return err
		}
		begin := time.Now()
		if err := run(); err != nil {
			return err
		}
		t.times = append(t.times, time.Since(begin))
		done := max(float64(time.Since(start))/float64(t.atLeast+1), 0)
		if looks < peakLooks && float64(looks) < min(done, float64(len(t.times))/float64(t.runs))*peakLooks {
			looks++
			look()
		}
	}
	look()
	return nil
}

// report fills a row, each run being of so many images.
func (t *timer) report(row *measured, images int) {
	slices.Sort(t.times)
	ms := func(at float64) float64 {
		i := min(int(at*float64(len(t.times))), len(t.times)-1)
		return t.times[i].Seconds() * 1e3 / float64(images)
	}
	row.Runs = len(t.times)
	row.MsPerImage, row.MsMedian, row.MsP95 = ms(0), ms(0.5), ms(0.95)
	row.ImagesPerSecond = 1e3 / row.MsPerImage
	row.GFLOPS = row.GFLOPPerImage * row.ImagesPerSecond
	row.PeakGFLOPS = t.peak
	row.FractionOfPeak = row.GFLOPS / row.PeakGFLOPS
}

// forward times forward passes over random pixels.
func (b *bench) forward(ctx context.Context, m *lib.Model, batch int, t *timer) error {
	lane := m.NewLane(vit.SessionOptions{MaxBatch: batch})
	defer lane.Close()
	c := m.Config()
	pixels := tensor.New(tensor.WithShape(batch, 3, c.Image[0], c.Image[1]), tensor.Of(tensor.Float32))
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range pixels.Float32s() {
		pixels.Float32s()[i] = rng.Float32()
	}
	wants := benchWants[b.wants]
	return t.time(ctx, func() error {
		_, err := lane.Run(0, pixels, wants)
		return err
	})
}

// folder times the whole way of the pictures of a folder: reading, decoding,
// preparing, classifying. A picture that cannot be read ends it, because a
// faster failure would look like speed.
func (b *bench) folder(ctx context.Context, m *lib.Model, batch int, t *timer) error {
	o := lib.StreamOptions{Batch: min(batch, len(b.sources)), Wants: benchWants[b.wants]}
	bar := newProgress(nil, b.stderr, t.runs+1, "runs over the folder")
	defer bar.clear()
	return t.time(ctx, func() error {
		defer bar.add()
		for r, err := range m.Stream(ctx, slices.Values(b.sources), o) {
			if err != nil {
				return err
			}
			if r.Err != nil {
				return fmt.Errorf("%s: %w", r.Source.Name, r.Err)
			}
		}
		return nil
	})
}
