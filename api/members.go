package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/vitserve/vitserve/api/op"
)

// json reads a JSON body: pictures, and parameters as members beside them.
func (s *Server) json(r *http.Request, a taker, b *body) ([]op.Picture, error) {
	raw, err := b.read(r.Body, r.ContentLength)
	if err != nil {
		return nil, err
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // which Windows puts first
	// Members and base64 are copies of what was read, and no larger.
	if err := b.charge(2 * int64(len(raw))); err != nil {
		return nil, err
	}
	m := &members{Decoder: json.NewDecoder(bytes.NewReader(raw)), raw: raw, most: s.cfg.MaxImages}
	m.DisallowUnknownFields()
	if t, err := m.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: want a JSON object", errSyntax)
	}
	given := map[string]bool{}
	for m.More() {
		t, err := m.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: JSON: %v", errSyntax, err)
		}
		name, ok := t.(string)
		if !ok || given[name] {
			return nil, fmt.Errorf("%w: JSON: member %s twice", errSyntax, op.Clip(name))
		}
		given[name] = true
		switch name {
		case "images":
			err = m.images()
		case "image":
			err = m.image()
		default:
			var v json.RawMessage
			if err := m.Decode(&v); err != nil {
				return nil, fmt.Errorf("%w: JSON: %v", errSyntax, err)
			}
			err = a.Member(name, v)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := m.Token(); err != nil {
		return nil, fmt.Errorf("%w: JSON: %v", errSyntax, err)
	}
	if _, err := m.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one JSON value", errSyntax)
	}
	return m.ups, nil
}

// members are those of a JSON body, and the pictures among them.
type members struct {
	*json.Decoder
	raw  []byte // what it reads
	most int    // pictures
	ups  []op.Picture
}

// images reads the member images one by one: what an empty one takes in
// memory is many times its two bytes, which is all that the budget knows of.
func (m *members) images() error {
	t, err := m.Token()
	if err == nil && t == nil {
		return nil // null
	}
	if err != nil || t != json.Delim('[') {
		return fmt.Errorf("%w: images, want a JSON array", errSyntax)
	}
	for m.More() {
		if err := m.image(); err != nil {
			return err
		}
	}
	if _, err := m.Token(); err != nil {
		return fmt.Errorf("%w: images: %v", errSyntax, err)
	}
	return nil
}

// image reads a picture: an object, or a text alone. One that is none is an
// error of its own.
func (m *members) image() error {
	if len(m.ups) == m.most {
		if err := noneSound(m.ups); err != nil {
			return err
		}
		return fmt.Errorf("%w: more than %d pictures (max_images)", errTooLarge, m.most)
	}
	var err error
	var p struct {
		Name  string    `json:"name"`
		B64   op.File64 `json:"b64"`
		Image op.File64 `json:"image"` // as b64
		URL   op.File64 `json:"url"`
	}
	switch m.next() {
	case '"':
		err = m.Decode(&p.Image)
	case '{':
		err = m.Decode(&p)
	case 'n': // null
		err = m.Decode(&p)
	default:
		if err = m.Decode(&skipped{}); err == nil {
			err = errors.New("want an object or a text")
		}
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: images: %v", errSyntax, err)
	}
	up := op.Picture{Name: p.Name}
	found := 0
	for _, f := range []*op.File64{&p.B64, &p.Image, &p.URL} {
		if f.Data != nil || f.Address != "" {
			up.Data, up.URL = f.Data, f.Address
			found++
		}
	}
	switch {
	case err != nil:
		up = op.Picture{Name: p.Name, Err: fmt.Errorf("%w: images: number %d: %v", errSyntax, len(m.ups)+1, err)}
	case found != 1:
		up = op.Picture{Name: p.Name, Err: fmt.Errorf("%w: images: number %d, want one of b64 and url", errSyntax, len(m.ups)+1)}
	}
	m.ups = append(m.ups, up)
	return nil
}

// next returns the first character of the value that follows.
func (m *members) next() byte {
	rest := bytes.TrimLeft(m.raw[m.InputOffset():], ", :\t\r\n")
	if len(rest) == 0 {
		return 0
	}
	return rest[0]
}

// skipped is a value that nobody looks at.
type skipped struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (*skipped) UnmarshalJSON([]byte) error { return nil }
