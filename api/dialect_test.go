package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/op"
)

// plain is a dialect that answers labels and errors as lines of text.
var plain = op.Dialect{
	Name: "plain",
	Routes: []op.Route{
		{Method: http.MethodGet, Path: "/plain", Open: true, Handle: func(_ op.Call, w http.ResponseWriter, _ *http.Request) error {
			_, err := fmt.Fprintln(w, "send a picture to /plain/MODEL")
			return err
		}},
		{Method: http.MethodPost, Path: "/plain/*", Handle: func(c op.Call, w http.ResponseWriter, r *http.Request) error {
			data, err := c.Read(r.Body, r.ContentLength)
			if err != nil {
				return err
			}
			ask := op.Classify{Options: op.Options{Model: c.Param("*")}, Labels: op.Labels{TopK: 1}}
			a, err := c.Classify(r.Context(), ask, []op.Picture{{Data: data}})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, "%s: %s\n", a.Model, a.Items[0].Value.Predictions[0].Label)
			return err
		}},
	},
	Fail: func(w http.ResponseWriter, _ *http.Request, f op.Failure) {
		w.WriteHeader(f.Kind.HTTP())
		fmt.Fprintf(w, "%d: %s\n", f.Kind.GRPC(), f.Detail)
	},
}

// TestDialect: a dialect sees operations and net/http, and is held to the
// server's keys, rates, limits and metrics like everything else.
func TestDialect(t *testing.T) {
	sum := sha256.Sum256([]byte("secret"))
	c := start(t, func(cfg *api.Config) {
		cfg.Dialects = []op.Dialect{plain}
		cfg.Keys = []api.Key{{Name: "shop", SHA256: hex.EncodeToString(sum[:]), Rate: 0.001}}
		cfg.RateBurst = 5
		cfg.MaxBody = 100_000
	})
	ask := func(path string, body []byte) reply { return c.post(path, body, "X-API-Key", "secret") }

	require.Equal(t, "send a picture to /plain/MODEL\n", string(c.get("/plain").body), "open")
	r := ask("/plain/starter", photo(t, "banana.jpg"))
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "starter: banana\n", string(r.body))
	require.NotEmpty(t, r.header.Get("X-Request-Id"))

	for _, e := range []struct {
		path   string
		body   []byte
		status int
		says   string
	}{
		{"/plain/no/such", photo(t, "banana.jpg"), http.StatusNotFound, "5: model not found"},
		{"/plain/starter", []byte("GIF89a"), http.StatusBadRequest, "3: "},
		{"/plain/starter", make([]byte, 100_001), http.StatusRequestEntityTooLarge, "3: "},
	} {
		r := ask(e.path, e.body)
		require.Equal(t, e.status, r.status, "%s", r.body)
		require.True(t, strings.HasPrefix(string(r.body), e.says), "%s", r.body)
	}
	r = c.post("/plain/starter", photo(t, "banana.jpg"))
	require.Equal(t, http.StatusUnauthorized, r.status, "without a key")
	require.True(t, strings.HasPrefix(string(r.body), "16: "), "%s", r.body)
	require.NotEmpty(t, r.header.Get("WWW-Authenticate"))
	for range 5 {
		r = ask("/plain/starter", photo(t, "banana.jpg"))
	}
	require.Equal(t, http.StatusTooManyRequests, r.status, "beyond the rate")
	require.NotEmpty(t, r.header.Get("Retry-After"))

	var logged struct{ Route, Model, Key string }
	for _, line := range strings.Split(c.logs.String(), "\n") {
		if strings.Contains(line, `"status":200`) && strings.Contains(line, "/plain/*") {
			require.NoError(t, json.Unmarshal([]byte(line), &logged))
		}
	}
	require.Equal(t, "starter", logged.Model)
	require.Equal(t, "shop", logged.Key)
}
