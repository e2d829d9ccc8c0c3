package oip_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/oip"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	_ "github.com/vitserve/vitserve/backend/cpu"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client asks a server of the test's own.
type client struct {
	t   testing.TB
	url string
	s   *api.Server
}

func start(t testing.TB, change func(*api.Config)) *client {
	cfg := api.DefaultConfig()
	cfg.Logger = slog.New(slog.NewJSONHandler(io.Discard, nil))
	cfg.Version = "test"
	cfg.Dialects = []op.Dialect{oip.Dialect()}
	if change != nil {
		change(&cfg)
	}
	s, err := api.New(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Preload(t.Context()))
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		srv.Close()
		require.NoError(t, s.Close())
	})
	return &client{t, srv.URL, s}
}

// reply is an answer that has been read.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// ask sends a request with headers by name and value.
func (c *client) ask(method, path string, body []byte, header ...string) reply {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, bytes.NewReader(body))
	require.NoError(c.t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return reply{c.t, resp.StatusCode, resp.Header, b}
}

func (c *client) get(path string) reply                { return c.ask(http.MethodGet, path, nil) }
func (c *client) post(path string, body []byte) reply  { return c.ask(http.MethodPost, path, body) }
func (r reply) into(v any)                             { require.NoError(r.t, json.Unmarshal(r.body, v), "%s", r.body) }
func (r reply) ok() reply                              { r.t.Helper(); require.Equal(r.t, 200, r.status, "%s", r.body); return r }
func (r reply) fails(status int, says ...string) reply { return fails(r, status, says...) }

// fails holds that an answer is an error as clients read it.
func fails(r reply, status int, says ...string) reply {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	var e struct{ Error string }
	r.into(&e)
	for _, s := range says {
		require.Contains(r.t, e.Error, s)
	}
	return r
}

// tensor is an output of an answer.
type tensor struct {
	Name       string
	Datatype   string
	Shape      []int
	Parameters map[string]int
	Data       json.RawMessage
	floats     []float32
	texts      []string
}

// inferred is an answer, whose tensors in binary have been taken from behind it.
type inferred struct {
	Model   string `json:"model_name"`
	Version string `json:"model_version"`
	ID      string
	Outputs []tensor
}

// answer reads an answer to its last byte.
func (r reply) answer() (a inferred) {
	r.t.Helper()
	r.ok()
	head, rest := r.body, []byte(nil)
	if n := r.header.Get("Inference-Header-Content-Length"); n != "" {
		require.Equal(r.t, "application/octet-stream", r.header.Get("Content-Type"))
		size, err := strconv.Atoi(n)
		require.NoError(r.t, err)
		head, rest = r.body[:size], r.body[size:]
	}
	require.NoError(r.t, json.Unmarshal(head, &a), "%s", head)
	for i := range a.Outputs {
		o := &a.Outputs[i]
		size, blob := o.Parameters["binary_data_size"]
		switch {
		case !blob && o.Datatype == "BYTES":
			require.NoError(r.t, json.Unmarshal(o.Data, &o.texts))
		case !blob:
			require.NoError(r.t, json.Unmarshal(o.Data, &o.floats))
		default:
			b := rest[:size]
			rest = rest[size:]
			for len(b) > 0 {
				n := int(binary.LittleEndian.Uint32(b))
				if o.Datatype == "BYTES" {
					o.texts, b = append(o.texts, string(b[4:4+n])), b[4+n:]
				} else {
					o.floats, b = append(o.floats, math.Float32frombits(uint32(n))), b[4:]
				}
			}
		}
		n := 1
		for _, d := range o.Shape {
			n *= d
		}
		require.Equal(r.t, n, max(len(o.floats), len(o.texts)), "elements of %s %v", o.Name, o.Shape)
	}
	require.Empty(r.t, rest)
	return a
}

// infer asks with a head of JSON and blobs behind it.
func (c *client) infer(model string, head string, blobs []byte, header ...string) reply {
	c.t.Helper()
	header = append([]string{"Inference-Header-Content-Length", strconv.Itoa(len(head))}, header...)
	return c.ask(http.MethodPost, "/v2/models/"+model+"/infer", append([]byte(head), blobs...), header...)
}

// elements are texts as BYTES in binary.
func elements(all ...[]byte) (b []byte) {
	for _, e := range all {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(e))), e...)
	}
	return b
}

// images asks about files in binary.
func (c *client) images(model, more string, files ...[]byte) reply {
	c.t.Helper()
	b := elements(files...)
	return c.infer(model, fmt.Sprintf(`{"inputs":[{"name":"IMAGE","shape":[%d],"datatype":"BYTES","parameters":{"binary_data_size":%d}}]%s}`, len(files), len(b), more), b)
}

