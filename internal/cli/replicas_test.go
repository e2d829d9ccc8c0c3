//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// replica is a server of its own process, as a balancer sees it.
type replica struct {
	addr     string
	cmd      *exec.Cmd
	ready    atomic.Bool
	flying   atomic.Int64
	answered atomic.Int64
}

// begin starts the process; it is ready when the balancer has seen so.
func (r *replica) begin(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	r.cmd = exec.Command(self, "serve", "--addr", r.addr, "--threads", "1", "--max-queue", "512", "--drain-delay", "1s", "--log-format", "json", "--log-level", "warn")
	r.cmd.Env = append(os.Environ(), asCommand+"=1")
	r.cmd.Stderr = os.Stderr
	require.NoError(t, r.cmd.Start())
}

// balancer sends a request to the ready replica with the fewest under way, and
// never twice.
type balancer struct {
	replicas []*replica
	mu       sync.Mutex
	failed   func(r *replica) // a replica did not answer
}

func (b *balancer) pick() *replica {
	b.mu.Lock()
	defer b.mu.Unlock()
	var best *replica
	for _, r := range b.replicas {
		if r.ready.Load() && (best == nil || r.flying.Load() < best.flying.Load()) {
			best = r
		}
	}
	if best != nil {
		best.flying.Add(1)
	}
	return best
}

// ServeHTTP is of http.Handler. Connections are kept from request to request.
func (b *balancer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r := b.pick()
	if r == nil {
		http.Error(w, "no replica is ready", http.StatusServiceUnavailable)
		return
	}
	defer r.flying.Add(-1)
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.Out.URL.Scheme, p.Out.URL.Host = "http", r.addr },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			b.failed(r)
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
		ModifyResponse: func(*http.Response) error { r.answered.Add(1); return nil },
		Transport:      transport,
	}
	proxy.ServeHTTP(w, req)
}

// transport never sends a request again by itself: a body that cannot be had
// twice is the balancer's.
var transport = &http.Transport{MaxIdleConnsPerHost: 256}

// watch looks at /readyz, as a balancer does.
func (b *balancer) watch(stop <-chan struct{}) {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var all sync.WaitGroup
	for _, r := range b.replicas {
		all.Go(func() {
			refused := false
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				resp, err := client.Get("http://" + r.addr + "/readyz")
				if err == nil {
					resp.Body.Close()
				}
				// A replica that refuses is out at the second time; one that says
				// that it is not ready, at once.
				if refused = err != nil && !refused; !refused {
					r.ready.Store(err == nil && resp.StatusCode == http.StatusOK)
				}
			}
		})
	}
	all.Wait()
}

// TestReplicas: three replicas behind a balancer that repeats nothing answer
// alike. One that is told to end, and comes back, fails no request; one that is
// killed fails those that it was answering, and no other.
func TestReplicas(t *testing.T) {
	const requests = 2000
	b := &balancer{}
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		r := &replica{addr: l.Addr().String()}
		require.NoError(t, l.Close())
		r.begin(t)
		b.replicas = append(b.replicas, r)
	}
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() { defer close(watched); b.watch(stop) }()
	defer func() {
		close(stop)
		<-watched
		for _, r := range b.replicas {
			_ = r.cmd.Process.Kill()
			_ = r.cmd.Wait()
		}
	}()
	ready := func(n int) func() bool {
		return func() bool {
			up := 0
			for _, r := range b.replicas {
				if r.ready.Load() {
					up++
				}
			}
			return up == n
		}
	}
	require.Eventually(t, ready(3), time.Minute, 20*time.Millisecond)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	front := &http.Server{Handler: b}
	go func() { _ = front.Serve(l) }()
	defer front.Close()
	photo, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", "banana.jpg"))
	require.NoError(t, err)

	var want atomic.Pointer[[]byte]
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	one := func() error {
		resp, err := client.Post("http://"+l.Addr().String()+"/v1/classify", "image/jpeg", bytes.NewReader(photo))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status + ": " + string(text))
		}
		var answer struct {
			Results []struct{ Predictions json.RawMessage }
		}
		if err := json.Unmarshal(text, &answer); err != nil || len(answer.Results) != 1 {
			return errors.New("no answer: " + string(text))
		}
		said := []byte(answer.Results[0].Predictions)
		if !want.CompareAndSwap(nil, &said) && !bytes.Equal(*want.Load(), said) {
			return errors.New("another answer: " + string(said))
		}
		return nil
	}
	// How fast this machine is decides the open loop's pace: a third of it.
	begin := time.Now()
	for range 20 {
		require.NoError(t, one())
	}
	pace := max(time.Since(begin)/20*3/2, 4*time.Millisecond)
	t.Logf("a request every %v", pace)

	loop := func(n int, at map[int]func()) (failures []error) {
		var mu sync.Mutex
		var all sync.WaitGroup
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for i := range n {
			<-tick.C
			if f := at[i]; f != nil {
				all.Go(f)
			}
			all.Go(func() {
				if err := one(); err != nil {
					mu.Lock()
					failures = append(failures, err)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		return failures
	}

	b.failed = func(*replica) {}
	first := b.replicas[0]
	failures := loop(requests, map[int]func(){requests / 8: func() {
		require.NoError(t, first.cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, first.cmd.Wait(), "it ends by itself, with 0")
		first.begin(t)
	}})
	require.Empty(t, failures)
	for _, r := range b.replicas {
		require.Positive(t, r.answered.Load())
	}
	require.Eventually(t, ready(3), time.Minute, 20*time.Millisecond, "it has come back")

	second := b.replicas[1]
	var inFlight, others atomic.Int64
	var killed atomic.Bool
	b.failed = func(r *replica) {
		if r != second || !killed.Load() {
			others.Add(1)
		}
	}
	failures = loop(requests/2, map[int]func(){requests / 8: func() {
		b.mu.Lock() // nothing is sent while it dies, so what is in flight is known
		defer b.mu.Unlock()
		killed.Store(true)
		second.ready.Store(false)
		inFlight.Store(second.flying.Load())
		require.NoError(t, second.cmd.Process.Kill())
		_ = second.cmd.Wait()
	}})
	require.LessOrEqual(t, len(failures), int(inFlight.Load()), "%v", failures)
	require.Zero(t, others.Load())
	t.Logf("%d in flight when it was killed, %d failed", inFlight.Load(), len(failures))
}

// TestDrainSays: while a server ends it is not ready, answers, and says that
// the connection ends.
func TestDrainSays(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "serve", "--addr", "127.0.0.1:0", "--log-format", "json", "--drain-delay", "3s")
	cmd.Env = append(os.Environ(), asCommand+"=1")
	logs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(logs)
	addr := ""
	until := func(msg string) {
		for lines.Scan() {
			var l logLine
			if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == msg {
				addr = l.Addr
				return
			}
		}
		require.Fail(t, "never said "+msg)
	}
	until("ready")
	url := "http://" + addr
	get := func(path string) *http.Response {
		resp, err := http.Get(url + path)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp
	}
	require.False(t, get("/version").Close)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	until("draining")
	resp := get("/version")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.True(t, resp.Close, "Connection: close")
	resp = get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	require.NoError(t, cmd.Wait())
}
