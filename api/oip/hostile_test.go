package oip_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

// TestHostile: what no client should send is refused with what was expected.
func TestHostile(t *testing.T) {
	c := start(t, nil)
	file := elements(photo(t, "banana.jpg"))
	image := func(shape string, size int) string {
		return fmt.Sprintf(`{"inputs":[{"name":"IMAGE","shape":%s,"datatype":"BYTES","parameters":{"binary_data_size":%d}}]}`, shape, size)
	}
	tensor := func(shape, datatype, data string) string {
		return fmt.Sprintf(`{"inputs":[{"name":"pixel_values","shape":%s,"datatype":"%s","data":%s}]}`, shape, datatype, data)
	}
	lying := binary.LittleEndian.AppendUint32(nil, 1<<31)
	for name, q := range map[string]struct {
		head   string
		behind []byte
		says   string
	}{
		"no JSON":               {`{"inputs":`, nil, "JSON"},
		"no object":             {`[]`, nil, "want an object"},
		"deep":                  {strings.Repeat("[", 1<<20), nil, "JSON"},
		"no inputs":             {`{}`, nil, "0 inputs of model starter, want 1: IMAGE"},
		"two inputs":            {`{"inputs":[{"name":"IMAGE","shape":[1],"datatype":"BYTES","data":["aa"]},{"name":"pixel_values","data":[]}]}`, nil, "2 inputs"},
		"many inputs":           {`{"inputs":[` + strings.Repeat(`{"name":"IMAGE","data":[]},`, 1000) + `{}]}`, nil, "more than 16 elements"},
		"inputs null":           {`{"inputs":null}`, nil, "want an array"},
		"unknown input":         {`{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["aa"]}]}`, nil, `input "x": value not allowed: no input of model starter, want IMAGE`},
		"no data":               {`{"inputs":[{"name":"IMAGE","shape":[1],"datatype":"BYTES"}]}`, nil, "no data"},
		"data twice":            {`{"inputs":[{"name":"IMAGE","data":[],"data":[]}]}`, nil, "twice"},
		"data and binary":       {`{"inputs":[{"name":"IMAGE","shape":[1],"datatype":"BYTES","data":["aa"],"parameters":{"binary_data_size":1}}]}`, []byte{1}, "want one of them"},
		"size negative":         {image("[1]", -1), file, "binary_data_size: value not allowed"},
		"size too large":        {image("[1]", len(file)+1), file, strconv.Itoa(len(file)) + " bytes are left"},
		"size too small":        {image("[1]", len(file)-1), file, "1 bytes behind the JSON that no input takes"},
		"dimension negative":    {image("[-1]", len(file)), file, `"-1", want a whole number from 0`},
		"dimension no number":   {image(`["1"]`, len(file)), file, "want a whole number"},
		"dimension of 2^40":     {image("[1099511627776]", len(file)), file, "want a whole number from 0"},
		"shape overflows":       {tensor("[4294967296,4294967296,4294967296]", "FP32", "[1]"), nil, "shape"},
		"pixels overflow":       {tensor("[2147483647,3,64,64]", "FP32", "[1]"), nil, "a batch of 2147483647, want 1 to 64"},
		"pixels of no batch":    {tensor("[0,3,64,64]", "FP32", "[]"), nil, "a batch of 0"},
		"pixels of 64":          {tensor("[64,3,64,64]", "FP32", "[1]"), nil, "too few for 786432 elements"},
		"pixels of 9 dims":      {tensor("[1,1,1,1,1,1,1,1,1]", "FP32", "[1]"), nil, "more than 8 elements"},
		"pixels of a size":      {tensor("[1,3,32,64]", "FP32", "[1]"), nil, "want [pictures, 3, 64, 64]"},
		"pixels of a type":      {tensor("[1,3,64,64]", "INT64", "[1]"), nil, "want FP32, FP16 or BF16"},
		"pixels in BF16 JSON":   {tensor("[1,3,64,64]", "BF16", "[1]"), nil, "want it in binary"},
		"pixels of texts":       {tensor("[1,3,64,64]", "FP32", `["`+strings.Repeat("a", 1<<15)+`"]`), nil, "element 0"},
		"pixels out of range":   {tensor("[1,3,64,64]", "FP32", "[1e999"+strings.Repeat(",0", 3*64*64-1)+"]"), nil, "want a number of FP32"},
		"pixels one too few":    {tensor("[1,3,64,64]", "FP32", "[100"+strings.Repeat(",0", 3*64*64-2)+"]"), nil, "12287 elements, the shape says 12288"},
		"pixels one too many":   {tensor("[1,3,64,64]", "FP32", "[0"+strings.Repeat(",0", 3*64*64)+"]"), nil, "more than the 12288 elements"},
		"pixels nested wrong":   {tensor("[1,3,64,64]", "FP32", "[[0"+strings.Repeat(",0", 3*64*64)+"]]"), nil, "nested otherwise"},
		"pixels null":           {tensor("[1,3,64,64]", "FP32", "null"), nil, "too few"},
		"batch of 65":           {image("[65]", len(file)), file, "a batch of 65, want 1 to 64"},
		"batch of two":          {image("[2]", len(file)), file, "element 1: 0 bytes, want a length of 4 bytes"},
		"shape of a square":     {image("[2,2]", len(file)), file, "want [pictures, 1]"},
		"no shape":              {`{"inputs":[{"name":"IMAGE","datatype":"BYTES","parameters":{"binary_data_size":0}}]}`, nil, "want [pictures, 1]"},
		"two where one":         {image("[1]", 2*len(file)), append(file, file...), "bytes behind the 1 elements of the shape"},
		"prefix lies":           {image("[1]", 4), lying, "says 2147483648 bytes, 0 follow"},
		"prefix cut":            {image("[1]", 3), lying[:3], "want a length of 4 bytes"},
		"empty picture":         {image("[1]", 4), make([]byte, 4), "empty file"},
		"no picture":            {image("[1]", 8), elements([]byte("abcd")), "supported format"},
		"second is no picture":  {image("[2]", len(file)+8), append(append([]byte{}, file...), elements([]byte("abcd"))...), "picture 1: "},
		"text is no base64":     {`{"inputs":[{"name":"IMAGE","shape":[1],"datatype":"BYTES","data":["hello!"]}]}`, nil, "send binary data"},
		"number is no base64":   {`{"inputs":[{"name":"IMAGE","shape":[1],"datatype":"BYTES","data":[1]}]}`, nil, "want a file in base64"},
		"UINT8 of 2^40":         {`{"inputs":[{"name":"IMAGE","shape":[1,1099511627776],"datatype":"UINT8","data":[1]}]}`, nil, "want a whole number"},
		"UINT8 of 2^31":         {`{"inputs":[{"name":"IMAGE","shape":[64,2147483647],"datatype":"UINT8","data":[1]}]}`, nil, "too few"},
		"UINT8 of 256":          {`{"inputs":[{"name":"IMAGE","shape":[1,1],"datatype":"UINT8","data":[256]}]}`, nil, "from 0 to 255"},
		"unknown output":        {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"outputs":[{"name":"x"}]}`, 1), file, `output "x" of model starter, want one of probs, logits`},
		"output twice":          {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"outputs":[{"name":"probs"},{"name":"probs"}]}`, 1), file, "twice"},
		"classes negative":      {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"outputs":[{"name":"probs","parameters":{"classification":-1}}]}`, 1), file, "classification"},
		"output in memory":      {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"outputs":[{"name":"probs","parameters":{"shared_memory_region":"a"}}]}`, 1), file, `region "a"`},
		"unknown parameter":     {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"parameters":{"x":1.5}}`, 1), file, `unknown parameter "x", want one of priority`},
		"parameter of another":  {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"parameters":{"layer":1}}`, 1), file, "parameter layer is of output map or"},
		"parameter impossible":  {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"parameters":{"layer":99},"outputs":[{"name":"map"}]}`, 1), file, "layer"},
		"timeout negative":      {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"parameters":{"timeout":-1}}`, 1), file, "timeout"},
		"array as a parameter":  {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"parameters":{"timeout":[1]}}`, 1), file, "timeout"},
		"binary output is text": {strings.Replace(image("[1]", len(file)), "}}]}", `}}],"parameters":{"binary_data_output":"yes"}}`, 1), file, "want true or false"},
	} {
		r := c.infer("starter", q.head, q.behind)
		status := http.StatusBadRequest
		if name == "output in memory" {
			status = http.StatusNotImplemented
		}
		require.Equal(t, status, r.status, "%s: %s", name, r.body)
		var e struct{ Error string }
		require.NoError(t, json.Unmarshal(r.body, &e), name)
		require.Contains(t, e.Error, q.says, name)
		require.Less(t, len(e.Error), 1000, name)
	}
	for _, head := range []string{"-1", "x", "99999999", "18446744073709551616"} {
		c.ask(http.MethodPost, "/v2/models/starter/infer", []byte("{}"), "Inference-Header-Content-Length", head).fails(400, "body of 2 bytes")
	}
}

// TestMemory: what a request takes is bounded by what was sent, and not by what
// it says.
func TestMemory(t *testing.T) {
	c := start(t, nil)
	h := c.s.Handler()
	nested := func(open, v, end string, n int) string {
		return strings.Repeat(open, n) + v + strings.Repeat(end, n)
	}
	for name, body := range map[string]string{
		"inputs":     `{"inputs":[` + strings.Repeat("{},", 1<<20) + `{}]}`,
		"outputs":    `{"outputs":[` + strings.Repeat("{},", 1<<20) + `{}]}`,
		"parameters": `{"parameters":{` + strings.Repeat(`"a":1,`, 1<<19) + `"b":2}}`,
		"shape":      `{"inputs":[{"shape":[` + strings.Repeat("1,", 1<<20) + `1]}]}`,
		"elements":   `{"inputs":[{"name":"IMAGE","datatype":"BYTES","shape":[64],"data":["` + strings.Repeat("a", 1<<20) + `"]}]}`,
		"empty":      `{"inputs":[{"name":"IMAGE","datatype":"BYTES","shape":[64],"data":[` + strings.Repeat(`"",`, 1<<19) + `1]}]}`,
		"nested":     nested(`{"inputs":[`, `1`, `]}`, 1<<9),
		"arrays":     `{"inputs":[{"name":"pixel_values","datatype":"FP32","shape":[1,3,64,64],"data":` + nested("[", strings.Repeat("0,", 1<<19)+"0", "]", 5) + `}]}`,
		"pixels":     `{"inputs":[{"name":"pixel_values","datatype":"FP32","shape":[64,3,64,64],"data":[` + strings.Repeat("0,", 1<<19) + `0]}]}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v2/models/starter/infer", strings.NewReader(body)))
		runtime.ReadMemStats(&after)
		require.Equal(t, 4, w.Code/100, name)
		taken := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(body))
		require.Less(t, taken, 20.0, "%s: bytes allocated for each that was sent", name)
	}
}

