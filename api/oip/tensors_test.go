package oip_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/x448/float16"
)

// normalised is a picture as clients prepare it, (3, H, W).
func (c *client) normalised(file []byte) []float32 {
	c.t.Helper()
	return npy(c.t, c.post("/v1/preprocess?format=npy", file).ok().body)
}

// npy returns the values of a NumPy file of float32.
func npy(t testing.TB, b []byte) []float32 {
	head := 10 + int(binary.LittleEndian.Uint16(b[8:]))
	require.Contains(t, string(b[:head]), "<f4")
	values := make([]float32, (len(b)-head)/4)
	require.NoError(t, binary.Read(bytes.NewReader(b[head:]), binary.LittleEndian, values))
	return values
}

// pixels asks about a tensor in binary, of so many bytes an element.
func (c *client) pixels(datatype string, n int, blob []byte) reply {
	c.t.Helper()
	return c.infer("starter.pixels", fmt.Sprintf(`{"inputs":[{"name":"pixel_values","shape":[%d,3,64,64],"datatype":"%s","parameters":{"binary_data_size":%d}}]}`, n, datatype, len(blob)), blob)
}

func binaryOf(t testing.TB, values any) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, values)
	require.NoError(t, err)
	return b
}

func near(t testing.TB, want, found []float32, by float64) {
	t.Helper()
	require.Len(t, found, len(want))
	for i := range want {
		require.InDelta(t, want[i], found[i], by)
	}
}

// TestPixels: what clients normalised is undone, so that logits are those of the
// photo to the bit, however the tensor is written.
func TestPixels(t *testing.T) {
	c := start(t, nil)
	var logits, x []float32
	for _, name := range []string{"banana.jpg", "orange.jpg"} {
		_, l := c.classified(photo(t, name))
		logits, x = append(logits, l...), append(x, c.normalised(photo(t, name))...)
	}
	halves, brains := make([]uint16, len(x)), make([]uint16, len(x))
	for i, v := range x {
		halves[i], brains[i] = float16.Fromfloat32(v).Bits(), uint16(math.Float32bits(v)>>16)
	}
	a := c.pixels("FP32", 2, binaryOf(t, x)).answer()
	require.Equal(t, "starter.pixels", a.Model)
	require.Equal(t, []int{2, 20}, a.Outputs[0].Shape)
	require.Equal(t, "logits", a.Outputs[0].Name)
	exact := a.Outputs[0].floats
	require.Equal(t, logits, exact)
	near(t, logits, c.pixels("FP16", 2, binaryOf(t, halves)).answer().Outputs[0].floats, 2e-2)
	near(t, logits, c.pixels("BF16", 2, binaryOf(t, brains)).answer().Outputs[0].floats, 1e-1)

	var nested [2][3][64][64]float32
	require.NoError(t, binary.Read(bytes.NewReader(binaryOf(t, x)), binary.LittleEndian, &nested))
	for _, v := range []any{x, nested} {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		for _, datatype := range []string{"FP32", "FP16"} {
			body := fmt.Appendf(nil, `{"inputs":[{"name":"pixel_values","shape":[2,3,64,64],"datatype":"%s","data":%s}]}`, datatype, data)
			require.Equal(t, exact, c.post("/v2/models/starter.pixels/infer", body).answer().Outputs[0].floats)
		}
	}

	// Not clipped: brighter than white is not white.
	white, beyond := append([]float32{}, x[:3*64*64]...), append([]float32{}, x[:3*64*64]...)
	white[7], beyond[7] = (1-0.485)/0.229, 40
	require.NotEqual(t, c.pixels("FP32", 1, binaryOf(t, white)).answer().Outputs[0].floats, c.pixels("FP32", 1, binaryOf(t, beyond)).answer().Outputs[0].floats)
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		beyond[7] = float32(bad)
		c.pixels("FP32", 1, binaryOf(t, beyond)).fails(400, "NaN or Inf", "at 7")
	}
	// Where the model looked can be asked of pixels, too.
	var m struct{ Results []v1.ExplainResult }
	c.post("/v1/explain", photo(t, "banana.jpg")).ok().into(&m)
	b := binaryOf(t, x[:3*64*64])
	r := c.infer("starter.pixels", fmt.Sprintf(`{"inputs":[{"name":"pixel_values","shape":[3,64,64],"datatype":"FP32","parameters":{"binary_data_size":%d}}],"outputs":[{"name":"map"}]}`, len(b)), b)
	near(t, flat(m.Results[0].Maps[0].Values), r.answer().Outputs[0].floats, 1e-5)
}

func flat(rows [][]float32) (all []float32) {
	for _, r := range rows {
		all = append(all, r...)
	}
	return all
}

