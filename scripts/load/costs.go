package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vitserve/vitserve/internal/hostile"
)

// costs holds the memory of the costliest files of each format, one after the
// other and sixteen at once.
func costs(ctx context.Context, b *bench) error {
	byFormat := map[string][]hostile.Attack{}
	for _, a := range hostile.Bombs(16, b.budget()) {
		byFormat[a.Format] = append(byFormat[a.Format], a)
	}
	type cost struct {
		shot  shot
		bytes float64
	}
	var costliest []cost
	for _, format := range slices.Sorted(maps.Keys(byFormat)) {
		b.kill()
		if err := b.start(ctx); err != nil {
			return err
		}
		if _, err := b.classify(ctx, 0, ""); err != nil {
			return err
		}
		idle, err := b.peak()
		if err != nil {
			return err
		}
		var all []cost
		var most cost
		accepted := 0
		for _, a := range byFormat[format] {
			for _, path := range []string{"/v1/classify", "/v1/explain?picture=overlay"} {
				if err := b.clearPeak(); err != nil {
					return err
				}
				s := file(a, path)
				o := b.fire(ctx, s, "")
				if o.err != nil {
					return fmt.Errorf("%s: %w", s.kind, o.err)
				}
				if o.status == 200 {
					accepted++
				}
				peak, err := b.peak()
				if err != nil {
					return err
				}
				c := cost{s, peak - idle}
				all = append(all, c)
				if c.bytes > most.bytes {
					most = c
				}
			}
		}
		b.hold(most.bytes <= 500e6, fmt.Sprintf("%s: %d hostile files, to classify and to explain, one after the other", format, len(byFormat[format])), "≤ 500 MB above idle",
			"%.0f MB above %.0f (%s); %d of %d answered 200", most.bytes/1e6, idle/1e6, most.shot.kind, accepted, len(all))
		slices.SortFunc(all, func(x, y cost) int { return int(y.bytes - x.bytes) })
		costliest = append(costliest, all[:3]...)
	}
	slices.SortFunc(costliest, func(x, y cost) int { return int(y.bytes - x.bytes) })

	b.kill()
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.clearPeak(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	status := map[int]int{}
	var mu sync.Mutex
	var wrong error
	for _, c := range costliest[:16] {
		wg.Go(func() {
			o := b.fire(ctx, c.shot, "")
			mu.Lock()
			defer mu.Unlock()
			status[o.status]++
			if o.err != nil {
				wrong = fmt.Errorf("%s: %w", c.shot.kind, o.err)
			}
		})
	}
	wg.Wait()
	peak, err := b.peak()
	if err != nil {
		return err
	}
	b.hold(wrong == nil && peak <= 1e9, "the 16 costliest of all formats at once: most resident memory", "≤ 1 GB", "%.0f MB; answers %v, wrong: %s", peak/1e6, status, errOr(wrong))
	return nil
}

// peak returns the most memory in bytes that the server has had resident since
// clearPeak, or since its start.
func (b *bench) peak() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("resident memory is read where Linux says it: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return 1024 * kb, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in the status of process %d", b.cmd.Process.Pid)
}

// clearPeak has peak begin anew (proc(5), clear_refs).
func (b *bench) clearPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", b.cmd.Process.Pid), []byte("5"), 0)
}