// FuzzInfer sends any body and any length of its JSON: it is answered or
// refused, nothing is a 5xx but what is not supported by name, and what was
// charged for memory comes back.
func FuzzInfer(f *testing.F) {
	c := start(f, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "m", Path: filepath.Join("..", "..", "models", "testdata", "golden", "timm_vit")}}
		cfg.MaxPixels, cfg.MaxBody, cfg.BodyBudget, cfg.MaxImages = 1<<16, 1<<16, 1<<20, 4
	})
	png := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\nIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\x1b\xb6\xeeV\x00\x00\x00\x00IEND\xaeB`\x82")
	b := elements(png, png)
	head := fmt.Sprintf(`{"id":"7","model_name":"m","inputs":[{"name":"IMAGE","shape":[2,1],"datatype":"BYTES","parameters":{"binary_data_size":%d}}],"outputs":[{"name":"probs","parameters":{"classification":2,"binary_data":true}},{"name":"attention"}],"parameters":{"layer":1,"priority":2,"timeout":500000}}`, len(b))
	f.Add("m", "", strconv.Itoa(len(head)), append([]byte(head), b...))
	f.Add("m.focus", "", "", []byte(`{"inputs":[{"name":"IMAGE","shape":[1],"datatype":"BYTES","data":["AAAA"]}],"parameters":{"method":"rollout","class":3,"queries":"1,2","binary_data_output":true}}`))
	f.Add("m.pixels", "gzip", "20", folded(f, "gzip", []byte(`{"inputs":[{"name":"pixel_values","shape":[1,3,32,32],"datatype":"FP16","data":[[[1,2e3,-0.5]]]}]}`)))
	f.Add("m.embed", "deflate", "", folded(f, "deflate", []byte(`{"inputs":[{"name":"IMAGE","shape":[1,8],"datatype":"UINT8","data":[137,80,78,71,13,10,26,10]}]}`)))
	f.Add("m", "", "0", png)
	f.Fuzz(func(t *testing.T, model, coding, length string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/v2/models/m/infer", bytes.NewReader(body))
		r.URL.Path, r.URL.RawPath = "/v2/models/"+model+"/infer", ""
		if coding != "" {
			r.Header.Set("Content-Encoding", coding)
		}
		if length != "" {
			r.Header.Set("Inference-Header-Content-Length", length)
		}
		w := httptest.NewRecorder()
		c.s.Handler().ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			if w.Header().Get("Content-Type") == "application/json" {
				require.True(t, json.Valid(w.Body.Bytes()), "%q", w.Body)
			}
			return
		}
		require.NotEqual(t, http.StatusTooManyRequests, w.Code, "a request before kept its room")
		require.True(t, w.Code/100 == 4 || w.Code == http.StatusNotImplemented, "%d %s", w.Code, w.Body)
	})
}
