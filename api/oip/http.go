package oip

import (
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/vitserve/vitserve/api/op"
)

// headLength is how many bytes of a body are JSON, before tensors in binary. It
// counts what a coding of the whole body unfolds to.
//
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
const headLength = "Inference-Header-Content-Length"

// inferHTTP answers POST …/infer.
func (d *dialect) inferHTTP(c op.Call, w http.ResponseWriter, r *http.Request) error {
	model, version := name(c)
	body, err := readBody(c, r)
	if err != nil {
		return err
	}
	ask, err := parse(body, r.Header.Get(headLength))
	if err != nil {
		return err
	}
	ask.model, ask.version = model, version
	a, err := d.infer(r.Context(), c, ask)
	if err != nil {
		return err
	}
	return sendAnswer(c, w, r, a)
}

// readBody reads a body to its end, unfolded: what it unfolds to is held to the
// limit of a body, and counted as it grows.
func readBody(c op.Call, r *http.Request) ([]byte, error) {
	most := c.Limits().Body
	if r.ContentLength > most {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", op.ErrTooLarge, r.ContentLength, most)
	}
	coding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	var unfold io.Reader
	var err error
	switch coding {
	case "", "identity":
		return c.Read(r.Body, r.ContentLength)
	case "gzip", "x-gzip":
		unfold, err = gzip.NewReader(r.Body)
	case "deflate": // which is zlib's format: RFC 9110, 8.4.1.2
		unfold, err = zlib.NewReader(r.Body)
	default:
		return nil, syntax("content coding %s, want gzip, deflate or identity", op.Clip(coding))
	}
	if err != nil {
		return nil, syntax("content coding %s: %v", coding, err)
	}
	b, err := c.Read(io.LimitReader(unfold, most+1), -1)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%w: the body unfolds to more than the limit of %d bytes", op.ErrTooLarge, most)
	}
	return b, nil
}

// answerHead is the JSON of an answer.
type answerHead struct {
	Model   string       `json:"model_name"`
	Version string       `json:"model_version"`
	ID      string       `json:"id,omitempty"`
	Outputs []outputHead `json:"outputs"`
}

type outputHead struct {
	Name       string          `json:"name"`
	Datatype   string          `json:"datatype"`
	Shape      []int           `json:"shape"`
	Parameters map[string]int  `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

// sendAnswer writes an answer: JSON, and behind it what is wanted in binary.
func sendAnswer(c op.Call, w http.ResponseWriter, r *http.Request, a *response) error {
	head := answerHead{Model: a.model.name(), Version: version, ID: a.id}
	blobs := 0
	for _, o := range a.outputs {
		// About as much as the values of o take, as text or in binary.
		if err := c.Take(int64(o.size(!o.binary))); err != nil {
			return err
		}
		h := outputHead{Name: o.name, Datatype: o.datatype, Shape: o.shape}
		if o.binary {
			blobs += o.size(false)
			h.Parameters = map[string]int{"binary_data_size": o.size(false)}
		} else {
			var err error
			if h.Data, err = o.json(); err != nil {
				return err
			}
		}
		head.Outputs = append(head.Outputs, h)
	}
	b, err := json.Marshal(head)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if blobs > 0 {
		h.Set("Content-Type", "application/octet-stream")
		h.Set(headLength, strconv.Itoa(len(b)))
	}
	length := len(b) + blobs
	to := op.Fold(w, r, length)
	if _, err := to.Write(b); err != nil {
		return err
	}
	for _, o := range a.outputs {
		if o.binary {
			if _, err := to.Write(o.binaryData()); err != nil {
				return err
			}
		}
	}
	return to.Close()
}
