package api

import (
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
)

// taker takes what stands beside pictures: a field of a form, with all that
// was given for it, or a member of a JSON body.
type taker interface {
	Set(name string, vs ...string) error
	Member(name string, raw json.RawMessage) error
	Takes(name string) bool // whether it is the name of a parameter
}

// pictures reads the pictures of a request, and hands what stands beside them
// to a.
func (s *Server) pictures(c *call, a taker) ([]op.Picture, error) {
	r, b := c.c.Request(), &c.body
	if r.ContentLength > s.cfg.MaxBody {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d (max_body)", errTooLarge, r.ContentLength, s.cfg.MaxBody)
	}
	// Pictures are compressed already, and a body that unfolds is a bomb.
	if coding := r.Header.Get(echo.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, fmt.Errorf("%w: %s, want identity: send the bytes as they are", errCoding, op.Clip(coding))
	}
	contentType := r.Header.Get(echo.HeaderContentType)
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil && contentType != "" {
		return nil, fmt.Errorf("%w: content type %s: %v", errSyntax, op.Clip(contentType), err)
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
	if len(ups) == 1 && ups[0].Err != nil {
		return nil, ups[0].Err
	}
	return ups, nil
}

// noneSound is the first error of pictures that are all broken.
func noneSound(ups []op.Picture) error {
	for _, p := range ups {
		if p.Err == nil {
			return nil
		}
	}
	return ups[0].Err
}

// bodyError says whose fault it is that a body could not be read.
func bodyError(r *http.Request, err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("%w: more than the limit of %d bytes (max_body)", errTooLarge, tooLarge.Limit)
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
		if isText(part, a) {
			v, err := b.read(io.LimitReader(part, longest+1), -1)
			if err != nil {
				return nil, err
			}
			if len(v) > longest {
				return nil, fmt.Errorf("%w: field %s is longer than %d bytes", errSyntax, op.Clip(name), longest)
			}
			given[name] = append(given[name], textOf(part, v))
			if err := a.Set(name, given[name]...); err != nil {
				return nil, err
			}
			continue
		}
		if len(ups) == s.cfg.MaxImages {
			return nil, fmt.Errorf("%w: more than %d pictures (max_images)", errTooLarge, s.cfg.MaxImages)
		}
		data, err := b.read(part, -1)
		if err != nil {
			return nil, err
		}
		ups = append(ups, op.Picture{Name: part.FileName(), Data: data})
	}
}

// isText reports whether a part of a form is a parameter. Clients say a type
// of every part, or of none: what has no file name is a picture where it is
// called file, or is of a type that no text has and of no parameter's name.
func isText(part *multipart.Part, a taker) bool {
	name, media := part.FormName(), mediaOf(part)
	switch {
	case part.FileName() != "":
		return false
	case a.Takes(name) || media == "":
		return name != "file"
	}
	return name != "file" && (strings.HasPrefix(media, "text/") || media == echo.MIMEApplicationJSON)
}

// mediaOf returns the type of a part, without its parameters; "": none is said.
func mediaOf(part *multipart.Part) string {
	media, _, _ := strings.Cut(part.Header.Get(echo.HeaderContentType), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// textOf is the value of a field. Of JSON, a text is what stands in its quotes.
func textOf(part *multipart.Part, v []byte) string {
	var text string
	if mediaOf(part) == echo.MIMEApplicationJSON && json.Unmarshal(v, &text) == nil {
		return text
	}
	return string(v)
}
