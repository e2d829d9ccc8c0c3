// Package kserve speaks version 1 of KServe's protocol, which is that of
// TensorFlow Serving: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol.
// A model is asked at /v1/models/{id}:predict and :explain, beside the routes
// of the server's own /v1 whose addresses are the same. What those answer
// otherwise than the protocol stands under the prefix /kserve, with all of the
// protocol beside it: a client is given that as its base URL.
package kserve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
)

const prefix = "/kserve"

// Dialect returns the dialect.
func Dialect() op.Dialect {
	return op.Dialect{
		Name: "kserve",
		Routes: []op.Route{
			{Method: http.MethodGet, Path: "/", Open: true, Handle: alive},
			{Method: http.MethodPost, Path: "/v1/models/:id", Handle: verb},
			{Method: http.MethodGet, Path: prefix, Open: true, Handle: alive},
			{Method: http.MethodGet, Path: prefix + "/v1/models", Handle: list},
			{Method: http.MethodGet, Path: prefix + "/v1/models/:id", Handle: ready},
			{Method: http.MethodPost, Path: prefix + "/v1/models/:id", Handle: verb},
		},
		Fail: fail,
	}
}

func alive(_ op.Call, w http.ResponseWriter, r *http.Request) error {
	return write(w, r, http.StatusOK, struct {
		Status string `json:"status"`
	}{"alive"})
}

func list(c op.Call, w http.ResponseWriter, r *http.Request) error {
	names := []string{}
	for _, m := range c.Models() {
		names = append(names, m.ID)
	}
	return write(w, r, http.StatusOK, struct {
		Models []string `json:"models"`
	}{names})
}

// ready says whether a model is in memory; one that is not is 503.
func ready(c op.Call, w http.ResponseWriter, r *http.Request) error {
	m, err := c.Model(c.Param("id"))
	if err != nil {
		return err
	}
	code := http.StatusOK
	if m.State != v1.Ready {
		code = http.StatusServiceUnavailable
	}
	return write(w, r, code, struct {
		Name  string `json:"name"`
		Ready bool   `json:"ready"`
	}{m.ID, m.State == v1.Ready})
}

// verb answers a request to do something with a model.
func verb(c op.Call, w http.ResponseWriter, r *http.Request) error {
	param := c.Param("id")
	at := strings.LastIndexByte(param, ':')
	if at < 0 {
		w.Header().Set("Allow", "GET, HEAD")
		return op.ErrMethod
	}
	id, name := param[:at], param[at+1:]
	var answer func(op.Call, *http.Request, string, body) (any, error)
	switch name {
	case "predict":
		answer = predict
	case "explain":
		answer = explain
	default:
		return fmt.Errorf("%w: %s, want :predict or :explain of a model", op.ErrNotFound, op.Clip(":"+name))
	}
	b, err := read(c, r)
	if err != nil {
		return err
	}
	v, err := answer(c, r, id, b)
	if err != nil {
		return err
	}
	return write(w, r, http.StatusOK, v)
}

// failed is an error as KServe's clients read it, with a problem's members.
type failed struct {
	Error string `json:"error"`
	v1.Problem
}

// fail answers an error.
func fail(w http.ResponseWriter, r *http.Request, f op.Failure) {
	code := f.Kind.Few()
	_ = write(w, r, code, failed{f.Detail, v1.Problem{
		Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: f.Detail, RequestID: f.RequestID,
	}}) // nobody is left who could be told
}

func write(w http.ResponseWriter, r *http.Request, code int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("api/kserve: encode answer: %w", err)
	}
	text = append(text, '\n')
	w.Header().Set("Content-Type", "application/json")
	to := op.Fold(w, r, len(text))
	w.WriteHeader(code)
	if _, err := to.Write(text); err != nil {
		return err
	}
	return to.Close()
}
