package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

var asJSON = []string{"Content-Type", "application/json"}

// wrapped puts base64 into lines.
func wrapped(s string, width int, end string) string {
	var lines []string
	for ; len(s) > width; s = s[width:] {
		lines = append(lines, s[:width])
	}
	return strings.Join(append(lines, s), end) + end
}

// TestWaysOfBase64: every way in which clients write a picture as text gives
// the same bits.
func TestWaysOfBase64(t *testing.T) {
	c := start(t, nil)
	// Of each remainder by three, and with the characters that differ.
	for _, data := range [][]byte{photo(t, "banana.jpg"), append(photo(t, "banana.jpg"), 0xfb), append(photo(t, "banana.jpg"), 0xff, 0xef)} {
		want := c.post("/v1/classify", data).classified(t).Results[0].Predictions
		std, web := base64.StdEncoding, base64.URLEncoding
		plain := std.EncodeToString(data)
		texts := map[string]string{
			"standard": plain, "unpadded": base64.RawStdEncoding.EncodeToString(data),
			"of URLs": web.EncodeToString(data), "of URLs, unpadded": base64.RawURLEncoding.EncodeToString(data),
			"in lines": wrapped(plain, 76, "\n"), "in lines of MIME": wrapped(plain, 64, "\r\n"), "indented": " " + wrapped(plain, 60, "\n\t "),
			"unpadded in lines": wrapped(base64.RawStdEncoding.EncodeToString(data), 76, "\n"),
			"data: URL":         "data:image/jpeg;base64," + plain, "data: URL of capitals": "DATA:IMAGE/JPEG;BASE64," + plain,
			"data: URL without a type": "data:;base64," + plain, "data: URL with a parameter": "data:image/jpeg;charset=utf-8;base64," + plain,
			"data: URL, unpadded":   "data:image/jpeg;base64," + base64.RawStdEncoding.EncodeToString(data),
			"data: URL in percents": "data:image/jpeg;base64," + strings.NewReplacer("+", "%2B", "/", "%2f", "=", "%3D").Replace(plain),
			"data: URL in lines":    "data:image/jpeg;base64,\n" + wrapped(plain, 76, "\n"),
			"data: URL in spaces":   " \n data:image/jpeg;base64, " + plain + "\n",
		}
		for name, text := range texts {
			for how, body := range map[string]any{
				"b64": map[string]any{"images": []any{map[string]any{"b64": text}}}, "image": map[string]any{"image": text},
				"text": map[string]any{"images": []any{text}}, "object": map[string]any{"image": map[string]any{"image": text}},
			} {
				got := c.post("/v1/classify", []byte(jsonOf(t, body)), asJSON...)
				require.Equal(t, want, got.classified(t).Results[0].Predictions, "%s as %s", name, how)
			}
		}
		// PHP escapes slashes, others the plus; an address may be a data: URL.
		for name, body := range map[string]string{
			"escaped slashes": fmt.Sprintf(`{"image":"%s"}`, strings.ReplaceAll(texts["data: URL"], "/", `\/`)),
			"escaped plus":    fmt.Sprintf(`{"images":["%s"]}`, strings.ReplaceAll(plain, "+", `\u002b`)),
			"url":             fmt.Sprintf(`{"images": [ {"url" : "%s"} ] }`, texts["data: URL"]),
			"byte order mark": "\ufeff" + fmt.Sprintf(`{"image":"%s"}`, plain),
		} {
			got := c.post("/v1/classify", []byte(body), asJSON...)
			require.Equal(t, want, got.classified(t).Results[0].Predictions, name)
		}
	}
}

// TestDataURLFile: a body that a browser's page sends, as it is.
func TestDataURLFile(t *testing.T) {
	c := start(t, nil)
	body, err := os.ReadFile("testdata/dataurl.json")
	require.NoError(t, err)
	var sent struct {
		Images []struct{ B64 string }
	}
	require.NoError(t, json.Unmarshal(body, &sent))
	_, text, found := strings.Cut(sent.Images[0].B64, ",")
	require.True(t, found)
	data, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	got := c.post("/v1/classify", body, asJSON...)
	require.Equal(t, http.StatusOK, got.status, string(got.body))
	require.Equal(t, c.post("/v1/classify?top_k=1", data).classified(t).Results[0].Predictions, got.classified(t).Results[0].Predictions)
}

