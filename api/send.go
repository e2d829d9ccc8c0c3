package api

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/api/op"
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

// What an operation may send, the default first: pictures and numbers, or,
// where nothing is drawn, numbers.
var (
	pictureFormats = []string{formatJSON, formatPNG, formatJPEG, formatNpy}
	numberFormats  = []string{formatJSON, formatNpy}
)

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
// it is settled.
type sending struct {
	format  string
	quality int  // of JPEG; 0: the default
	named   bool // by a parameter, and not by Accept alone
}

// settleNumbers fills in what the sender left open, by the Accept header.
func (w *sending) settleNumbers(accept string) error {
	w.named = w.format != ""
	return w.choose(accept, numberFormats)
}

// settle fills in what the sender of an explanation left open, by the Accept
// header of the request and by what was asked for.
func (a *askExplain) settle(accept string) error {
	w := &a.send
	w.named = w.format != "" || a.Picture != "" || a.Values != "" || w.quality > 0
	if w.quality > 0 && a.Picture == "" {
		a.Picture = focus.OverlayPicture
	}
	var offers []string // the preferred first
	switch {
	case a.Picture != "" && a.Values != "":
		return fmt.Errorf("%w: picture with values, want one of them", errValue)
	case a.Values == focus.ValuesAttention:
		offers = []string{formatNpy}
	case a.Values == focus.ValuesMap:
		offers = []string{formatNpy, formatJSON}
	case w.quality > 0:
		offers = []string{formatJPEG, formatJSON}
	case a.Picture != "":
		offers = []string{formatPNG, formatJPEG, formatJSON}
	default:
		offers = pictureFormats
	}
	if err := w.choose(accept, offers); err != nil {
		return err
	}
	switch {
	case w.format == formatNpy && a.Values == "":
		a.Values = focus.ValuesMap
	case (w.format == formatPNG || w.format == formatJPEG) && a.Picture == "":
		a.Picture = focus.OverlayPicture
	}
	return nil
}

// countable refuses to send several of what is sent by itself: a parameter
// that asks for it has an impossible value, an Accept that does is not met.
func (w *sending) countable(pictures, maps int) error {
	kind := errAccept
	if w.named {
		kind = errValue
	}
	switch {
	case w.format == formatJSON:
	case pictures > 1:
		return fmt.Errorf("%w: %d pictures as %s, want one, or %s", kind, pictures, w.format, echo.MIMEApplicationJSON)
	case maps > 1 && w.format != formatNpy:
		return fmt.Errorf("%w: %d maps as %s, want one, or %s", kind, maps, w.format, echo.MIMEApplicationJSON)
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
			return fmt.Errorf("%w: %s, want %s", errAccept, op.Clip(accept), strings.Join(allowed, ", "))
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
	call  op.Call

	stream func(io.Writer) error // in place of data

}

// Write keeps p if there is room for it.
func (e *encoded) Write(p []byte) (int, error) {
	if err := e.call.Take(int64(len(p))); err != nil {
		return 0, err
	}
	return e.data.Write(p)
}

// npy encodes values as a NumPy file.
func npy(call op.Call, shape []int, values []float32) (*encoded, error) {
	e := &encoded{media: types(formatNpy)[0], call: call}
	return e, patch.WriteNpy(e, shape, values)
}

// encode encodes a picture. In JSON that is PNG, or JPEG of a quality.
func (w *sending) encode(m image.Image, call op.Call) (*encoded, error) {
	e := &encoded{media: string(v1.ImagePng), size: m.Bounds().Size(), call: call}
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
