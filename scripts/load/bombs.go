package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vitserve/vitserve/internal/hostile"
)

// shot is a hostile request.
type shot struct {
	kind   string
	path   string
	body   hostile.Body
	format string // of a file; "": a body that is no file
	whole  bool
}

// file is the request that sends an attack's file.
func file(a hostile.Attack, path string) shot {
	head := fmt.Sprintf("Content-Length: %d\r\n", len(a.Data))
	return shot{kind: a.Format + ", " + a.Kind, path: path, body: hostile.Body{Head: head, Data: a.Data}, format: a.Format, whole: a.Whole}
}

// shots are all kinds in a random order, a body after every five files; some
// files are to be explained, some may be decoded in part.
func (b *bench) shots() (all []shot) {
	paths := []string{"/v1/classify", "/v1/classify", "/v1/classify", "/v1/classify?resize=fast", "/v1/classify", "/v1/classify", "/v1/classify", "/v1/explain?picture=overlay"}
	files, bodies := b.attacks(15), hostile.Bodies(15, b.budget())
	rng := rand.New(rand.NewPCG(15, 15))
	rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	for i, a := range files {
		all = append(all, file(a, paths[i%len(paths)]))
		if i%5 == 4 {
			body := bodies[i/5%len(bodies)]
			all = append(all, shot{kind: "body, " + body.Kind, path: "/v1/classify", body: body})
		}
	}
	return all
}

// outcome is what became of a shot.
type outcome struct {
	shot   shot
	status int // 0: the connection ended without an answer
	took   time.Duration
	err    error // that no server may give
}

// patience is how long anybody waits for the answer to a shot.
const patience = 90 * time.Second

// fire sends a shot from an address, "" for any.
func (b *bench) fire(ctx context.Context, s shot, from string) (o outcome) {
	o.shot = s
	begin := time.Now()
	defer func() { o.took = time.Since(begin) }()
	var dialer net.Dialer
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.DialContext(ctx, "tcp", b.wire.addr)
	if err != nil {
		o.err = err
		return o
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(begin.Add(patience))
	go func() { // the answer may come before all is sent
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", s.path, b.wire.addr, s.body.Head)
		data := s.body.Data
		for s.body.Every > 0 && len(data) > s.body.Piece {
			if _, err := conn.Write(data[:s.body.Piece]); err != nil {
				return
			}
			data = data[s.body.Piece:]
			time.Sleep(s.body.Every)
		}
		_, _ = conn.Write(data)
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		o.err = fmt.Errorf("neither an answer nor an end after %v", patience)
	case err == nil:
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		o.status = resp.StatusCode
		if ok := o.status == 200 || o.status/100 == 4 || o.status == 503 || o.status == 504; !ok {
			o.err = fmt.Errorf("status %d", o.status)
		}
	}
	return o
}

// barrage sends n shots at a rate and returns what became of them.
func (b *bench) barrage(ctx context.Context, all []shot, n int, rate float64) []outcome {
	outcomes := make([]outcome, n)
	sent := 0
	var wg sync.WaitGroup
	begin := time.Now()
	for ; sent < n && ctx.Err() == nil; sent++ {
		time.Sleep(time.Until(begin.Add(time.Duration(float64(sent) / rate * float64(time.Second)))))
		i := sent
		wg.Go(func() { outcomes[i] = b.fire(ctx, all[i%len(all)], b.from) })
	}
	wg.Wait()
	return outcomes[:sent]
}

// attacks are the hostile files of the formats that are asked for.
func (b *bench) attacks(seed uint64) []hostile.Attack {
	all := hostile.Bombs(seed, b.budget())
	if b.formats == "" {
		return all
	}
	return slices.DeleteFunc(all, func(a hostile.Attack) bool { return !strings.Contains(","+b.formats+",", ","+a.Format+",") })
}

// budget is how large hostile files are.
func (b *bench) budget() hostile.Budget {
	if b.small {
		return hostile.Small
	}
	return hostile.Full
}

// bombs holds honest requests beside hostile ones to those alone, and the
// memory and the end of a server that is attacked.
func bombs(ctx context.Context, b *bench) error {
	b.kill()
	const grace = 5 * time.Second
	b.env = []string{"VITSERVE_SERVE_SHUTDOWN_TIMEOUT=" + grace.String()}
	defer func() { b.env = nil }()
	if err := b.start(ctx); err != nil {
		return err
	}
	all := b.shots()
	b.capacity = 0
	if err := b.measure(ctx); err != nil {
		return err
	}
	rate := 0.2 * b.capacity
	length := time.Duration(float64(b.bombs) / bombRate * float64(time.Second))
	alone := b.open(ctx, rate, true, length, "/v1/classify")
	fmt.Printf("classify at 20 %% alone: %v\n", alone)
	if err := b.clearPeak(); err != nil {
		return err
	}
	var outcomes []outcome
	var wg sync.WaitGroup
	wg.Go(func() { outcomes = b.barrage(ctx, all, b.bombs, bombRate) })
	beside := b.open(ctx, rate, true, length, "/v1/classify")
	wg.Wait()
	peak, err := b.peak()
	if err != nil {
		return err
	}
	fmt.Printf("beside bombs: %v\n", beside)
	b.report(outcomes)
	what := fmt.Sprintf("%d requests at 20 %% of the capacity (%.0f/s) beside %d bombs of %d kinds at %g/s", beside.status[200], rate, b.bombs, min(b.bombs, len(all)), bombRate)
	failed := beside.only(http.StatusOK)
	b.hold(failed == nil, what, "none fails", "%v, %d without an answer", beside.status, beside.failed)
	b.atMost("the same: p99 by p99 without bombs", beside.quantile(.99), alone.quantile(.99), 3)
	b.hold(peak <= 1e9, "the same: most resident memory", "≤ 1 GB", "%.0f MB", peak/1e6)

	// The end in the midst: the costliest, many at once.
	var last sync.WaitGroup
	for i := range 24 {
		s := all[(b.bombs+i)%len(all)]
		last.Go(func() { b.fire(ctx, s, b.from) })
	}
	time.Sleep(300 * time.Millisecond)
	begin := time.Now()
	err = b.terminate()
	took := time.Since(begin)
	last.Wait()
	b.hold(took <= grace+time.Second, "SIGTERM amid 24 bombs", "ends within shutdown_timeout + 1 s = 6 s", "exit %s after %v", errOr(err), round(took))
	return nil
}

// bombRate is how many bombs come in a second.
const bombRate = 2.0

// report prints what became of bombs, and holds their answers.
func (b *bench) report(outcomes []outcome) {
	status := map[int]int{}
	var wrong []string
	for _, o := range outcomes {
		status[o.status]++
		if o.err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", o.shot.kind, o.err))
		}
	}
	slices.SortFunc(outcomes, func(x, y outcome) int { return int(y.took - x.took) })
	for _, o := range outcomes[:min(len(outcomes), 12)] {
		fmt.Printf("  %8v status %d: %s\n", round(o.took), o.status, o.shot.kind)
	}
	b.hold(len(wrong) == 0, "the bombs: answers (0: the connection was ended)", "200, 4xx, 503 or 504, or an end", "%v; wrong: %d %s", status, len(wrong), strings.Join(wrong[:min(3, len(wrong))], "; "))
}