// TestFocus: maps are those of /v1/explain to the bit, and attention is that of
// its NumPy file.
func TestFocus(t *testing.T) {
	c := start(t, nil)
	file := photo(t, "banana.jpg")
	for _, q := range []struct {
		query, parameters string
		shape             []int
	}{
		{"", ``, []int{1, 8, 8}},
		{"method=rollout&discard=0.5", `"method":"rollout","discard":0.5`, []int{1, 8, 8}},
		{"method=raw&layer=2&head=1", `"method":"raw","layer":2,"head":1`, []int{1, 8, 8}},
		{"class=orange", `"class":"orange"`, []int{1, 8, 8}},
		{"class=17&versus=banana", `"class":17,"versus":"banana"`, []int{1, 8, 8}},
		{"method=gradcam&classes=3", `"method":"gradcam","classes":3`, []int{1, 3, 8, 8}},
		{"method=raw&queries=1,2", `"method":"raw","queries":"1,2"`, []int{1, 8, 8}},
	} {
		var want struct{ Results []v1.ExplainResult }
		c.post("/v1/explain?"+q.query, file).ok().into(&want)
		var values []float32
		for _, m := range want.Results[0].Maps {
			values = append(values, flat(m.Values)...)
		}
		for _, binary := range []string{"true", "false"} {
			parameters := `,"parameters":{"binary_data_output":` + binary
			if q.parameters != "" {
				parameters += "," + q.parameters
			}
			o := c.images("starter.focus", parameters+"}", file).answer().Outputs[0]
			require.Equal(t, values, o.floats, q.query)
			require.Equal(t, q.shape, o.Shape, q.query)
		}
	}
	all := npy(t, c.post("/v1/explain?values=attention", file).ok().body)
	a := c.images("starter.focus", `,"outputs":[{"name":"attention","parameters":{"binary_data":true}},{"name":"class_attention"},{"name":"map"}]`, file).answer()
	require.Equal(t, all, a.Outputs[0].floats)
	require.Equal(t, []int{1, 6, 3, 65, 65}, a.Outputs[0].Shape)
	var class []float32
	for layer := range 6 * 3 {
		class = append(class, all[layer*65*65:][:65]...)
	}
	require.Equal(t, class, a.Outputs[1].floats)
	require.Equal(t, []int{1, 6, 3, 65}, a.Outputs[1].Shape)
	part := c.images("starter", `,"outputs":[{"name":"attention"}],"parameters":{"layer":2,"head":3}`, file, file).answer().Outputs[0]
	require.Equal(t, []int{2, 1, 1, 65, 65}, part.Shape)
	require.Equal(t, all[(1*3+2)*65*65:][:65*65], part.floats[:65*65])
}

// TestEmbedding: pools and lengths are those of /v1/embed.
func TestEmbedding(t *testing.T) {
	c := start(t, nil)
	file := photo(t, "banana.jpg")
	for _, q := range []struct {
		query, parameters string
		shape             []int
	}{
		{"", `"l2":false`, []int{1, 192}},
		{"pool=mean&l2=true", `"pool":"mean","l2":true`, []int{1, 192}},
		{"pool=grid", `"pool":"grid"`, []int{1, 8, 8, 192}},
	} {
		want := npy(t, c.ask(http.MethodPost, "/v1/embed?format=npy&"+q.query, file).ok().body)
		o := c.images("starter.embed", `,"parameters":{`+q.parameters+`}`, file).answer().Outputs[0]
		require.Equal(t, want, o.floats)
		require.Equal(t, q.shape, o.Shape)
	}
}

// TestClassification: the extension's texts, of a label output and of one
// without labels, with more classes asked for than there are.
func TestClassification(t *testing.T) {
	c := start(t, nil)
	file := photo(t, "banana.jpg")
	probs, logits := c.classified(file)
	a := c.images("starter", `,"outputs":[{"name":"probs","parameters":{"classification":2,"binary_data":true}},{"name":"logits","parameters":{"classification":1000}},{"name":"embedding","parameters":{"classification":1}}]`, file, file).answer()
	require.Equal(t, "BYTES", a.Outputs[0].Datatype)
	require.Equal(t, []int{2, 2}, a.Outputs[0].Shape)
	require.Equal(t, fmt.Sprintf("%.6f:18:banana", probs[18]), a.Outputs[0].texts[0])
	require.Equal(t, a.Outputs[0].texts[:2], a.Outputs[0].texts[2:])
	require.Equal(t, []int{2, 20}, a.Outputs[1].Shape)
	require.True(t, strings.HasPrefix(a.Outputs[1].texts[0], fmt.Sprintf("%.6f:18:", logits[18])))
	require.Regexp(t, `^[0-9.]+:\d+$`, a.Outputs[2].texts[0])
}

