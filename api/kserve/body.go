package kserve

import (
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

// mostMembers is how many members an object of a request may have; there are
// fewer parameters.
const mostMembers = 64

// read reads {"instances": […], "parameters": {…}}. What is decoded is a copy
// of what was read, and no larger.
func read(c op.Call, r *http.Request) (b body, err error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return b, fmt.Errorf("%w: content coding %s, want identity: send the bytes as they are", op.ErrValue, op.Clip(coding))
	}
	data, err := c.Read(r.Body, r.ContentLength)
	if err != nil {
		return b, err
	}
	if !json.Valid(data) {
		var v any
		return b, unread(json.Unmarshal(data, &v))
	}
	if err := c.Charge(int64(len(data))); err != nil {
		return b, err
	}
	b.parameters = map[string]json.RawMessage{}
	found := false
	err = op.Object(data, mostMembers, func(name string, v []byte) error {
		switch {
		case name == "instances":
			found = true
			return b.instances(v, c.Limits().Images)
		case name == "parameters" && string(v) == "null":
			return nil
		case name == "parameters":
			return op.Object(v, mostMembers, func(name string, v []byte) error { b.parameters[name] = v; return nil })
		}
		return fmt.Errorf("unknown member %s, want instances or parameters", op.Clip(name))
	})
	if err == nil && !found {
		err = errors.New("no member instances, want a list of pictures")
	}
	return b, unread(err)
}

// unread is the error of JSON that was not understood.
func unread(err error) error {
	if err == nil || errors.Is(err, op.ErrTooLarge) {
		return err
	}
	return fmt.Errorf("%w: JSON: %w", op.ErrSyntax, err)
}

// instances reads the pictures, at most so many.
func (b *body) instances(list []byte, most int) error {
	err := op.Array(list, len(list), func(v []byte) error {
		if len(b.pictures) == most {
			return fmt.Errorf("%w: more than %d pictures", op.ErrTooLarge, most)
		}
		p, err := picture(v)
		if err != nil {
			return fmt.Errorf("number %d: %w, want {\"image\": {\"b64\": …}}", len(b.pictures)+1, err)
		}
		b.pictures = append(b.pictures, p)
		return nil
	})
	if err == nil && len(b.pictures) == 0 {
		err = errors.New("an empty list")
	}
	if err != nil {
		return fmt.Errorf("instances: %w", err)
	}
	return nil
}

// names are what the member of an instance that holds its picture is called:
// by people, by TensorFlow Serving and by TorchServe's examples.
var names = []string{"image", "image_bytes", "data"}

// picture reads an instance: a text in base64, {"b64": text}, or an object
// whose only member is one of these under one of names.
func picture(v []byte) (op.Picture, error) {
	for depth := 0; v[0] == '{'; depth++ {
		var inner []byte
		err := op.Object(v, 1, func(name string, v []byte) error {
			inner = v
			if name == "b64" && v[0] == '"' || depth == 0 && slices.Contains(names, name) {
				return nil
			}
			return fmt.Errorf("member %s", op.Clip(name))
		})
		if err == nil && inner == nil {
			err = errors.New("an empty object")
		}
		if err != nil {
			return op.Picture{}, err
		}
		v = inner
	}
	var f op.File64
	if err := f.UnmarshalJSON(v); err != nil {
		return op.Picture{}, err
	}
	if f.Data == nil && f.Address == "" {
		return op.Picture{}, errors.New("no picture")
	}
	return f.Picture(), nil
}
