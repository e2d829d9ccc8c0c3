// Package hf speaks the task API of Hugging Face: what InferenceClient of
// huggingface_hub and @huggingface/inference send to a server of one's own. A
// client posts to whatever address it was given, so a model has one by its id
// and one by its id and a task, and the default model has the root.
//
// What is answered is what the pipelines of transformers answer:
// https://huggingface.co/docs/transformers/main_classes/pipelines. Bodies are
// told apart by what they hold, because clients leave Content-Type out.
// Statuses are few, and 503 is said only by a server that ends: the JavaScript
// client asks again at once and without end when it reads 503.
package hf

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
)

// Dialect returns the dialect.
func Dialect() op.Dialect {
	return op.Dialect{
		Name: "hf",
		Routes: []op.Route{
			{Method: http.MethodPost, Path: "/", Handle: func(c op.Call, w http.ResponseWriter, r *http.Request) error {
				return answer(c, w, r, "", "")
			}},
			{Method: http.MethodPost, Path: "/models/*", Handle: func(c op.Call, w http.ResponseWriter, r *http.Request) error {
				id, task, _ := strings.Cut(c.Param("*"), "/pipeline/")
				return answer(c, w, r, id, task)
			}},
			{Method: http.MethodPost, Path: "/pipeline/:task/*", Handle: func(c op.Call, w http.ResponseWriter, r *http.Request) error {
				return answer(c, w, r, c.Param("*"), c.Param("task"))
			}},
		},
		Fail: fail,
	}
}

// answer answers a request to a model, the default one without an id, for a
// task, that which the model is made for without one.
func answer(c op.Call, w http.ResponseWriter, r *http.Request, id, name string) error {
	if name != "" && !known(name) {
		return fmt.Errorf("%w: task %s, want one of %s", op.ErrValue, op.Clip(name), strings.Join(tasks(), ", "))
	}
	b, err := read(c, w, r)
	if err != nil {
		return err
	}
	// A model that comes in seconds is waited for, and not asked for again.
	o := op.Options{Model: id, Wait: true}
	m, err := c.Resident(r.Context(), o)
	if err != nil {
		return err
	}
	if name == "" {
		name = taskOf(m)
	}
	found, err := of(name, m)
	if err != nil {
		return err
	}
	v, err := found.answer(c, r, o, m, b)
	if err != nil {
		return err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("api/hf: encode answer: %w", err)
	}
	return write(w, r, http.StatusOK, text)
}

// failed is an error as clients of both languages read it: they show what
// stands in error, and every other member is a problem's of RFC 9457.
type failed struct {
	Error string `json:"error"`
	v1.Problem
}

// fail answers an error. A model that is loading, or was not there a moment
// ago, is there in seconds: that is 429, which no client repeats by itself.
func fail(w http.ResponseWriter, r *http.Request, f op.Failure) {
	code := f.Kind.Few()
	if f.Kind == op.Unavailable {
		code = http.StatusTooManyRequests
		if f.Ending {
			code = http.StatusServiceUnavailable
			w.Header().Set("Connection", "close")
		}
	}
	text, err := json.Marshal(failed{f.Detail, v1.Problem{
		Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: f.Detail, RequestID: f.RequestID,
	}})
	if err != nil {
		panic(err) // texts and a number
	}
	// Of some statuses huggingface_hub shows what the header says alone.
	w.Header().Set("X-Error-Message", headerOf(f.Detail))
	_ = write(w, r, code, text) // nobody is left who could be told
}

func write(w http.ResponseWriter, r *http.Request, code int, text []byte) error {
	text = append(text, '\n')
	w.Header().Set("Content-Type", "application/json")
	to := op.Fold(w, r, len(text))
	w.WriteHeader(code)
	if _, err := to.Write(text); err != nil {
		return err
	}
	return to.Close()
}

// headerOf is a text as a header may hold it: printable ASCII, and not long.
func headerOf(text string) string {
	const most = 500
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, text)
	return text[:min(len(text), most)]
}
