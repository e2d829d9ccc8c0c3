package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
)

// TestFaults is a crowd of which half misbehaves: clients that hang up,
// bodies that end too early, senders of a byte now and then, hostile files.
// Nothing but 503 and 504 may be a 5xx, nobody gets the answer to somebody
// else's photo, and nothing is left behind (TestMain looks for goroutines).
// scripts/load does the same in full size.
func TestFaults(t *testing.T) {
	n, workers := 1500, 24
	if raceEnabled {
		n = 400
	}
	c, stop, ended := serve(t, func(cfg *api.Config) {
		cfg.Backend = "cpu"
		cfg.MaxQueue = 8
		cfg.ReadTimeout, cfg.ReadHeaderTimeout = api.Duration(400*time.Millisecond), api.Duration(200*time.Millisecond)
	})
	photos := make([][]byte, 16)
	alone := make([][]float32, len(photos))
	maps := make([][][]float32, len(photos))
	for i := range photos {
		photos[i] = jpegOf(t, pattern(90+i, 70+3*i, i+1))
		alone[i] = c.post("/v1/classify?logits=true", photos[i]).classified(t).Results[0].Logits
		maps[i] = c.post("/v1/explain", photos[i]).explained(t).Results[0].Maps[0].Values
	}
	hostile := [][]byte{hugePNG(t), photos[0][:200], photo(t, "broken.jpg"), photo(t, "text.png"), bytes.Repeat([]byte{0}, 5000), []byte("\x89PNG\r\n\x1a\n"), []byte("GIF89a\xff\xff\xff\xff")}
	addr := strings.TrimPrefix(c.url, "http://")

	var next, answered, refused, faults atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		rng := rand.New(rand.NewPCG(7, uint64(w)))
		wg.Go(func() {
			for next.Add(1) <= int64(n) && !t.Failed() {
				i := rng.IntN(len(photos))
				switch kind := rng.IntN(10); kind {
				case 0, 1: // hangs up at some moment
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(20))*time.Millisecond)
					req, _ := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/classify", bytes.NewReader(photos[i]))
					if resp, err := http.DefaultClient.Do(req); err == nil {
						_ = resp.Body.Close()
					}
					cancel()
					faults.Add(1)
				case 2: // truncated body, connection closed or half-closed
					raw(t, addr, fmt.Sprintf("POST /v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(photos[i])), photos[i][:rng.IntN(len(photos[i]))], rng.IntN(2) == 0, 0)
					faults.Add(1)
				case 3: // a byte now and then
					if rng.IntN(4) == 0 {
						raw(t, addr, "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", photos[i][:20], true, 50*time.Millisecond)
						faults.Add(1)
					}
				case 4: // hostile file
					r, err := c.try(c.request(http.MethodPost, "/v1/classify", bytes.NewReader(hostile[rng.IntN(len(hostile))])))
					if err != nil || r.status/100 != 4 {
						t.Errorf("a hostile file: %v %d %s", err, r.status, r.body)
					}
					faults.Add(1)
				default:
					path := "/v1/classify?logits=true"
					if kind == 5 {
						path = "/v1/explain"
					}
					r, err := c.try(c.request(http.MethodPost, path, bytes.NewReader(photos[i])))
					switch {
					case err != nil:
						t.Errorf("%v", err)
					case r.status == http.StatusTooManyRequests && r.header.Get("Retry-After") != "":
						refused.Add(1)
					case r.status != http.StatusOK:
						t.Errorf("%d %s", r.status, r.body)
					case kind == 5:
						var a v1.ExplainAnswer
						if err := json.Unmarshal(r.body, &a); err != nil || fmt.Sprint(a.Results[0].Maps[0].Values) != fmt.Sprint(maps[i]) {
							t.Errorf("a map of another photo than %d: %s", i, r.body)
						}
						answered.Add(1)
					default:
						var a v1.ClassifyAnswer
						if err := json.Unmarshal(r.body, &a); err != nil || !equal(a.Results[0].Logits, alone[i]) {
							t.Errorf("scores of another photo than %d: %s", i, r.body)
						}
						answered.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d answered, %d refused, %d faults", answered.Load(), refused.Load(), faults.Load())
	require.Greater(t, answered.Load(), int64(n/10))
	require.Greater(t, faults.Load(), int64(n/5))
	for _, l := range strings.Split(c.logs.String(), "\n") {
		if i := strings.Index(l, `"status":5`); i >= 0 && !strings.HasPrefix(l[i:], `"status":503`) && !strings.HasPrefix(l[i:], `"status":504`) {
			require.Fail(t, "a fault of the server", l)
		}
	}
	require.NotContains(t, c.logs.String(), "panic")
	waitMetric(c, "vitserve_requests_in_flight 1")
	waitMetric(c, "vitserve_body_bytes 0")
	waitMetric(c, depth+"0")
	require.Equal(t, alone[3], c.post("/v1/classify?logits=true", photos[3]).classified(t).Results[0].Logits)
	stop()
	require.NoError(t, <-ended)
}

// raw sends head and body, slowly if pause is given, and reads or leaves.
func raw(t testing.TB, addr, head string, body []byte, listen bool, pause time.Duration) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, head)
	if pause == 0 {
		_, _ = conn.Write(body)
	}
	for i := 0; pause > 0 && i < len(body); i++ {
		if _, err := conn.Write(body[i : i+1]); err != nil {
			break
		}
		time.Sleep(pause)
	}
	if !listen {
		return
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return // the server has hung up
	}
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 4 {
		t.Errorf("a truncated request is answered %d", resp.StatusCode)
	}
}
