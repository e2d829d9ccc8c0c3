package api

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/patch"
)

// What answers are sent as.
const (
	formatJSON = "json"
	formatPNG  = "png"
	formatJPEG = "jpeg"
	formatNpy  = "npy"
)

// media are the formats and their media types, the first of each being what
// is sent.
var media = []struct {
	format string
	types  []string
}{
	{formatJSON, []string{echo.MIMEApplicationJSON}},
	{formatPNG, []string{string(v1.ImagePng)}},
	{formatJPEG, []string{string(v1.ImageJpeg)}},
	{formatNpy, []string{"application/x-npy", echo.MIMEOctetStream}},
}

// formats returns what a route may send, the default first: where nothing is
// drawn, numbers.
func (r route) formats() []string {
	if r != toExplain {
		return []string{formatJSON, formatNpy}
	}
	var names []string
	for _, m := range media {
		names = append(names, m.format)
	}
	return names
}

// types returns the media types of a format.
func types(format string) []string {
	for _, m := range media {
		if m.format == format {
			return m.types
		}
	}
	panic("api: format " + format)
}

// sending is how an answer is sent. What the sender left open is empty until
// decide.
type sending struct {
	format  string
	picture focus.Picture // "": none
	values  string        // of a NumPy file
	quality int           // of JPEG; 0: the default
	named   bool          // by a parameter, and not by Accept alone
}

// decide fills in what the sender left open, by the Accept header of the
// request and by what was asked for.
func (w *sending) decide(accept string, r route) error {
	w.named = w.format != "" || w.picture != "" || w.values != "" || w.quality > 0
	if r != toExplain {
		return w.choose(accept, r.formats())
	}
	if w.quality > 0 && w.picture == "" {
		w.picture = focus.OverlayPicture
	}
	var offers []string // the preferred first
	switch {
	case w.picture != "" && w.values != "":
		return fmt.Errorf("%w: picture with values, want one of them", errValue)
	case w.values == focus.ValuesAttention:
		offers = []string{formatNpy}
	case w.values == focus.ValuesMap:
		offers = []string{formatNpy, formatJSON}
	case w.quality > 0:
		offers = []string{formatJPEG, formatJSON}
	case w.picture != "":
		offers = []string{formatPNG, formatJPEG, formatJSON}
	default:
		offers = r.formats()
	}
	if err := w.choose(accept, offers); err != nil {
		return err
	}
	switch {
	case w.format == formatNpy && w.values == "":
		w.values = focus.ValuesMap
	case (w.format == formatPNG || w.format == formatJPEG) && w.picture == "":
		w.picture = focus.OverlayPicture
	}
	return nil
}

// choose decides on one of the formats that are offered, the preferred first.
func (w *sending) choose(accept string, offers []string) error {
	switch {
	case w.format == "":
		if w.format = negotiate(accept, offers); w.format == "" {
			var allowed []string
			for _, o := range offers {
				allowed = append(allowed, types(o)[0])
			}
			return fmt.Errorf("%w: %s, want %s", errAccept, clip(accept), strings.Join(allowed, ", "))
		}
	case !slices.Contains(offers, w.format):
		return fmt.Errorf("%w: format %s of what is asked for, want %s", errValue, w.format, strings.Join(offers, " or "))
	}
	return nil
}

// negotiate returns the offer that an Accept header prefers, the earlier one
// where it makes no difference; "" where it takes none of them. RFC 9110,
// section 12.5.1: of the ranges that a type is in, the most specific counts.
func negotiate(accept string, offers []string) string {
	quality := map[string]float64{} // by range
	for _, part := range strings.Split(accept, ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if v, given := params["q"]; given {
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		quality[name] = max(quality[name], q)
	}
	if len(quality) == 0 {
		return offers[0] // none, or none that can be read
	}
	best, found := 0.0, ""
	for _, o := range offers {
		for _, t := range types(o) {
			main, _, _ := strings.Cut(t, "/")
			for _, within := range []string{t, main + "/*", "*/*"} {
				if q, given := quality[within]; given {
					if q > best {
						best, found = q, o
					}
					break
				}
			}
		}
	}
	return found
}

// encoded is a picture, or a file of values.
type encoded struct {
	media string
	size  image.Point // of a picture
	data  bytes.Buffer
	room  *room
}

// Write keeps p if there is room for it.
func (e *encoded) Write(p []byte) (int, error) {
	if err := e.room.take(int64(len(p))); err != nil {
		return 0, err
	}
	return e.data.Write(p)
}

// npy encodes values as a NumPy file.
func npy(room *room, shape []int, values []float32) (*encoded, error) {
	e := &encoded{media: types(formatNpy)[0], room: room}
	return e, patch.WriteNpy(e, shape, values)
}

// encode encodes a picture. In JSON that is PNG, or JPEG of a quality.
func (w *sending) encode(m image.Image, room *room) (*encoded, error) {
	e := &encoded{media: string(v1.ImagePng), size: m.Bounds().Size(), room: room}
	var err error
	if w.format == formatJPEG || w.quality > 0 {
		quality := w.quality
		if quality == 0 {
			quality = focus.DefaultQuality
		}
		e.media = string(v1.ImageJpeg)
		err = jpeg.Encode(e, m, &jpeg.Options{Quality: quality})
	} else {
		enc := png.Encoder{CompressionLevel: png.BestSpeed}
		err = enc.Encode(e, m)
	}
	if err != nil {
		return nil, fmt.Errorf("api: encode picture: %w", err)
	}
	return e, nil
}

// inJSON is e as a member of an answer.
func (e *encoded) inJSON() v1.Picture {
	return v1.Picture{Type: v1.PictureType(e.media), Width: e.size.X, Height: e.size.Y, B64: e.data.Bytes()}
}