// TestBrokenTexts: what is no base64 is refused alone, and among others an
// error of its own.
func TestBrokenTexts(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.MaxImages = 4 })
	banana := base64.StdEncoding.EncodeToString(photo(t, "banana.jpg"))
	for broken, says := range map[string]string{
		`"!"`: "character 0", `"AAAAA"`: "midst of a byte", `"AA=A"`: "character 3", `"AA==="`: "character 4", `"="`: "character 0", `"AAAA="`: "character 4", `"AAAA\u00e9"`: "character 4",
		`"data:image/png,%89PNG"`: "want one in base64", `"data:image/png;base64"`: "without a comma", `"data:image/png;base64,AA%zz"`: "data: URL",
		`{}`: "one of b64 and url", `null`: "one of b64 and url", `""`: "one of b64 and url", `{"name":"x"}`: "one of b64 and url", `7`: "want an object or a text", `[["a"],{}]`: "want an object or a text",
		`{"b64":7}`: "want a text", `{"b64":"` + banana + `","path":"x"}`: "path", `{"b64":"AAAA","url":"https://example.org/"}`: "one of b64 and url", `{"name":7,"b64":"AAAA"}`: "name",
	} {
		r := c.post("/v1/classify", []byte(`{"images":[`+broken+`]}`), asJSON...)
		require.Equal(t, http.StatusBadRequest, r.status, "%s: %s", broken, r.body)
		require.Contains(t, r.problem(t).Detail, says, broken)
		require.Contains(t, r.problem(t).Detail, "number 1", broken)
		a := c.post("/v1/classify", []byte(fmt.Sprintf(`{"images":["%s",%s , {"b64":"%s","name":"last"}],"top_k":1}`, banana, broken, banana)), asJSON...).classified(t)
		require.Len(t, a.Results, 3, broken)
		require.Equal(t, http.StatusBadRequest, a.Results[1].Error.Status, broken)
		require.Contains(t, a.Results[1].Error.Detail, "number 2", broken)
		for _, i := range []int{0, 2} {
			require.Zero(t, a.Results[i].Error, broken)
			require.Equal(t, "banana", (*a.Results[i].Predictions)[0].Label, broken)
		}
		require.Equal(t, "last", a.Results[2].Image)
	}
	r := c.post("/v1/classify", []byte(`{"images":["http://example.org/cat.jpg"]}`), asJSON...)
	require.Equal(t, http.StatusUnprocessableEntity, r.status, "an address alone: %s", r.body)
	r = c.post("/v1/classify", []byte(`{"images":["`+banana+`","AAAA","AAAA"],"image":"AAAA"}`), asJSON...)
	require.Len(t, r.classified(t).Results, 4, "both members")
	r = c.post("/v1/classify", []byte(`{"images":["`+banana+`","AAAA","AAAA","AAAA"],"image":"AAAA"}`), asJSON...)
	require.Equal(t, http.StatusRequestEntityTooLarge, r.status)
	for _, body := range []string{`{"images":["AAAA`, `{"images":[{"b64":"AAAA"`, `{"image":`, `{"image":}`, `{"images":[1,]}`, `{"image":{"b64":x}}`} {
		r := c.post("/v1/classify", []byte(body), asJSON...)
		require.Equal(t, http.StatusBadRequest, r.status, "%s: %s", body, r.body)
	}
}

// typed is a part of a form with a type of its own.
type typed struct{ field, name, media, data string }

func typedForm(t *testing.T, parts ...typed) ([]byte, string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		head := textproto.MIMEHeader{}
		disposition := fmt.Sprintf(`form-data; name=%q`, p.field)
		if p.name != "" {
			disposition += fmt.Sprintf(`; filename=%q`, p.name)
		}
		head.Set("Content-Disposition", disposition)
		if p.media != "" {
			head.Set("Content-Type", p.media)
		}
		part, err := w.CreatePart(head)
		require.NoError(t, err)
		_, err = part.Write([]byte(p.data))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes(), w.FormDataContentType()
}

