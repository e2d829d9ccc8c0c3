package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

var update = flag.Bool("update", false, "write testdata/recording.json anew from what is answered now")

// recording is testdata/recording.json: requests, and what was answered.
type recording struct {
	Backend   string      `json:"backend"` // that the numbers are of
	Exchanges []*exchange `json:"exchanges"`
}

// exchange is a request and its answer. Of the body one of File, Form and JSON.
type exchange struct {
	Name   string            `json:"name"`
	Server string            `json:"server,omitempty"` // of recordedServers; "": the default
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Header map[string]string `json:"header,omitempty"`
	File   string            `json:"file,omitempty"` // of testdata/images
	Form   []recordedPart    `json:"form,omitempty"`
	JSON   json.RawMessage   `json:"json,omitempty"` // "@NAME" is a picture in base64
	Answer recordedAnswer    `json:"answer"`
}

type recordedPart struct {
	Field string `json:"field"`
	Name  string `json:"name,omitempty"` // of a picture
	File  string `json:"file,omitempty"`
	Value string `json:"value,omitempty"`
}

type recordedAnswer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Bytes  int               `json:"bytes"`            // of the body, blanked
	SHA256 string            `json:"sha256,omitempty"` // of a long body or a binary one
	Body   string            `json:"body,omitempty"`   // of any other
}

// recordedServers are the servers that are asked, with two threads each so
// that what depends on their number does not depend on the machine.
var recordedServers = map[string]func(*api.Config){
	"": func(*api.Config) {},
	"small": func(cfg *api.Config) {
		cfg.MaxBody, cfg.MaxImages, cfg.MaxAnswer = 50_000, 2, 50_000
	},
	"pixels": func(cfg *api.Config) { cfg.MaxPixels = 70_000 },
	"keys": func(cfg *api.Config) {
		cfg.Keys = []api.Key{{Name: "user", SHA256: api.HashKey("us3r")}}
		cfg.RateLimit, cfg.RateBurst = 1e-9, 2
	},
	"headless": func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "dino", Path: golden("hf_dino")}, {ID: "second", Path: "starter", Lazy: true}}
	},
}

