package words

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPlain(t *testing.T) {
	_, number := strconv.Atoi("x")
	_, large := strconv.ParseInt("99999999999999999999", 10, 64)
	var to struct {
		TopK int `json:"top_k"`
	}
	for text, want := range map[string]string{
		"patch: decode jpeg: cut off":                         "decode jpeg: cut off",
		"class: models: no such class: \"api: x\"":            `class: no such class: "api: x"`,
		"a.yaml: api: yaml: line 3: found character":          "a.yaml: line 3: found character",
		"api: one\nmodels: two":                               "one\ntwo",
		`"patch: quoted \" api: " is left`:                    `"patch: quoted \" api: " is left`,
		"the models: of users":                                "the models: of users",
		number.Error():                                        `"x" is no number`,
		large.Error():                                         `"99999999999999999999" is too large`,
		json.Unmarshal([]byte(`{"top_k":"x"}`), &to).Error():  "top_k is a text, want a whole number",
		json.Unmarshal([]byte(`[1]`), &to).Error():            "a list, want an object",
		"line 2: cannot unmarshal !!str `abc` into int":       "line 2: abc, want a whole number",
		"line 2: cannot unmarshal !!seq into float64":         "line 2: a list, want a number",
		"line 2: cannot unmarshal !!map into []api.Key":       "line 2: an object, want a list",
		fmt.Sprint(errors.Join(number, errors.New("vit: x"))): "\"x\" is no number\nx",
	} {
		require.Equal(t, want, PlainText(text), text)
	}
}

// TestPlainTwice: what is plain stays as it is.
func TestPlainTwice(t *testing.T) {
	part := rapid.SampledFrom([]string{"api: ", "patch: ", "models: ", `"api: x"`, "x", ": ", "\n", "strconv.Atoi: parsing \"a\": invalid syntax", `"`, `\`})
	rapid.Check(t, func(rt *rapid.T) {
		text := ""
		for _, p := range rapid.SliceOf(part).Draw(rt, "parts") {
			text += p
		}
		once := PlainText(text)
		if regexp.MustCompile(`"`).FindAllString(text, -1) == nil {
			require.Equal(rt, once, PlainText(once))
		}
	})
}

func TestNearest(t *testing.T) {
	names := []string{"max_batch", "max_queue", "models", "addr", "top", "top-k", "legrad", "gradcam", "tiger cat", "o"}
	for found, want := range map[string]string{
		"max_batches": "max_batch", "maxbatch": "max_batch", "max-queue": "max_queue", "modles": "models", "model": "models", "tpo": "top", "topk": "top-k",
		"grad-cam": "gradcam", "legard": "legrad", "Tiger_Cat": "tiger cat", "address": "", "x": "", "": "", "zebra": "", "q": "",
	} {
		require.Equal(t, want, Nearest(found, names...), found)
	}
	require.Equal(t, ", did you mean top?", DidYouMean("tpo", names...))
	require.Empty(t, DidYouMean("zebra", names...))
	require.Empty(t, Nearest(string(make([]byte, 1<<20)), names...))
}
