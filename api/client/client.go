// Package client asks a vitserve server.
//
//	c, err := client.New("http://127.0.0.1:8080", client.Options{})
//	answer, err := c.Classify(ctx, client.Params{"top_k": {"3"}}, client.Picture{Name: "cat.jpg", Data: data})
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "github.com/vitserve/vitserve/api/v1"
)

// Options configure a Client. The zero value is the default.
type Options struct {
	Key     string       // API key; "": none
	HTTP    *http.Client // nil: http.DefaultClient
	Retries int          // times that 429 and 503 are tried again, after the time the server says; 0: not at all
}

// Client asks one server. It is safe for use by several goroutines.
type Client struct {
	base *url.URL
	o    Options
}

// New returns a client of the server at an address such as
// "http://127.0.0.1:8080".
func New(base string, o Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("client: address %q, want http://host:port", base)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	return &Client{base: u, o: o}, nil
}

// Params are the parameters of a request by their names in the contract:
// "model", "top_k", "method". Those that ask for several maps, "class" and
// "queries", may have several values.
type Params = url.Values

// Picture is a picture to be looked at.
type Picture struct {
	Name string // repeated in the answer
	Data []byte // the file as it is
}

// Error is what a server answers in place of an answer.
type Error struct {
	v1.Problem
	RetryAfter time.Duration // 0: trying again is not worth it
}

// Error says what the server said.
func (e *Error) Error() string {
	return fmt.Sprintf("client: %d %s: %s", e.Status, e.Title, e.Detail)
}

// Classify names what is in pictures. A broken picture among many is the
// Error of its own result; anything else is an *Error, or what net/http says.
func (c *Client) Classify(ctx context.Context, p Params, pictures ...Picture) (*v1.ClassifyAnswer, error) {
	a := &v1.ClassifyAnswer{}
	return a, c.ask(ctx, "/v1/classify", p, pictures, a)
}

// Explain tells where the model looked in pictures.
func (c *Client) Explain(ctx context.Context, p Params, pictures ...Picture) (*v1.ExplainAnswer, error) {
	a := &v1.ExplainAnswer{}
	return a, c.ask(ctx, "/v1/explain", p, pictures, a)
}

// ExplainAs explains one picture in a format other than JSON: "png" or "jpeg"
// of the picture that the parameters name, an overlay if none, or "npy" of
// values.
func (c *Client) ExplainAs(ctx context.Context, format string, p Params, picture Picture) ([]byte, error) {
	return c.file(ctx, "/v1/explain", format, p, picture)
}

// Embed returns what the model makes of pictures, before its head.
func (c *Client) Embed(ctx context.Context, p Params, pictures ...Picture) (*v1.EmbedAnswer, error) {
	a := &v1.EmbedAnswer{}
	return a, c.ask(ctx, "/v1/embed", p, pictures, a)
}

// EmbedNpy is Embed of one picture as a NumPy file.
func (c *Client) EmbedNpy(ctx context.Context, p Params, picture Picture) ([]byte, error) {
	return c.file(ctx, "/v1/embed", "npy", p, picture)
}

// Preprocess tells how pictures become the model's input.
func (c *Client) Preprocess(ctx context.Context, p Params, pictures ...Picture) (*v1.PreprocessAnswer, error) {
	a := &v1.PreprocessAnswer{}
	return a, c.ask(ctx, "/v1/preprocess", p, pictures, a)
}

// PreprocessNpy returns that input, of one picture, as a NumPy file.
func (c *Client) PreprocessNpy(ctx context.Context, p Params, picture Picture) ([]byte, error) {
	return c.file(ctx, "/v1/preprocess", "npy", p, picture)
}

// Corrupt returns a picture as a corruption of ImageNet-C leaves it, as "png" or
// "jpeg"; the parameters name the corruption and its severity.
func (c *Client) Corrupt(ctx context.Context, format string, p Params, picture Picture) ([]byte, error) {
	return c.file(ctx, "/v1/corrupt", format, p, picture)
}

