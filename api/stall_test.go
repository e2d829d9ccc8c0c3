package api_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// stuckBackend is "gated", and reads weights through the same gate: so long as
// a device that does not answer is busy, a load hangs.
type stuckBackend struct{ gatedBackend }

func (b stuckBackend) NewLinear(weight, bias *tensor.Dense, o backend.LinearOptions) (backend.Linear, error) {
	gate.RLock()
	defer gate.RUnlock()
	return b.gatedBackend.NewLinear(weight, bias, o)
}

const stall = api.Duration(200 * time.Millisecond)

func ready(c *client) int { return c.get("/readyz").status }

// TestStandsStill holds the device: /readyz says so, and says when it is over.
func TestStandsStill(t *testing.T) {
	for _, path := range []string{"/v1/classify", "/v1/explain", "/v1/explain?method=rise&masks=9", "/v1/embed"} {
		c := start(t, func(cfg *api.Config) { cfg.Backend, cfg.StallTimeout = "gated", stall })
		require.Equal(t, http.StatusOK, ready(c), "nothing waits")
		free := busy(t)
		time.Sleep(2 * time.Duration(stall))
		require.Equal(t, http.StatusOK, ready(c), "nothing waits, however long")
		began := time.Now()
		answer := c.async(t.Context(), path, photo(t, "banana.jpg"))
		require.Eventually(t, func() bool { return ready(c) == http.StatusServiceUnavailable }, 10*time.Second, 5*time.Millisecond, path)
		require.GreaterOrEqual(t, time.Since(began), time.Duration(stall))
		r := c.get("/readyz")
		require.Contains(t, r.problem(t).Detail, "a picture waits for a model and nothing has finished for")
		require.NotEmpty(t, r.header.Get("Retry-After"))
		require.Equal(t, http.StatusOK, c.get("/healthz").status, "a restart may help, but that is not for this one to say")
		free()
		require.Equal(t, http.StatusOK, (<-answer).status)
		require.Equal(t, http.StatusOK, ready(c))
		require.Contains(t, c.logs.String(), `"msg":"stalled"`)
		require.Contains(t, c.logs.String(), `"msg":"moving again"`)
	}
}

// TestStandsStillWithoutClients: a pass that hangs makes the server useless
// when those who waited for it have left, too.
func TestStandsStillWithoutClients(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.Backend, cfg.StallTimeout, cfg.RequestTimeout = "gated", stall, api.Duration(50*time.Millisecond)
	})
	free := busy(t)
	require.Equal(t, http.StatusGatewayTimeout, c.post("/v1/classify", photo(t, "banana.jpg")).status)
	require.Eventually(t, func() bool { return ready(c) == http.StatusServiceUnavailable }, 10*time.Second, 5*time.Millisecond)
	free()
	require.Eventually(t, func() bool { return ready(c) == http.StatusOK }, 10*time.Second, 5*time.Millisecond)
}

// TestLongWorkIsNoStandstill: an explanation of many passes takes several
// times the limit, and advances.
func TestLongWorkIsNoStandstill(t *testing.T) {
	limit := 1500 * time.Millisecond
	c := start(t, func(cfg *api.Config) { cfg.StallTimeout, cfg.Backend = api.Duration(limit), "gated" })
	slow.Store(int64(100 * time.Millisecond))
	defer slow.Store(0)
	began := time.Now()
	answer := c.async(t.Context(), "/v1/explain?method=rise&masks=400", photo(t, "banana.jpg"))
	for {
		select {
		case r := <-answer:
			require.Equal(t, http.StatusOK, r.status)
			require.Greater(t, time.Since(began), 3*limit)
			return
		default:
			require.Equal(t, http.StatusOK, ready(c), "%s", c.get("/readyz").body)
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// TestShutdownOfWhatHangs: a pass, or a load, that does not come back holds
// the end up for the time that it has, and no longer.
func TestShutdownOfWhatHangs(t *testing.T) {
	timeout := 300 * time.Millisecond
	for _, hang := range []struct {
		name, want string
		begin      func(c *client)
	}{
		{"a pass", "pictures at a model", func(c *client) {
			c.async(c.t.Context(), "/v1/classify", photo(c.t, "banana.jpg"))
			waitMetric(c, batches+"1")
		}},
		{"an explanation", "pictures at a model", func(c *client) {
			c.async(c.t.Context(), "/v1/explain", photo(c.t, "banana.jpg"))
			waitMetric(c, `vitserve_batch_size_count{lane="explain",model="starter"} 1`)
		}},
		{"a load", "loads of models", func(c *client) {
			c.async(c.t.Context(), "/v1/models/starter/load", nil)
			require.Eventually(c.t, func() bool { return strings.Contains(string(c.get("/metrics").body), "vitserve_requests_in_flight 2") }, 5*time.Second, time.Millisecond)
		}},
	} {
		t.Run(hang.name, func(t *testing.T) {
			c, stop, ended := serve(t, func(cfg *api.Config) {
				cfg.Backend, cfg.ShutdownTimeout = "stuck", api.Duration(timeout)
			})
			free := busy(t)
			hang.begin(c)
			began := time.Now()
			stop()
			err := <-ended
			took := time.Since(began)
			require.GreaterOrEqual(t, took, timeout)
			require.Less(t, took, timeout+time.Second)
			require.ErrorContains(t, err, "api: shutdown: given up after 300ms: ")
			require.ErrorContains(t, err, hang.want)
			free()
			require.NoError(t, c.server.Close(), "when it comes back after all")
		})
	}
	t.Run("a body", func(t *testing.T) {
		c, stop, ended := serve(t, func(cfg *api.Config) { cfg.ShutdownTimeout = api.Duration(timeout) })
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nand"))
		require.NoError(t, err)
		waitMetric(c, "vitserve_requests_in_flight 2")
		began := time.Now()
		stop()
		require.ErrorContains(t, <-ended, "requests unanswered after 300ms")
		require.Less(t, time.Since(began), timeout+time.Second)
	})
}
