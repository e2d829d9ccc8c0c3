package kserve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/api/op"
)

// body is what was sent.
type body struct {
	pictures   []op.Picture
	parameters map[string]json.RawMessage
}

// read reads {"instances": […], "parameters": {…}}. Members, and what is
// decoded, are copies of what was read, and no larger.
func read(c op.Call, r *http.Request) (b body, err error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return b, fmt.Errorf("%w: content coding %s, want identity: send the bytes as they are", op.ErrValue, op.Clip(coding))
	}
	data, err := c.Read(r.Body, r.ContentLength)
	if err != nil {
		return b, err
	}
	if err := c.Charge(2 * int64(len(data))); err != nil {
		return b, err
	}
	b.parameters = map[string]json.RawMessage{}
	found := false
	err = op.Object(data, func(name string, v json.RawMessage) error {
		switch name {
		case "instances":
			found = true
			return b.instances(v, c.Limits().Images)
		case "parameters":
			return op.Object(v, func(name string, v json.RawMessage) error { b.parameters[name] = v; return nil })
		}
		return fmt.Errorf("%w: unknown member %s, want instances or parameters", op.ErrSyntax, op.Clip(name))
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: no member instances, want a list of pictures", op.ErrSyntax)
	}
	return b, err
}

// instances reads the pictures, at most so many.
func (b *body) instances(list []byte, most int) error {
	d := json.NewDecoder(bytes.NewReader(list))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return fmt.Errorf("%w: instances, want a list", op.ErrSyntax)
	}
	for d.More() {
		if len(b.pictures) == most {
			return fmt.Errorf("%w: more than %d pictures", op.ErrTooLarge, most)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("%w: instances: %v", op.ErrSyntax, err)
		}
		p, err := picture(v)
		if err != nil {
			return fmt.Errorf("%w: instances[%d]: %v, want {\"image\": {\"b64\": …}}", op.ErrSyntax, len(b.pictures), err)
		}
		b.pictures = append(b.pictures, p)
	}
	if len(b.pictures) == 0 {
		return fmt.Errorf("%w: instances is empty", op.ErrSyntax)
	}
	return nil
}

// names are what the member of an instance that holds its picture is called:
// by people, by TensorFlow Serving and by TorchServe's examples.
var names = []string{"image", "image_bytes", "data"}

// picture reads an instance: a text in base64, {"b64": text}, or an object
// whose only member is one of these under one of names.
func picture(v json.RawMessage) (op.Picture, error) {
	var f op.File64
	depth := 0
	for v[0] == '{' {
		var inner json.RawMessage
		var called string
		err := op.Object(v, func(name string, v json.RawMessage) error {
			if inner != nil {
				return fmt.Errorf("members %s and %s", op.Clip(called), op.Clip(name))
			}
			inner, called = v, name
			return nil
		})
		switch {
		case err != nil:
			return op.Picture{}, err
		case inner == nil:
			return op.Picture{}, errors.New("an empty object")
		case called == "b64" && inner[0] == '"':
		case depth > 0 || !slices.Contains(names, called):
			return op.Picture{}, fmt.Errorf("member %s", op.Clip(called))
		}
		v = inner
		depth++
	}
	if err := f.UnmarshalJSON(v); err != nil {
		return op.Picture{}, err
	}
	if f.Data == nil && f.Address == "" {
		return op.Picture{}, errors.New("no picture")
	}
	return f.Picture(), nil
}