// TestRecording sends the requests of a recording again: every answer is the
// one that was recorded, byte by byte, but for times, request ids, dates and
// how many pictures happened to be computed together. Backends with other
// kernels round otherwise; there the numbers are close and the rest is equal.
//
// What changes on purpose is recorded anew with -update and named in
// CHANGELOG.md.
func TestRecording(t *testing.T) {
	path := filepath.Join("testdata", "recording.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var rec recording
	require.NoError(t, json.Unmarshal(b, &rec))
	servers := map[string]*client{}
	for name, change := range recordedServers {
		servers[name] = start(t, func(cfg *api.Config) {
			cfg.Threads = 2
			change(cfg)
		})
	}
	var version struct{ Backend string }
	require.NoError(t, json.Unmarshal(servers[""].get("/version").body, &version))
	if *update {
		rec.Backend = version.Backend
	}
	for _, e := range rec.Exchanges {
		t.Run(e.Name, func(t *testing.T) {
			got := e.ask(t, servers[e.Server])
			switch {
			case *update:
				e.Answer = got
			case version.Backend == rec.Backend:
				require.Equal(t, e.Answer, got)
			default:
				e.Answer.resembles(t, got)
			}
		})
	}
	if *update {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		require.NoError(t, enc.Encode(rec))
		require.NoError(t, os.WriteFile(path, out.Bytes(), 0o644))
	}
}

// ask sends the request of e.
func (e *exchange) ask(t *testing.T, c *client) recordedAnswer {
	req := c.request(e.Method, e.Path, nil)
	var body []byte
	switch {
	case e.File != "":
		body = photo(t, e.File)
	case e.Form != nil:
		var files []file
		for _, p := range e.Form {
			f := file{p.Field, p.Name, []byte(p.Value)}
			if p.File != "" {
				f.data = photo(t, p.File)
			}
			files = append(files, f)
		}
		var contentType string
		body, contentType = form(t, files...)
		req.Header.Set("Content-Type", contentType)
	case e.JSON != nil:
		body = regexp.MustCompile(`"@[^"]+"`).ReplaceAllFunc(e.JSON, func(name []byte) []byte {
			return []byte(jsonOf(t, photo(t, strings.Trim(string(name), `"@`))))
		})
		req.Header.Set("Content-Type", "application/json")
	}
	if body != nil {
		withBody := c.request(e.Method, e.Path, bytes.NewReader(body))
		withBody.Header = req.Header
		req = withBody
	}
	for name, v := range e.Header {
		req.Header.Set(name, v)
	}
	if req.URL.Path == "/" {
		// Its answer is where to go.
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return blank(t, reply{resp.StatusCode, resp.Header, nil})
	}
	return blank(t, c.do(req))
}

// blanks are what differs from one answer to the next, and what is left of it.
var blanks = []struct {
	pattern *regexp.Regexp
	left    string
}{
	{regexp.MustCompile(`"timings_ms":\{[^}]*\}`), `"timings_ms":{}`},
	{regexp.MustCompile(`"request_id":"[^"]*"`), `"request_id":""`},
	{regexp.MustCompile(`"batch":[0-9]+`), `"batch":0`},
	{regexp.MustCompile(`"(go|commit|backend)":"[^"]*"`), `"$1":""`}, // of /version
}

// blank takes out of an answer what differs from one to the next.
func blank(t *testing.T, r reply) recordedAnswer {
	a := recordedAnswer{Status: r.status, Header: map[string]string{}}
	if length := r.header.Get("Content-Length"); length != "" && len(r.body) > 0 {
		require.Equal(t, strconv.Itoa(len(r.body)), length)
	}
	for name, vs := range r.header {
		switch v := strings.Join(vs, ", "); name {
		case "Date", "X-Request-Id":
			require.NotEmpty(t, v)
		case "Content-Length": // it is that of the body, and not blanked
		case "Server-Timing":
			a.Header[name] = regexp.MustCompile(`dur=[0-9.]+`).ReplaceAllString(v, "dur=")
		case "Retry-After":
			a.Header[name] = regexp.MustCompile(`^[0-9]+$`).ReplaceAllString(v, "N")
		default:
			a.Header[name] = v
		}
	}
	body := r.body
	media := r.header.Get("Content-Type")
	switch {
	case strings.Contains(media, "json"):
		for _, b := range blanks {
			body = b.pattern.ReplaceAll(body, []byte(b.left))
		}
	case strings.HasPrefix(media, "text/plain"): // metrics
		body = ownMetrics(body)
	}
	const long = 3000
	a.Bytes = len(body)
	text := strings.Contains(media, "json") || strings.HasPrefix(media, "text/plain") || len(body) == 0
	if len(body) > long || !text {
		sum := sha256.Sum256(body)
		a.SHA256 = hex.EncodeToString(sum[:])
	} else {
		a.Body = string(body)
	}
	return a
}

// ownMetrics are the names and kinds of the metrics that are not Go's.
func ownMetrics(body []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(body) {
		if bytes.HasPrefix(line, []byte("# TYPE vitserve_")) {
			kept = append(kept, line...)
		}
	}
	return kept
}

// resembles holds an answer of another backend to the recorded one: texts are
// equal, numbers close, and long bodies, which are known by their sum only,
// are there.
func (a recordedAnswer) resembles(t *testing.T, got recordedAnswer) {
	require.Equal(t, a.Status, got.Status)
	require.Equal(t, a.Header, got.Header)
	require.Equal(t, a.SHA256 == "", got.SHA256 == "")
	if a.SHA256 != "" {
		require.NotZero(t, got.Bytes)
		return
	}
	sums := regexp.MustCompile(`[0-9a-f]{64}`) // of files and of pixels
	number := regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?`)
	recorded, sent := sums.ReplaceAllString(a.Body, "S"), sums.ReplaceAllString(got.Body, "S")
	require.Equal(t, number.ReplaceAllString(recorded, "N"), number.ReplaceAllString(sent, "N"))
	want, found := number.FindAllString(recorded, -1), number.FindAllString(sent, -1)
	for i := range want {
		x, err := strconv.ParseFloat(want[i], 64)
		require.NoError(t, err)
		y, err := strconv.ParseFloat(found[i], 64)
		require.NoError(t, err)
		require.InDelta(t, x, y, 2e-3*math.Max(1, math.Abs(x)), "number %d of %s", i, got.Body)
	}
}
