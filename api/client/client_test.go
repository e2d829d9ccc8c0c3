package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	"image/png"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/client"
	v1 "github.com/vitserve/vitserve/api/v1"
	_ "github.com/vitserve/vitserve/backend/cpu"
)

func picture(t testing.TB, name string) client.Picture {
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", name))
	require.NoError(t, err)
	return client.Picture{Name: name, Data: b}
}

func TestClient(t *testing.T) {
	cfg := api.DefaultConfig()
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Keys = []api.Key{{Name: "me", SHA256: api.HashKey("secret"), Admin: true}}
	s, err := api.New(cfg)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Preload(t.Context()))
	srv := httptest.NewServer(http.StripPrefix("/pictures", s.Handler()))
	defer srv.Close()
	c, err := client.New(srv.URL+"/pictures/", client.Options{Key: "secret"})
	require.NoError(t, err)
	ctx := t.Context()

	require.NoError(t, c.Ready(ctx))
	a, err := c.Classify(ctx, client.Params{"top_k": {"2"}}, picture(t, "banana.jpg"), picture(t, "broken.jpg"))
	require.NoError(t, err)
	require.Equal(t, "banana.jpg", a.Results[0].Image)
	require.Equal(t, "banana", (*a.Results[0].Predictions)[0].Label)
	require.Len(t, *a.Results[0].Predictions, 2)
	require.Equal(t, http.StatusBadRequest, a.Results[1].Error.Status)

	f, err := c.Explain(ctx, client.Params{"method": {"raw"}, "queries": {"1,2", "3,4"}}, client.Picture{Data: picture(t, "banana.jpg").Data})
	require.NoError(t, err)
	require.Len(t, f.Results[0].Maps, 2)
	require.Equal(t, []int{3, 4}, f.Results[0].Maps[1].Query)
	for format, magic := range map[string]string{"png": "\x89PNG", "jpeg": "\xff\xd8\xff", "npy": "\x93NUMPY"} {
		sent, err := c.ExplainAs(ctx, format, nil, picture(t, "banana.jpg"))
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(sent, []byte(magic)), format)
	}
	heat, err := c.ExplainAs(ctx, "png", client.Params{"picture": {"heat"}}, picture(t, "banana.jpg"))
	require.NoError(t, err)
	m, err := png.Decode(bytes.NewReader(heat))
	require.NoError(t, err)
	require.Equal(t, image.Pt(64, 64), m.Bounds().Size())

	e, err := c.Embed(ctx, client.Params{"pool": {"mean"}}, picture(t, "banana.jpg"), picture(t, "broken.jpg"))
	require.NoError(t, err)
	require.NotEmpty(t, e.Results[0].Embedding)
	require.Equal(t, http.StatusBadRequest, e.Results[1].Error.Status)
	p, err := c.Preprocess(ctx, nil, picture(t, "banana.jpg"))
	require.NoError(t, err)
	left, err := c.Corrupt(ctx, "png", client.Params{"corruption": {"fog"}}, picture(t, "banana.jpg"))
	require.NoError(t, err)
	require.Equal(t, "\x89PNG", string(left[:4]))
	npy, err := c.PreprocessNpy(ctx, nil, picture(t, "banana.jpg"))
	require.NoError(t, err)
	require.Equal(t, p.Results[0].Sha256, fmt.Sprintf("%x", sha256.Sum256(npy)))
	npy, err = c.EmbedNpy(ctx, nil, picture(t, "banana.jpg"))
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(npy, []byte("\x93NUMPY")))

	ms, err := c.Models(ctx)
	require.NoError(t, err)
	require.Equal(t, "starter", ms[0].ID)
	card, err := c.Model(ctx, "starter")
	require.NoError(t, err)
	require.Len(t, card.Labels, 20)
	card, err = c.Unload(ctx, "starter")
	require.NoError(t, err)
	require.Equal(t, v1.Unloaded, card.State)
	card, err = c.Load(ctx, "starter")
	require.NoError(t, err)
	require.Equal(t, v1.Ready, card.State)

	for want, ask := range map[int]func() error{
		404: func() error { _, err := c.Model(ctx, "a/b c"); return err },
		422: func() error {
			_, err := c.Explain(ctx, client.Params{"method": {"x"}}, picture(t, "banana.jpg"))
			return err
		},
		400: func() error { _, err := c.Classify(ctx, nil, picture(t, "broken.jpg")); return err },
		415: func() error { _, err := c.ExplainAs(ctx, "png", nil, picture(t, "text.png")); return err },
		401: func() error {
			stranger, err := client.New(srv.URL+"/pictures", client.Options{})
			require.NoError(t, err)
			_, err = stranger.Models(ctx)
			return err
		},
	} {
		var e *client.Error
		require.ErrorAs(t, ask(), &e)
		require.Equal(t, want, e.Status)
		require.NotEmpty(t, e.Detail)
		require.NotEmpty(t, e.RequestID)
	}
	_, err = c.Classify(ctx, nil)
	require.ErrorContains(t, err, "no picture")
}

func TestRetries(t *testing.T) {
	var calls atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		fmt.Fprint(w, `{"models":[]}`)
	}))
	defer srv.Close()
	begin := time.Now()
	c, err := client.New(srv.URL, client.Options{Retries: 2})
	require.NoError(t, err)
	_, err = c.Models(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(begin), 2*time.Second)
	require.EqualValues(t, 3, calls.Load())

	calls.Store(-10)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = c.Models(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var e *client.Error
	require.ErrorAs(t, err, &e, "and why it waited")
	c, err = client.New(srv.URL, client.Options{})
	require.NoError(t, err)
	_, err = c.Models(t.Context())
	require.ErrorAs(t, err, &e)
	require.Equal(t, time.Second, e.RetryAfter)
}

func TestAddress(t *testing.T) {
	for _, base := range []string{"", "localhost:8080", "ftp://x", "http://"} {
		_, err := client.New(base, client.Options{})
		require.Error(t, err, base)
	}
}

func TestNotVitserve(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	c, err := client.New(srv.URL, client.Options{})
	require.NoError(t, err)
	_, err = c.Models(t.Context())
	require.EqualError(t, err, "client: 404 Not Found: 404 page not found\n")
}