// Models describes the models of the server, the default first.
func (c *Client) Models(ctx context.Context) ([]v1.Model, error) {
	var l v1.ModelList
	err := c.call(ctx, http.MethodGet, "/v1/models", &l)
	return l.Models, err
}

// Model describes a model, with its labels.
func (c *Client) Model(ctx context.Context, id string) (*v1.Model, error) {
	m := &v1.Model{}
	return m, c.call(ctx, http.MethodGet, "/v1/models/"+url.PathEscape(id), m)
}

// Load loads a model, or loads it anew from its files.
func (c *Client) Load(ctx context.Context, id string) (*v1.Model, error) {
	m := &v1.Model{}
	return m, c.call(ctx, http.MethodPost, "/v1/models/"+url.PathEscape(id)+"/load", m)
}

// Unload takes a model out of memory.
func (c *Client) Unload(ctx context.Context, id string) (*v1.Model, error) {
	m := &v1.Model{}
	return m, c.call(ctx, http.MethodPost, "/v1/models/"+url.PathEscape(id)+"/unload", m)
}

// Ready reports whether the server welcomes requests; the error says why not.
func (c *Client) Ready(ctx context.Context) error {
	var s v1.Status
	return c.call(ctx, http.MethodGet, "/readyz", &s)
}

func (c *Client) ask(ctx context.Context, path string, p Params, pictures []Picture, answer any) error {
	b, err := c.post(ctx, path, p, pictures, "application/json")
	if err != nil {
		return err
	}
	return unmarshal(path, b, answer)
}

// file asks about one picture and returns what is sent by itself.
func (c *Client) file(ctx context.Context, path, format string, p Params, picture Picture) ([]byte, error) {
	q := maps.Clone(p)
	if q == nil {
		q = Params{}
	}
	q.Set("format", format)
	return c.post(ctx, path, q, []Picture{picture}, "*/*")
}

func (c *Client) call(ctx context.Context, method, path string, answer any) error {
	b, err := c.do(ctx, method, path, nil, nil, "", "application/json")
	if err != nil {
		return err
	}
	return unmarshal(path, b, answer)
}

func unmarshal(path string, b []byte, answer any) error {
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("client: answer of %s: %w", path, err)
	}
	return nil
}

// post sends pictures as a form, so that their names travel along.
func (c *Client) post(ctx context.Context, path string, p Params, pictures []Picture, accept string) ([]byte, error) {
	if len(pictures) == 0 {
		return nil, errors.New("client: no picture")
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, pic := range pictures {
		name := pic.Name
		if name == "" {
			name = "picture"
		}
		part, err := w.CreateFormFile("file", name)
		if err == nil {
			_, err = part.Write(pic.Data)
		}
		if err != nil {
			return nil, fmt.Errorf("client: form: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("client: form: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, p, body.Bytes(), w.FormDataContentType(), accept)
}

// do sends a request, again where the server says that this is worth it.
func (c *Client) do(ctx context.Context, method, path string, p Params, body []byte, contentType, accept string) ([]byte, error) {
	u := *c.base
	u.Path += path
	u.RawQuery = p.Encode()
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		req.Header.Set("Accept", accept)
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		if c.o.Key != "" {
			req.Header.Set("Authorization", "Bearer "+c.o.Key)
		}
		b, err := c.once(req)
		var e *Error
		if err == nil || !errors.As(err, &e) || e.RetryAfter == 0 || try >= c.o.Retries {
			return b, err
		}
		wait := time.NewTimer(e.RetryAfter)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

func (c *Client) once(req *http.Request) ([]byte, error) {
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("client: read answer: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return b, nil
	}
	e := &Error{}
	if err := json.Unmarshal(b, &e.Problem); err != nil || e.Status != resp.StatusCode {
		// Not vitserve: a proxy, or something else at this address.
		e.Problem = v1.Problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode), Detail: string(b[:min(len(b), 200)])}
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return nil, e
}
