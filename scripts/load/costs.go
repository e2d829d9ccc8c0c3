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

// cost is the memory that a shot took.
type cost struct {
	shot   shot
	status int
	bytes  float64 // above an idle server's
}

// costs holds the memory of the costliest files of each format, each sent to a
// server of its own, and of sixteen at once.
func costs(ctx context.Context, b *bench) error {
	byFormat := map[string][]hostile.Attack{}
	for _, a := range b.attacks(16) {
		byFormat[a.Format] = append(byFormat[a.Format], a)
	}
	var costliest []cost
	for _, format := range slices.Sorted(maps.Keys(byFormat)) {
		var all []cost
		accepted := 0
		for _, a := range byFormat[format] {
			for _, path := range []string{"/v1/classify", "/v1/explain?picture=overlay"} {
				c, err := b.cost(ctx, file(a, path))
				if err != nil {
					return err
				}
				if c.status == 200 {
					accepted++
				}
				all = append(all, c)
			}
		}
		slices.SortFunc(all, func(x, y cost) int { return int(y.bytes - x.bytes) })
		for _, c := range all[:min(5, len(all))] {
			fmt.Printf("  %4.0f MB, status %d: %s to %s\n", c.bytes/1e6, c.status, c.shot.kind, c.shot.path)
		}
		b.hold(all[0].bytes <= 500e6, fmt.Sprintf("%s: %d hostile files, each to classify and to explain, each to a fresh server", format, len(byFormat[format])), "≤ 500 MB above idle",
			"%.0f MB (%s); %d of %d answered 200", all[0].bytes/1e6, all[0].shot.kind, accepted, len(all))
		costliest = append(costliest, all[:min(3, len(all))]...)
	}
	slices.SortFunc(costliest, func(x, y cost) int { return int(y.bytes - x.bytes) })

	b.kill()
	const limit = 1_000_000_000
	b.env = []string{fmt.Sprint("VITSERVE_SERVE_MEMORY_LIMIT=", limit)}
	defer func() { b.env = nil }()
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
	for _, c := range costliest[:min(16, len(costliest))] {
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
	b.hold(wrong == nil && peak <= limit, fmt.Sprintf("the %d costliest at once, memory_limit 1 GB: most resident memory", min(16, len(costliest))), "≤ 1 GB", "%.0f MB; answers %v, wrong: %s", peak/1e6, status, errOr(wrong))
	return nil
}

// cost sends a shot to a server of its own.
func (b *bench) cost(ctx context.Context, s shot) (c cost, err error) {
	b.kill()
	if err := b.start(ctx); err != nil {
		return c, err
	}
	if _, err := b.classify(ctx, 0, ""); err != nil {
		return c, err
	}
	idle, err := b.peak()
	if err != nil {
		return c, err
	}
	o := b.fire(ctx, s, "")
	if o.err != nil {
		return c, fmt.Errorf("%s: %w", s.kind, o.err)
	}
	most, err := b.peak()
	return cost{s, o.status, most - idle}, err
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
