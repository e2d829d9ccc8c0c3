package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/backend"
	_ "github.com/vitserve/vitserve/backend/cpu"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	for _, media := range []string{"image/png", "image/jpeg", "application/x-npy"} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.FileBodyDecoder)
	}
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.FileBodyDecoder)
	backend.Register("gated", func(o backend.Options) (backend.Backend, error) {
		b, err := backend.Open("cpu", o)
		return gatedBackend{b}, err
	})
	backend.Register("pair", func(o backend.Options) (backend.Backend, error) {
		b, err := backend.Open("cpu", o)
		return pairBackend{gatedBackend{b}}, err
	})
	backend.Register("stuck", func(o backend.Options) (backend.Backend, error) {
		b, err := backend.Open("cpu", o)
		return stuckBackend{gatedBackend{b}}, err
	})
	goleak.VerifyTestMain(m)
}

// gate holds every Sync of the backend "gated" while it is locked, so that a
// test decides how long the device is busy.
var gate sync.RWMutex

// busy makes the device busy until the function that it returns is called, or
// the test ends.
func busy(t testing.TB) (free func()) {
	gate.Lock()
	free = sync.OnceFunc(gate.Unlock)
	t.Cleanup(free)
	return free
}

type gatedBackend struct{ backend.Backend }

func (b gatedBackend) NewStream(o backend.StreamOptions) (backend.Stream, error) {
	s, err := b.Backend.NewStream(o)
	return gatedStream{s}, err
}

// Info is that of one thread, so that passes come one after the other.
func (b gatedBackend) Info() backend.Info {
	i := b.Backend.Info()
	i.Threads = 1
	return i
}

// pairBackend is "gated" with two threads, as a server counts them.
type pairBackend struct{ gatedBackend }

func (pairBackend) Info() backend.Info { return backend.Info{Device: "pair", Threads: 2} }

type gatedStream struct{ backend.Stream }

// slow is how many nanoseconds longer than it must a Sync of "gated" takes.
var slow atomic.Int64

// syncs is how many calls of Sync there are, held or under way.
var syncs atomic.Int64

func (s gatedStream) Sync() error {
	syncs.Add(1)
	defer syncs.Add(-1)
	gate.RLock()
	defer gate.RUnlock()
	time.Sleep(time.Duration(slow.Load()))
	return s.Stream.Sync()
}

// client asks a server and holds every answer to the contract.
type client struct {
	t      testing.TB
	server *api.Server
	url    string
	routes routers.Router
	spec   *openapi3.T
	logs   *logs
}

// logs keeps what a server logs.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func contract(t testing.TB) (*openapi3.T, routers.Router) {
	b, err := v1.OpenAPI()
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(b)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context(), openapi3.EnableExamplesValidation()))
	routes, err := legacy.NewRouter(doc)
	require.NoError(t, err)
	return doc, routes
}

// start serves the embedded model, with the configuration changed as a test likes.
func start(t testing.TB, change func(*api.Config)) *client {
	c := &client{t: t, logs: &logs{}}
	c.spec, c.routes = contract(t)
	cfg := api.DefaultConfig()
	cfg.Addr = "127.0.0.1:0"
	cfg.Logger = slog.New(slog.NewJSONHandler(c.logs, nil))
	cfg.Version = "test"
	if change != nil {
		change(&cfg)
	}
	s, err := api.New(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Preload(t.Context()))
	c.server = s
	srv := httptest.NewUnstartedServer(s.Handler())
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = cfgDuration(cfg.ReadTimeout), cfgDuration(cfg.WriteTimeout)
	srv.Start()
	c.url = srv.URL
	t.Cleanup(func() {
		srv.Close()
		require.NoError(t, s.Close())
	})
	return c
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) problem(t testing.TB) v1.Problem {
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"), "%s", r.body)
	var p v1.Problem
	require.NoError(t, json.Unmarshal(r.body, &p))
	require.Equal(t, r.status, p.Status)
	require.Equal(t, r.header.Get("X-Request-Id"), p.RequestID)
	return p
}

func (r reply) classified(t testing.TB) (a v1.ClassifyAnswer) {
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.NoError(t, json.Unmarshal(r.body, &a))
	return a
}

func (r reply) explained(t testing.TB) (a v1.ExplainAnswer) {
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.NoError(t, json.Unmarshal(r.body, &a))
	return a
}

// do sends a request; its answer must be as the contract says.
func (c *client) do(req *http.Request) reply {
	c.t.Helper()
	r, err := c.try(req)
	require.NoError(c.t, err)
	return r
}

func (c *client) try(req *http.Request) (reply, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{resp.StatusCode, resp.Header, body}
	return r, c.conforms(req, r)
}

// conforms says how an answer breaks the contract.
func (c *client) conforms(req *http.Request, r reply) error {
	find := req.Clone(context.Background())
	find.URL.Scheme, find.URL.Host, find.Host = "", "", ""
	route, params, err := c.routes.FindRoute(find)
	if err != nil {
		return nil // not in the contract: the caller looks at it
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 r.status, Header: r.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	in.SetBodyBytes(r.body)
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		return fmt.Errorf("%s %s answers %d %s: %w", req.Method, req.URL, r.status, r.body[:min(len(r.body), 500)], err)
	}
	return nil
}

func (c *client) request(method, path string, body io.Reader, header ...string) *http.Request {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, body)
	require.NoError(c.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func (c *client) get(path string, header ...string) reply {
	c.t.Helper()
	return c.do(c.request(http.MethodGet, path, nil, header...))
}

func (c *client) post(path string, body []byte, header ...string) reply {
	c.t.Helper()
	return c.do(c.request(http.MethodPost, path, bytes.NewReader(body), header...))
}

// file is a field of a form; one without a name is a parameter.
type file struct {
	field, name string
	data        []byte
}

func form(t require.TestingT, files ...file) (body []byte, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range files {
		create := func() (io.Writer, error) { return w.CreateFormField(f.field) }
		if f.name != "" {
			create = func() (io.Writer, error) { return w.CreateFormFile(f.field, f.name) }
		}
		part, err := create()
		require.NoError(t, err)
		_, err = part.Write(f.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes(), w.FormDataContentType()
}

func (c *client) form(path string, files ...file) reply {
	c.t.Helper()
	body, contentType := form(c.t, files...)
	return c.post(path, body, "Content-Type", contentType)
}

// photo returns a picture of testdata/images.
func photo(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "testdata", "images", name))
	require.NoError(t, err)
	return b
}

// pattern is a picture of its own for every seed.
func pattern(w, h, seed int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.NRGBA{uint8(x*seed + y), uint8(y * (seed + 3)), uint8(x ^ y*seed), 255})
		}
	}
	return m
}

func jpegOf(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, m, nil))
	return b.Bytes()
}

func pngOf(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

// hugePNG declares more pixels than any server takes, in few bytes.
func hugePNG(t testing.TB) []byte {
	b := pngOf(t, image.NewGray(image.Rect(0, 0, 1, 1)))
	copy(b[16:], []byte{0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff})
	return fixCRC(b)
}
