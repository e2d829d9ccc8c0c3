package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
)

// from returns a client like c of another address of this machine.
func (c *client) from(address string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}
	c.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestPoliteBesideGreedy: a client that asks for explanations one at a time is
// answered beside one that asks for as many as it can, whether they are told
// apart by address or by key.
func TestPoliteBesideGreedy(t *testing.T) {
	for name, keys := range map[string][]api.Key{
		"by address": nil, "by key": {{Name: "g", SHA256: api.HashKey("greedy")}, {Name: "p", SHA256: api.HashKey("polite")}},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, func(cfg *api.Config) { cfg.ExplainMaxQueue, cfg.Keys = 4, keys })
			banana := photo(t, "banana.jpg")
			greedy, polite := c.from("127.0.0.2"), c.from("127.0.0.3")
			if keys != nil {
				greedy, polite = c.from("127.0.0.4"), c.from("127.0.0.4")
			}
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var mu sync.Mutex
			codes := map[int]int{}
			for range 16 {
				wg.Go(func() {
					for ctx.Err() == nil {
						req := c.request(http.MethodPost, "/v1/explain?method=rise&masks=60", bytes.NewReader(banana), "X-API-Key", "greedy").WithContext(ctx)
						if resp, err := greedy.Do(req); err == nil {
							_ = resp.Body.Close()
							mu.Lock()
							codes[resp.StatusCode]++
							mu.Unlock()
						}
					}
				})
			}
			require.Eventually(t, func() bool {
				mu.Lock()
				defer mu.Unlock()
				return codes[http.StatusTooManyRequests] > 0 && codes[http.StatusOK] > 0
			}, 20*time.Second, 5*time.Millisecond)
			for range 10 {
				resp, err := polite.Do(c.request(http.MethodPost, "/v1/explain", bytes.NewReader(banana), "X-API-Key", "polite"))
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, http.StatusOK, resp.StatusCode)
			}
			stop()
			wg.Wait()
		})
	}
}

// TestTooLate: what cannot be answered in the time that it has is refused at
// once, and tried again in a while.
func TestTooLate(t *testing.T) {
	c := start(t, nil)
	banana := photo(t, "banana.jpg")
	for range 2 {
		require.Equal(t, http.StatusOK, c.post("/v1/explain?method=rise&masks=80", banana).status)
	}
	const limit = 300 * time.Millisecond
	best := time.Hour
	for range 5 {
		began := time.Now()
		r := c.post("/v1/explain?method=rise&masks=20000&timeout_ms=300", banana)
		best = min(best, time.Since(began))
		require.Equal(t, http.StatusGatewayTimeout, r.status)
		require.Contains(t, r.problem(t).Detail, "about 10001 passes of the model")
	}
	require.Less(t, best, limit/2)
	require.Equal(t, http.StatusOK, c.post("/v1/explain?method=rise&masks=20&timeout_ms=20000", banana).status)

	// Among many pictures, too, and where no explanation has been measured.
	fresh := start(t, nil)
	require.Equal(t, http.StatusOK, fresh.post("/v1/classify", banana).status)
	began := time.Now()
	body, contentType := form(t, file{"file", "a", banana}, file{"file", "b", banana})
	r := fresh.post("/v1/explain?method=rise&masks=20000&format=json&timeout_ms=1000", body, "Content-Type", contentType)
	require.Equal(t, http.StatusGatewayTimeout, r.status)
	require.Less(t, time.Since(began), 900*time.Millisecond)
	var p v1.Problem
	require.NoError(t, json.Unmarshal(r.body, &p))
	require.Contains(t, p.Detail, "ask for less, or with more time")
}

// TestPassesInDocs holds the table of docs/serving.md to what the code says.
func TestPassesInDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/serving.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| ([0-9.]+) \\|").FindAllStringSubmatch(string(doc), -1)
	var got, want []string
	for _, row := range rows {
		got = append(got, row[1]+" "+row[2])
	}
	shape := focus.Shape{Grid: [2]int{14, 14}, Patch: [2]int{16, 16}, Prefix: 1, Depth: 12, Heads: 12}
	for _, name := range focus.Names() {
		want = append(want, fmt.Sprintf("%s %.4g", name, focus.Question{Method: name}.Passes(shape)))
	}
	require.Equal(t, strings.Join(want, "\n"), strings.Join(got, "\n"))
}