// TestTypesOfFields: HTTP clients of several languages say a type of every
// part.
func TestTypesOfFields(t *testing.T) {
	c := start(t, nil)
	banana := string(photo(t, "banana.jpg"))
	for _, media := range []string{"", "text/plain", "text/plain; charset=UTF-8", "text/plain;charset=ISO-8859-1", "application/json", "application/octet-stream", "TEXT/PLAIN"} {
		for _, picture := range []typed{
			{"file", "b.jpg", "image/jpeg", banana}, {"file", "b.jpg", "", banana}, {"file", "", "", banana}, {"file", "", "text/plain", banana},
			{"picture", "", "image/jpeg", banana}, {"anything", "", "application/octet-stream", banana}, {"top_k", "b.jpg", "image/jpeg", banana},
		} {
			body, contentType := typedForm(t, typed{"top_k", "", media, "2"}, picture, typed{"logits", "", media, "True"})
			r := c.post("/v1/classify", body, "Content-Type", contentType).classified(t)
			require.Len(t, r.Results, 1, "%s, %+v", media, picture.field)
			require.Len(t, *r.Results[0].Predictions, 2, media)
			require.Len(t, r.Results[0].Logits, 20, media)
		}
	}
	body, contentType := typedForm(t, typed{"model", "", "application/json", `"starter"`}, typed{"file", "b.jpg", "", banana})
	require.Equal(t, "starter", c.post("/v1/classify", body, "Content-Type", contentType).classified(t).Model)
	for _, media := range []string{"", "text/plain", "application/json"} {
		body, contentType := typedForm(t, typed{"topk", "", media, "2"}, typed{"file", "b.jpg", "", banana})
		r := c.post("/v1/classify", body, "Content-Type", contentType)
		require.Equal(t, http.StatusBadRequest, r.status, media)
		require.Contains(t, r.problem(t).Detail, `unknown parameter "topk"`, media)
	}
}

// TestBooleans: as JSON, Python and C write them.
func TestBooleans(t *testing.T) {
	c := start(t, nil)
	banana := photo(t, "banana.jpg")
	for v, want := range map[string]int{"true": 20, "True": 20, "1": 20, "TRUE": 20, "false": 0, "False": 0, "0": 0, "FALSE": 0} {
		require.Len(t, c.post("/v1/classify?logits="+v, banana).classified(t).Results[0].Logits, want, v)
		body := fmt.Sprintf(`{"image":%s,"logits":%q}`, jsonOf(t, banana), v)
		require.Len(t, c.post("/v1/classify", []byte(body), asJSON...).classified(t).Results[0].Logits, want, v)
	}
	for v, want := range map[string]int{"true": 20, "1": 20, "false": 0, "0": 0} {
		body := fmt.Sprintf(`{"image":%s,"logits":%s}`, jsonOf(t, banana), v)
		require.Len(t, c.post("/v1/classify", []byte(body), asJSON...).classified(t).Results[0].Logits, want, v)
	}
	for _, v := range []string{"null", "2", "[]", `"yes"`, `{}`, "-1", "1.5"} {
		body := fmt.Sprintf(`{"image":%s,"logits":%s}`, jsonOf(t, banana), v)
		require.Equal(t, http.StatusBadRequest, c.post("/v1/classify", []byte(body), asJSON...).status, v)
	}
}

// TestTrailingSlash: a path with a slash at its end is the one without it, and
// no other.
func TestTrailingSlash(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.Keys = []api.Key{{Name: "user", SHA256: api.HashKey("us3r")}}
	})
	key := []string{"X-API-Key", "us3r"}
	banana := photo(t, "banana.jpg")
	for _, path := range []string{"/v1/classify/", "/v1/explain/", "/v1/embed/", "/v1/preprocess/", "/v1/classify/?top_k=1"} {
		require.Equal(t, http.StatusOK, c.post(path, banana, key...).status, path)
		require.Equal(t, http.StatusUnauthorized, c.post(path, banana).status, "%s without a key", path)
	}
	for _, path := range []string{"/v1/models/", "/v1/models/starter/"} {
		require.Equal(t, http.StatusOK, c.get(path, key...).status, path)
		require.Equal(t, http.StatusUnauthorized, c.get(path).status, path)
	}
	for _, path := range []string{"/healthz/", "/readyz/", "/version/", "/openapi.json/", "/docs/"} {
		require.Equal(t, http.StatusOK, c.get(path).status, "%s is open", path)
	}
	for _, path := range []string{"/v1/classify//", "/v1/models/starter%2F", "/v1/models/starter%2f/", "//", "/v1/detect/"} {
		require.Equal(t, http.StatusNotFound, c.get(path, key...).status, path)
	}
}