func photo(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", name))
	require.NoError(t, err)
	return b
}

// classified is what /v1 says of a picture: probabilities by class, and logits.
func (c *client) classified(file []byte) (probs, logits []float32) {
	c.t.Helper()
	var a v1.ClassifyAnswer
	c.post("/v1/classify?top_k=0&logits=true", file).ok().into(&a)
	logits = a.Results[0].Logits
	probs = make([]float32, len(logits))
	for _, p := range *a.Results[0].Predictions {
		probs[p.Index] = float32(p.Score)
	}
	return probs, logits
}

// TestHealth: what probes and clients ask before they ask anything else.
func TestHealth(t *testing.T) {
	c := start(t, nil)
	require.JSONEq(t, `{"live":true}`, string(c.get("/v2/health/live").ok().body))
	require.JSONEq(t, `{"ready":true}`, string(c.get("/v2/health/ready").ok().body))
	require.JSONEq(t, `{"name":"starter.focus","ready":true}`, string(c.get("/v2/models/starter.focus/ready").ok().body))
	var server struct {
		Name, Version string
		Extensions    []string
	}
	for _, path := range []string{"/v2", "/v2/"} {
		c.get(path).ok().into(&server)
		require.Equal(t, "vitserve", server.Name)
		require.Equal(t, "test", server.Version)
		require.Contains(t, server.Extensions, "binary_tensor_data")
		require.NotContains(t, server.Extensions, "system_shared_memory")
	}
	c.get("/v2/models/nothing/ready").fails(404, `"nothing"`, "starter.pixels")
	c.get("/v2/models/starter/versions/2/ready").fails(404, "version", "want 1")
	c.post("/v2/models/starter/ready", nil).fails(405)
}

// TestMetadata: shapes of the metadata are -1 and the dims of the configuration,
// as clients that read both expect where there is a max_batch_size.
func TestMetadata(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.BatchDelay = api.Duration(2e6) })
	for _, m := range []struct {
		name, input, datatype, config, output string
		in, out                               []int
	}{
		{"starter", "IMAGE", "BYTES", "TYPE_STRING", "probs", []int{1}, []int{20}},
		{"starter.pixels", "pixel_values", "FP32", "TYPE_FP32", "logits", []int{3, 64, 64}, []int{20}},
		{"starter.embed", "IMAGE", "BYTES", "TYPE_STRING", "embedding", []int{1}, []int{192}},
		{"starter.focus", "IMAGE", "BYTES", "TYPE_STRING", "map", []int{1}, []int{8, 8}},
	} {
		type part struct {
			Name, Datatype, Format string
			Shape, Dims            []int
			DataType               string `json:"data_type"`
		}
		var meta struct {
			Name            string
			Versions        []string
			Inputs, Outputs []part
			Parameters      map[string]string
		}
		c.get("/v2/models/" + m.name).ok().into(&meta)
		var config struct {
			Name          string
			MaxBatch      int `json:"max_batch_size"`
			Input, Output []part
			Batching      struct {
				Delay int `json:"max_queue_delay_microseconds"`
			} `json:"dynamic_batching"`
		}
		c.get("/v2/models/" + m.name + "/versions/1/config").ok().into(&config)
		require.Equal(t, []string{m.name, "1"}, append([]string{meta.Name}, meta.Versions...))
		require.Equal(t, m.name, config.Name)
		require.Equal(t, 64, config.MaxBatch)
		require.Equal(t, 2000, config.Batching.Delay)
		require.Len(t, meta.Inputs, 1)
		require.Len(t, meta.Outputs, 1)
		require.Len(t, config.Input, 1)
		require.Len(t, config.Output, 1)
		require.Equal(t, part{Name: m.input, Datatype: m.datatype, Shape: append([]int{-1}, m.in...)}, meta.Inputs[0])
		require.Equal(t, part{Name: m.output, Datatype: "FP32", Shape: append([]int{-1}, m.out...)}, meta.Outputs[0])
		require.Equal(t, m.in, config.Input[0].Dims)
		require.Equal(t, m.out, config.Output[0].Dims)
		require.Equal(t, m.config, config.Input[0].DataType)
		require.Equal(t, "0.485 0.456 0.406", meta.Parameters["image_mean"])
		if m.input == "pixel_values" {
			require.Equal(t, "FORMAT_NCHW", config.Input[0].Format)
		}
	}
}