// TestAnalyzer: the bytes that perf_analyzer sends. With base64 of a bare file
// its BYTES have no length before them: an error that says so, and no answer to
// what was not asked.
func TestAnalyzer(t *testing.T) {
	c := start(t, nil)
	file := photo(t, "banana.jpg")
	const head = `{"id":"","inputs":[{"name":"IMAGE","shape":[%d,1],"datatype":"BYTES","parameters":{"binary_data_size":%d}}],"outputs":[{"name":"probs","parameters":{"binary_data":true}}]}`
	octets := []string{"Content-Type", "application/octet-stream", "Expect", "100-continue"}
	probs, _ := c.classified(file)
	for _, n := range []int{1, 4} {
		b := bytes.Repeat(elements(file), n)
		a := c.infer("starter", fmt.Sprintf(head, n, len(b)), b, octets...).answer()
		require.Empty(t, a.ID)
		require.Equal(t, "1", a.Version)
		require.Equal(t, bytes.Repeat(binaryOf(t, probs), n), binaryOf(t, a.Outputs[0].floats))
	}
	r := c.infer("starter", fmt.Sprintf(head, 1, len(file)), file, octets...)
	r.fails(400, fmt.Sprintf("element 0 says %d bytes", binary.LittleEndian.Uint32(file)), fmt.Sprintf("%d follow", len(file)-4), "begin with a length of 4 bytes")

	type counts struct{ Count, Ns uint64 }
	var s struct {
		Models []struct {
			Name, Version string
			Inferences    int               `json:"inference_count"`
			Executions    int               `json:"execution_count"`
			Last          int64             `json:"last_inference"`
			Stats         map[string]counts `json:"inference_stats"`
			Batches       []struct {
				Size  int    `json:"batch_size"`
				Infer counts `json:"compute_infer"`
			} `json:"batch_stats"`
		} `json:"model_stats"`
	}
	c.get("/v2/models/starter/versions/1/stats").ok().into(&s)
	m := s.Models[0]
	require.Equal(t, "1", m.Version)
	require.Equal(t, 5, m.Inferences)
	require.Positive(t, m.Last)
	require.LessOrEqual(t, m.Executions, 5)
	require.NotEmpty(t, m.Batches)
	for _, name := range []string{"success", "queue", "compute_input", "compute_infer", "compute_output"} {
		require.EqualValues(t, 2, m.Stats[name].Count, name)
	}
	require.EqualValues(t, 1, m.Stats["fail"].Count)
	require.Greater(t, m.Stats["success"].Ns, m.Stats["compute_infer"].Ns)
	require.Positive(t, m.Stats["compute_infer"].Ns)
	c.get("/v2/models/stats").ok().into(&s)
	require.Len(t, s.Models, 4)
}

func folded(t testing.TB, coding string, b []byte) []byte {
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if coding == "deflate" {
		w = zlib.NewWriter(&out)
	}
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// TestCodings: whole bodies are compressed both ways; lengths are those before
// it, and what unfolds to more than a body may hold is refused.
func TestCodings(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.MaxBody = 1 << 20 })
	file := photo(t, "banana.jpg")
	b := elements(file)
	head := fmt.Sprintf(`{"inputs":[{"name":"IMAGE","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":%d}}],"outputs":[{"name":"embedding"},{"name":"attention","parameters":{"binary_data":true}}]}`, len(b))
	want := c.infer("starter", head, b).answer()
	for _, coding := range []string{"gzip", "deflate"} {
		r := c.ask(http.MethodPost, "/v2/models/starter/infer", folded(t, coding, append([]byte(head), b...)),
			"Content-Encoding", coding, "Accept-Encoding", coding, "Inference-Header-Content-Length", fmt.Sprint(len(head))).ok()
		require.Equal(t, coding, r.header.Get("Content-Encoding"))
		var unfold io.ReadCloser
		var err error
		if coding == "gzip" {
			unfold, err = gzip.NewReader(bytes.NewReader(r.body))
		} else {
			unfold, err = zlib.NewReader(bytes.NewReader(r.body))
		}
		require.NoError(t, err)
		r.body, err = io.ReadAll(unfold)
		require.NoError(t, err)
		require.Equal(t, want, r.answer())

		bomb := folded(t, coding, make([]byte, 200<<20))
		c.ask(http.MethodPost, "/v2/models/starter/infer", bomb, "Content-Encoding", coding).fails(413, "unfolds to more than the limit of 1048576 bytes")
		c.ask(http.MethodPost, "/v2/models/starter/infer", []byte("no such thing"), "Content-Encoding", coding).fails(400, coding)
		c.ask(http.MethodPost, "/v2/models/starter/infer", bomb[:len(bomb)/300], "Content-Encoding", coding).fails(400, "too early")
	}
	c.ask(http.MethodPost, "/v2/models/starter/infer", b, "Content-Encoding", "br").fails(400, "br", "want gzip, deflate or identity")
	c.ask(http.MethodPost, "/v2/models/starter/infer", make([]byte, 1<<20+1)).fails(413, "1048576")
}
