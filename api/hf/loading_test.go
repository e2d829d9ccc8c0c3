package hf_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/hf"
	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// door holds every load of a model on the backend "held" while it is locked.
var door sync.RWMutex

type heldBackend struct{ backend.Backend }

func (b heldBackend) Upload(t *tensor.Dense) (backend.Tensor, error) {
	door.RLock()
	defer door.RUnlock()
	return b.Backend.Upload(t)
}

func init() {
	backend.Register("held", func(o backend.Options) (backend.Backend, error) {
		b, err := backend.Open("cpu", o)
		return heldBackend{b}, err
	})
}

// lazy is a server whose only model is loaded by the first request.
func lazy(t *testing.T, change func(*api.Config)) server {
	return start(t, func(cfg *api.Config) {
		cfg.Backend = "held"
		cfg.Models = []api.ModelConfig{{ID: "vit", Path: "starter", Lazy: true}}
		if change != nil {
			change(cfg)
		}
	})
}

// TestLoading: whoever asks while a model loads is answered when it is there.
func TestLoading(t *testing.T) {
	s := lazy(t, nil)
	door.Lock()
	open := sync.OnceFunc(door.Unlock)
	defer open()
	banana := photo(t, "banana.jpg")
	answers := make(chan reply, 8)
	for range cap(answers) {
		go func() { answers <- s.post("/models/vit", banana) }()
	}
	require.Eventually(t, func() bool {
		resp, err := http.Get(s.url + "/metrics")
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return strings.Contains(string(text), "vitserve_requests_in_flight 9")
	}, 10*time.Second, 10*time.Millisecond)
	// /v1 says at once that it loads, as it did.
	r := s.post("/v1/classify", banana)
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Empty(t, answers)
	open()
	for range cap(answers) {
		r := <-answers
		require.Equal(t, http.StatusOK, r.status, r.body)
		require.Contains(t, r.body, "banana")
	}
}

// TestLoadingTooLong: nobody waits beyond the time of a request, and what is
// said then is no 503.
func TestLoadingTooLong(t *testing.T) {
	s := lazy(t, func(cfg *api.Config) { cfg.RequestTimeout = api.Duration(50 * time.Millisecond) })
	door.Lock()
	defer door.Unlock()
	for range 2 { // who loads, and who waits for it
		r := s.post("/models/vit", photo(t, "banana.jpg"))
		require.Equal(t, http.StatusTooManyRequests, r.status, r.body)
		require.Contains(t, r.body, `"error":"model is loading`)
		require.Equal(t, "5", r.header.Get("Retry-After"))
	}
}

// TestEnding: a server that ends says 503, and that the connection ends with
// it.
func TestEnding(t *testing.T) {
	cfg := api.DefaultConfig()
	cfg.Addr, cfg.Dialects = "127.0.0.1:0", []op.Dialect{hf.Dialect()}
	ending, err := api.New(cfg)
	require.NoError(t, err)
	require.NoError(t, ending.Close())
	srv := httptest.NewServer(ending.Handler())
	defer srv.Close()
	resp, err := http.Post(srv.URL, "image/jpeg", strings.NewReader(string(photo(t, "banana.jpg"))))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.True(t, resp.Close, "Connection: close")
}
