package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "github.com/vitserve/vitserve/api/v1"
)

// bench is a running server and the pictures that it is asked about.
type bench struct {
	options
	photos   [][]byte
	cmd      *exec.Cmd
	env      []string // of the server, beside this program's own
	exited   chan error
	log      *os.File
	url      string
	rpcAddr  string // of gRPC
	client   *http.Client
	wire     *wire
	capacity float64 // pictures a second of the closed loop; 0: not measured yet

	bounds     []bound
	loadBefore string // the machine's load average
}

// start starts the server on a free port and waits until it is ready.
func (b *bench) start(ctx context.Context) error {
	addr, err := freePort()
	if err != nil {
		return err
	}
	if b.rpcAddr, err = freePort(); err != nil {
		return err
	}
	args := append([]string{b.server, "serve", "--addr", addr, "--grpc-addr", b.rpcAddr, "--log-format", "json"}, b.args...)
	args = append(strings.Fields(b.prefix), args...)
	if b.log, err = os.CreateTemp("", "vitserve-load-*.log"); err != nil {
		return err
	}
	b.cmd = exec.Command(args[0], args[1:]...)
	b.cmd.Stderr = b.log
	b.cmd.Env = append(os.Environ(), b.env...)
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.exited = make(chan error, 1)
	go func() { b.exited <- b.cmd.Wait() }()
	b.url = "http://" + addr
	b.wire = &wire{addr: addr, requests: map[string][][]byte{}}
	b.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024, MaxConnsPerHost: 0}}
	for range 600 {
		select {
		case err := <-b.exited:
			b.exited <- err
			return fmt.Errorf("server ended at once: %v, see %s", err, b.log.Name())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if resp, err := b.client.Get(b.url + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
	return errors.New("server is not ready after a minute")
}

// freePort returns an address that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// kill ends the server if it still runs.
func (b *bench) kill() {
	if b.exited == nil {
		return // it did not start
	}
	_ = b.cmd.Process.Kill()
	<-b.exited
	b.exited = nil
	b.client.CloseIdleConnections()
	b.wire.close()
	_ = b.log.Close()
	_ = os.Remove(b.log.Name())
}

// terminate sends SIGTERM and returns how the server ended.
func (b *bench) terminate() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-b.exited:
		b.exited <- err
		return err
	case <-time.After(time.Minute):
		return errors.New("still there a minute after SIGTERM")
	}
}

// resident returns the server's resident memory in bytes.
func (b *bench) resident() (float64, error) {
	return b.metric("process_resident_memory_bytes")
}

// metrics returns what the server counts.
func (b *bench) metrics() (string, error) {
	resp, err := b.client.Get(b.url + "/metrics")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// metric returns the value of a metric without labels.
func (b *bench) metric(name string) (float64, error) {
	text, err := b.metrics()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// reply is an answer, as far as anybody looks at it.
type reply struct {
	status int
	logits []float32
	detail string // of an error
}

// classify asks about photo i.
func (b *bench) classify(ctx context.Context, i int, query string) (reply, error) {
	return b.post(ctx, "/v1/classify?"+query, b.photos[i%len(b.photos)])
}

func (b *bench) post(ctx context.Context, path string, body []byte) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	r := reply{status: resp.StatusCode}
	if err == nil && r.status == http.StatusOK && strings.Contains(path, "logits=true") {
		var a v1.ClassifyAnswer
		if err = json.Unmarshal(text, &a); err == nil && len(a.Results) == 1 {
			r.logits = a.Results[0].Logits
		}
	}
	if err == nil && r.status >= 400 {
		var p v1.Problem
		err = json.Unmarshal(text, &p)
		r.detail = p.Detail
	}
	return r, err
}

// photos are pictures of 640×480 that compress as photos do: smooth shapes,
// some edges, some noise.
func photos(n int) [][]byte {
	var all [][]byte
	for i := range n {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		m := image.NewRGBA(image.Rect(0, 0, 640, 480))
		fx, fy, px, py := 0.5+3*rng.Float64(), 0.5+3*rng.Float64(), 6*rng.Float64(), 6*rng.Float64()
		cx, cy, r := 640*rng.Float64(), 480*rng.Float64(), 50+150*rng.Float64()
		for y := range 480 {
			for x := range 640 {
				u, v := float64(x)/100, float64(y)/100
				s := 128 + 60*math.Sin(fx*u+px) + 50*math.Cos(fy*v+py+u) + 10*rng.NormFloat64()
				t := 128 + 70*math.Cos(fx*v+px) + 10*rng.NormFloat64()
				if math.Hypot(float64(x)-cx, float64(y)-cy) < r {
					s, t = 255-s, 200-t/2
				}
				m.Set(x, y, color.RGBA{clamp(s), clamp(t), clamp((s + t) / 2), 255})
			}
		}
		var buf bytes.Buffer
		if err := jpeg.Encode(&buf, m, &jpeg.Options{Quality: 85}); err != nil {
			panic(err)
		}
		all = append(all, buf.Bytes())
	}
	return all
}

func clamp(v float64) uint8 { return uint8(max(0, min(255, v))) }

func meanSize(all [][]byte) float64 {
	var n int
	for _, b := range all {
		n += len(b)
	}
	return float64(n) / float64(len(all))
}
