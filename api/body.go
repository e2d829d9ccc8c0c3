package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
)

// taker takes what stands beside pictures: a field of a form, with all that
// was given for it, or a member of a JSON body.
type taker interface {
	set(name string, vs ...string) error
	member(name string, raw json.RawMessage) error
}

// pictures reads the pictures of a request, and hands what stands beside them
// to a.
func (s *Server) pictures(c *call, a taker) ([]op.Picture, error) {
	r, b := c.c.Request(), &c.body
	if r.ContentLength > s.cfg.MaxBody {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", errTooLarge, r.ContentLength, s.cfg.MaxBody)
	}
	// Pictures are compressed already, and a body that unfolds is a bomb.
	if coding := r.Header.Get(echo.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, fmt.Errorf("%w: %s, want identity: send the bytes as they are", errCoding, clip(coding))
	}
	contentType := r.Header.Get(echo.HeaderContentType)
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil && contentType != "" {
		return nil, fmt.Errorf("%w: content type %s: %v", errSyntax, clip(contentType), err)
	}
	var ups []op.Picture
	switch media {
	case "multipart/form-data":
		ups, err = s.form(r.Body, params["boundary"], a, b)
	case "application/json":
		ups, err = s.json(r, a, b)
	default:
		// Any other type is one picture: what it is is told by its bytes.
		var data []byte
		if data, err = b.read(r.Body, r.ContentLength); err == nil && len(data) == 0 {
			err = fmt.Errorf("%w: no picture in the request", errSyntax)
		}
		ups = []op.Picture{{Data: data}}
	}
	if err != nil {
		return nil, bodyError(r, err)
	}
	if len(ups) == 0 {
		return nil, fmt.Errorf("%w: no picture in the request", errSyntax)
	}
	return ups, nil
}

// bodyError says whose fault it is that a body could not be read.
func bodyError(r *http.Request, err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("%w: more than the limit of %d bytes", errTooLarge, tooLarge.Limit)
	case errors.Is(err, errSlow):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: the request did not arrive in time", errSlow)
	case errors.Is(err, errSyntax), errors.Is(err, errValue), errors.Is(err, errTooLarge), errors.Is(err, errBodies):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		// The sender may have closed its side only, and may still listen.
		return fmt.Errorf("%w: the body ends too early", errSyntax)
	case r.Context().Err() != nil:
		return fmt.Errorf("%w: %w", errClientGone, err)
	}
	// What is left are malformed bodies.
	return fmt.Errorf("%w: body: %v", errSyntax, err)
}

// form reads a multipart form as it arrives: files are pictures under any
// field name, other fields are parameters.
func (s *Server) form(from io.Reader, boundary string, a taker, b *body) ([]op.Picture, error) {
	const longest = 4 << 10 // of a parameter
	if boundary == "" {
		return nil, fmt.Errorf("%w: multipart without a boundary", errSyntax)
	}
	var ups []op.Picture
	given := map[string][]string{}
	heads := &arrivals{r: from, b: b}
	r := multipart.NewReader(heads, boundary)
	for {
		heads.on = true
		part, err := r.NextPart()
		// Wrapped, the end of the body is one in the midst of a part.
		if errors.Is(err, io.EOF) && errors.Unwrap(err) == nil {
			return ups, nil
		}
		if err != nil {
			return nil, err
		}
		if err := heads.settle(int64(len(part.FileName()))); err != nil {
			return nil, err
		}
		name := part.FormName()
		if part.FileName() == "" && part.Header.Get(echo.HeaderContentType) == "" && name != "file" {
			v, err := b.read(io.LimitReader(part, longest+1), -1)
			if err != nil {
				return nil, err
			}
			if len(v) > longest {
				return nil, fmt.Errorf("%w: field %s is longer than %d bytes", errSyntax, clip(name), longest)
			}
			given[name] = append(given[name], string(v))
			if err := a.set(name, given[name]...); err != nil {
				return nil, err
			}
			continue
		}
		if len(ups) == s.cfg.MaxImages {
			return nil, fmt.Errorf("%w: more than %d pictures", errTooLarge, s.cfg.MaxImages)
		}
		data, err := b.read(part, -1)
		if err != nil {
			return nil, err
		}
		ups = append(ups, op.Picture{Name: part.FileName(), Data: data})
	}
}

// json reads a JSON body: images, and parameters as members beside them.
func (s *Server) json(r *http.Request, a taker, b *body) ([]op.Picture, error) {
	raw, err := b.read(r.Body, r.ContentLength)
	if err != nil {
		return nil, err
	}
	// Members and base64 are copies of what was read, and no larger.
	if err := b.charge(2 * int64(len(raw))); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: want a JSON object", errSyntax)
	}
	var ups []op.Picture
	given := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: JSON: %v", errSyntax, err)
		}
		name, ok := t.(string)
		if !ok || given[name] {
			return nil, fmt.Errorf("%w: JSON: member %s twice", errSyntax, clip(name))
		}
		given[name] = true
		if name == "images" {
			if ups, err = s.jsonImages(dec); err != nil {
				return nil, err
			}
			continue
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, fmt.Errorf("%w: JSON: %v", errSyntax, err)
		}
		if err := a.member(name, v); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: JSON: %v", errSyntax, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: more than one JSON value", errSyntax)
	}
	return ups, nil
}

// jsonImages reads the member images one by one: what an empty one takes in
// memory is many times its two bytes, which is all that the budget knows of.
func (s *Server) jsonImages(dec *json.Decoder) ([]op.Picture, error) {
	t, err := dec.Token()
	if err == nil && t == nil {
		return nil, nil // null
	}
	if err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("%w: images, want a JSON array", errSyntax)
	}
	var ups []op.Picture
	for dec.More() {
		if len(ups) == s.cfg.MaxImages {
			return nil, fmt.Errorf("%w: more than %d pictures", errTooLarge, s.cfg.MaxImages)
		}
		var m v1.Image
		if err := dec.Decode(&m); err != nil {
			return nil, fmt.Errorf("%w: images: %v", errSyntax, err)
		}
		if (len(m.B64) == 0) == (m.URL == "") {
			return nil, fmt.Errorf("%w: images: number %d, want one of b64 and url", errSyntax, len(ups)+1)
		}
		ups = append(ups, op.Picture{Name: m.Name, Data: m.B64, URL: m.URL})
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: images: %v", errSyntax, err)
	}
	return ups, nil
}
