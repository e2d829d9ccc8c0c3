package hf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/vitserve/vitserve/api/op"
)

// body is what was sent: pictures, and what is asked of them.
type body struct {
	pictures []op.Picture
	list     bool                       // of pictures, so that a list is answered
	given    map[string]json.RawMessage // parameters
	root     map[string]json.RawMessage // members beside inputs, parameters and options
}

// read reads a request. It is JSON where the type says so, or where no type
// that means anything does and it begins as an object; a text that is base64 or
// a data: URL is a picture, and so is everything else.
func read(c op.Call, w http.ResponseWriter, r *http.Request) (body, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
		return body{}, fmt.Errorf("%w: content coding %s, want identity: send the bytes as they are", op.ErrValue, op.Clip(coding))
	}
	said := r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(said)
	if err != nil && said != "" {
		return body{}, fmt.Errorf("%w: content type %s: %v", op.ErrSyntax, op.Clip(said), err)
	}
	if strings.HasPrefix(media, "multipart/") {
		return body{}, fmt.Errorf("%w: content type %s, want a picture's bytes, or JSON with the picture in base64 as inputs; /v1/classify takes forms", op.ErrSyntax, media)
	}
	data, err := c.Read(r.Body, r.ContentLength)
	if err != nil {
		return body{}, err
	}
	text := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(text) == 0:
		return body{}, fmt.Errorf("%w: no picture in the request", op.ErrSyntax)
	case media == "application/json", vague(media) && text[0] == '{':
		return readJSON(c, data)
	case !written(text):
		return body{pictures: []op.Picture{{Data: data}}}, nil
	}
	if err := c.Charge(int64(len(text))); err != nil {
		return body{}, err
	}
	var f op.File64
	if err := f.UnmarshalText(bytes.TrimRight(text, " \t\r\n")); err != nil {
		return body{}, fmt.Errorf("%w: a text that is no picture: %v", op.ErrSyntax, err)
	}
	return body{pictures: []op.Picture{f.Picture()}}, nil
}

// vague reports whether a content type is what clients say when they say
// nothing: curl's default of -d and --data-binary is a form's.
func vague(media string) bool {
	switch media {
	case "", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream":
		return true
	}
	return false
}

// written reports whether a picture is written as text. No format of pictures
// begins with so many characters that base64 or a data: URL may have.
func written(data []byte) bool {
	const enough = 64
	return !bytes.ContainsFunc(data[:min(len(data), enough)], func(c rune) bool {
		return c > '~' || c < ' ' && c != '\t' && c != '\r' && c != '\n'
	})
}

// mostMembers is how many members an object of a request may have. No task has
// so many parameters.
const mostMembers = 64

// unread is the error of JSON that was not understood.
func unread(err error) error {
	if err == nil || errors.Is(err, op.ErrSyntax) || errors.Is(err, op.ErrTooLarge) {
		return err
	}
	return fmt.Errorf("%w: JSON: %w", op.ErrSyntax, err)
}

// readJSON reads {"inputs": …, "parameters": {…}, "options": {…}} and what
// stands beside them. What is decoded is a copy of what was read, and no
// larger.
func readJSON(c op.Call, data []byte) (b body, err error) {
	if !json.Valid(data) {
		var v any
		return b, unread(json.Unmarshal(data, &v))
	}
	if err := c.Charge(int64(len(data))); err != nil {
		return b, err
	}
	b.root, b.given = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	var inputs []byte
	err = op.Object(data, mostMembers, func(name string, v []byte) error {
		switch name {
		case "inputs":
			inputs = v
		case "parameters":
			return members(name, v, func(name string, v []byte) error { b.given[name] = v; return nil })
		case "options": // wait_for_model and use_cache, of the hosted API
			return members(name, v, func(string, []byte) error { return nil })
		default:
			b.root[name] = v
		}
		return nil
	})
	if err != nil {
		return b, unread(err)
	}
	if inputs == nil || string(inputs) == "null" {
		return b, fmt.Errorf("%w: no member inputs, want a picture in base64", op.ErrSyntax)
	}
	if inputs[0] != '[' {
		p, err := picture("inputs", inputs)
		b.pictures = []op.Picture{p}
		return b, err
	}
	b.list = true
	most := c.Limits().Images
	err = op.Array(inputs, len(inputs), func(v []byte) error {
		if len(b.pictures) == most {
			return fmt.Errorf("%w: more than %d pictures", op.ErrTooLarge, most)
		}
		p, err := picture(fmt.Sprintf("inputs[%d]", len(b.pictures)), v)
		b.pictures = append(b.pictures, p)
		return err
	})
	if err == nil && len(b.pictures) == 0 {
		err = fmt.Errorf("%w: inputs is an empty list, want pictures in base64", op.ErrSyntax)
	}
	return b, unread(err)
}

// members hands on those of an object that may be null.
func members(name string, v []byte, each func(name string, v []byte) error) error {
	if string(v) == "null" {
		return nil
	}
	if err := op.Object(v, mostMembers, each); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// picture reads one of inputs: a text, or an object whose image is one.
func picture(name string, v []byte) (op.Picture, error) {
	var f op.File64
	var err error
	if v[0] == '{' {
		err = op.Object(v, mostMembers, func(member string, v []byte) error {
			if member != "image" {
				return fmt.Errorf("member %s, want image", op.Clip(member))
			}
			return f.UnmarshalJSON(v)
		})
	} else {
		err = f.UnmarshalJSON(v)
	}
	if err == nil && f.Data == nil && f.Address == "" {
		err = errors.New("no picture")
	}
	if err != nil {
		return op.Picture{}, fmt.Errorf("%w: %s: %w, want a picture in base64", op.ErrSyntax, name, err)
	}
	return f.Picture(), nil
}
