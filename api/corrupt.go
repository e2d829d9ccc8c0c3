package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image/jpeg"
	"image/png"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/corrupt"
)

// askCorrupt is what a request to /v1/corrupt asks for.
type askCorrupt struct {
	op.Options
	corruption corrupt.Corruption
	severity   int
	seed       uint64
	send       sending
}

// onlyPictures are what an operation sends that answers nothing else.
var onlyPictures = []string{formatPNG, formatJPEG}

var corruptParameters = []op.Parameter[askCorrupt]{
	{Name: "corruption", Kind: op.Text, Set: func(a *askCorrupt, v string) (err error) {
		if a.corruption, err = corrupt.Find(v); err != nil {
			return fmt.Errorf("%w: %v", errValue, err)
		}
		return nil
	}},
	{Name: "severity", Kind: op.Number, Set: func(a *askCorrupt, v string) error { return op.Between(&a.severity, v, 1, corrupt.Severities) }},
	{Name: "seed", Kind: op.Number, Set: func(a *askCorrupt, v string) error { return op.Between(&a.seed, v, 0, 1<<53-1) }},
	{Name: "exif", Kind: op.Text, Set: func(a *askCorrupt, v string) error {
		a.Decode.IgnoreEXIF = v == "off"
		return op.OneOf(v, "on", "off")
	}},
	{Name: "format", Kind: op.Text, Set: func(a *askCorrupt, v string) error { a.send.format = v; return op.OneOf(v, onlyPictures...) }},
	{Name: "quality", Kind: op.Number, Set: func(a *askCorrupt, v string) error { return op.Between(&a.send.quality, v, 1, 100) }},
}

var corruptPictures = operation[askCorrupt]{
	fresh: func() askCorrupt { return askCorrupt{severity: 3} },
	table: corruptParameters,
	settle: func(a *askCorrupt, accept string) error {
		a.send.named = a.send.format != ""
		offers := onlyPictures
		if a.send.quality > 0 {
			offers = []string{formatJPEG}
		}
		return a.send.choose(accept, offers)
	},
	answer: answerCorrupt,
}

// What a picture that is disturbed may have, so that no request takes more than
// a few seconds of a core, and of memory what corruptRoom says.
const (
	corruptPixels = 4 << 20
	corruptEdge   = 4096
)

// corruptRoom is the memory that disturbing takes at most, in bytes: values of
// eight bytes, several times over, and for fog a square of the next power of
// two.
func corruptRoom(w, h int) int64 {
	side := int64(1)
	for side < int64(max(w, h)) {
		side *= 2
	}
	return 200*int64(w)*int64(h) + 10*side*side
}

// answerCorrupt disturbs one picture and answers the picture that is left. No
// model computes.
func answerCorrupt(ctx context.Context, c *call, a *askCorrupt, pictures []op.Picture) error {
	switch {
	case len(pictures) != 1:
		return fmt.Errorf("%w: %d pictures, want one", errTooLarge, len(pictures))
	case a.corruption.Name == "":
		return fmt.Errorf("%w: parameter corruption: none is named, want one of GET /openapi.json, such as fog", errValue)
	case pictures[0].Err != nil:
		return pictures[0].Err
	}
	j := c.job("corrupt", a.Options)
	ctx, cancel := c.within(ctx, a.Options)
	defer cancel()
	return c.s.fetched(ctx, &c.body, pictures[0], func(p op.Picture) error {
		src, err := j.whole(ctx, p.Data)
		if err != nil {
			return err
		}
		line, room := c.s.decoders.large, corruptRoom(src.W, src.H)
		if err := line.take(ctx, room); err != nil {
			return err
		}
		defer line.vacate(min(room, line.bytes))
		var b bytes.Buffer
		var media string
		err = c.s.decoders.draw(ctx, func() error {
			var dst corrupt.Picture
			d := corrupt.Seed(sha256.Sum256(p.Data), a.corruption.Name, a.severity, a.seed)
			if err := a.corruption.Apply(&dst, src, a.severity, corrupt.Package, d); err != nil {
				return fmt.Errorf("%w: %v", errValue, err)
			}
			media = types(a.send.format)[0]
			if a.send.format == formatJPEG {
				quality := a.send.quality
				if quality == 0 {
					quality = focus.DefaultQuality
				}
				return jpeg.Encode(&b, dst.Image(), &jpeg.Options{Quality: quality})
			}
			return png.Encode(&b, dst.Image())
		})
		if err != nil {
			return err
		}
		c.c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(b.Len()))
		return c.c.Blob(http.StatusOK, media, b.Bytes())
	})
}

// whole decodes a picture that is not too large to be disturbed.
func (j *job) whole(ctx context.Context, data []byte) (p *corrupt.Picture, err error) {
	d, err := patch.Declared(data, j.look.Options)
	if err != nil {
		return nil, err
	}
	w, h := d.Width, d.Height
	if w*h > corruptPixels || max(w, h) > corruptEdge {
		return nil, fmt.Errorf("%w: a %s of %d×%d pixels, the limit is %d pixels and %d an edge", errTooLarge, d.Format, w, h, corruptPixels, corruptEdge)
	}
	release, err := j.decode(ctx, data, func() error {
		p, err = corrupt.Decode(ctx, data, j.look.Options)
		return err
	})
	if err != nil {
		return nil, err
	}
	release()
	return p, nil
}