// TestImages: files in every spelling are answered as /v1 answers them, to the
// bit.
func TestImages(t *testing.T) {
	c := start(t, nil)
	banana, orange := photo(t, "banana.jpg"), photo(t, "orange.jpg")
	var probs, logits []float32
	for _, f := range [][]byte{banana, orange} {
		p, l := c.classified(f)
		probs, logits = append(probs, p...), append(logits, l...)
	}
	both := elements(banana, orange)
	long := max(len(banana), len(orange))
	padded := append(append(append([]byte{}, banana...), make([]byte, long-len(banana))...), append(append([]byte{}, orange...), make([]byte, long-len(orange))...)...)
	b64, err := json.Marshal([][]byte{banana, orange})
	require.NoError(t, err)
	numbers, err := json.Marshal([][]int{ints(padded[:long]), ints(padded[long:])})
	require.NoError(t, err)
	for name, r := range map[string]reply{
		"[n]":          c.images("starter", `,"outputs":[{"name":"probs"},{"name":"logits"}]`, banana, orange),
		"[n, 1]":       c.infer("starter", input("[2,1]", "BYTES", len(both)), both),
		"[1, n]":       c.infer("starter", input("[1,2]", "BYTES", len(both)), both),
		"UINT8":        c.infer("starter", input(fmt.Sprintf("[2,%d]", long), "UINT8", len(padded)), padded),
		"UINT8 JSON":   c.post("/v2/models/starter/infer", fmt.Appendf(nil, `{"inputs":[{"name":"IMAGE","shape":[2,%d],"datatype":"UINT8","data":%s}],"outputs":[{"name":"probs"},{"name":"logits"}]}`, long, numbers)),
		"base64":       c.post("/v2/models/starter/infer", fmt.Appendf(nil, `{"inputs":[{"name":"IMAGE","shape":[2],"datatype":"BYTES","data":%s}],"outputs":[{"name":"probs"},{"name":"logits"}]}`, b64)),
		"binary out":   c.images("starter", `,"outputs":[{"name":"probs","parameters":{"binary_data":true}},{"name":"logits"}]`, banana, orange),
		"all binary":   c.images("starter", `,"parameters":{"binary_data_output":true},"outputs":[{"name":"probs"},{"name":"logits","parameters":{"binary_data":false}}]`, banana, orange),
		"another face": c.images("starter.embed", `,"outputs":[{"name":"probs"},{"name":"logits"}]`, banana, orange),
	} {
		a := r.answer()
		require.Equal(t, probs, a.Outputs[0].floats, name)
		require.Equal(t, logits, a.Outputs[1].floats, name)
		require.Equal(t, []int{2, 20}, a.Outputs[1].Shape, name)
	}
}

// input is a request for probs and logits of files in binary.
func input(shape, datatype string, size int) string {
	return fmt.Sprintf(`{"inputs":[{"name":"IMAGE","shape":%s,"datatype":"%s","parameters":{"binary_data_size":%d}}],"outputs":[{"name":"probs"},{"name":"logits"}]}`, shape, datatype, size)
}

func ints(b []byte) (all []int) {
	for _, v := range b {
		all = append(all, int(v))
	}
	return all
}

// TestAbstained: an output says why there is no label, of each picture; others
// stay as they are.
func TestAbstained(t *testing.T) {
	c := start(t, nil)
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", "banana.jpg"))
	require.NoError(t, err)
	ask := func(parameters, outputs string) reply {
		return c.post("/v2/models/starter/infer", []byte(fmt.Sprintf(
			`{"parameters": {%s}, "inputs": [{"name": "IMAGE", "datatype": "BYTES", "shape": [1, 1], "data": [%q]}], "outputs": [%s]}`,
			parameters, base64.StdEncoding.EncodeToString(data), outputs)))
	}
	type answer struct {
		Outputs []struct {
			Name, Datatype string
			Shape          []int
			Data           []any
		}
	}
	read := func(r reply) (a answer) {
		require.Equal(t, http.StatusOK, r.status, string(r.body))
		require.NoError(t, json.Unmarshal(r.body, &a))
		return a
	}
	sure := read(ask(``, `{"name": "abstained"}, {"name": "probs"}`))
	require.Equal(t, []any{""}, sure.Outputs[0].Data)
	require.Equal(t, "BYTES", sure.Outputs[0].Datatype)
	require.Equal(t, []int{1, 1}, sure.Outputs[0].Shape)
	unsure := read(ask(`"min_confidence": 1`, `{"name": "probs"}, {"name": "abstained"}`))
	require.Contains(t, unsure.Outputs[1].Data[0], "is below min_confidence 1")
	require.Equal(t, sure.Outputs[1].Data, unsure.Outputs[0].Data)
	require.Equal(t, http.StatusBadRequest, ask(`"min_confidence": 1`, `{"name": "probs"}`).status, "a parameter that changes nothing")
	require.Equal(t, http.StatusBadRequest, ask(``, `{"name": "abstained", "parameters": {"classification": 2}}`).status)
}
