package oip_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkImage is what a request costs beside the model, in each dialect.
func BenchmarkImage(b *testing.B) {
	c := start(b, nil)
	file := photo(b, "banana.jpg")
	blob := elements(file)
	head := fmt.Sprintf(`{"inputs":[{"name":"IMAGE","shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":%d}}],"parameters":{"binary_data_output":true}}`, len(blob))
	for _, d := range []struct {
		name, path string
		body       []byte
	}{{"v1", "/v1/classify", file}, {"oip", "/v2/models/starter/infer", append([]byte(head), blob...)}} {
		b.Run(d.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, d.path, bytes.NewReader(d.body))
				if d.name == "oip" {
					r.Header.Set("Inference-Header-Content-Length", fmt.Sprint(len(head)))
				}
				w := httptest.NewRecorder()
				c.s.Handler().ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
