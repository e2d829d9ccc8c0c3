package vitserve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"time"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// Look says how photos are read and brought to the model. The zero value is
// the model's own way.
type Look struct {
	patch.Options
	Preprocess patch.Preprocess // how much is done; "": everything

	Keep   bool   // the photo itself is kept, to draw on
	Compat string // focus.VitExplain prepares as that program does; "": as the model says
}

// Prepared is a photo brought to a model.
type Prepared struct {
	Pixels   *tensor.Dense  // (3, H, W) in [0, 1]
	Geometry patch.Geometry // from the model's patches back to the photo
	Photo    *patch.Photo   // with Look.Keep; else nil

	Decoding  time.Duration // of the file
	Preparing time.Duration // of the pixels; 0 where decoding made them

	m *Model // whose memory the pixels are; nil: somebody else's
}

// Free gives the memory of the pixels back to the model. It need not be called;
// nobody may read the pixels afterwards.
func (p *Prepared) Free() {
	if p.Pixels != nil && p.m != nil {
		p.m.spare.Put(p.Pixels)
	}
	p.Pixels = nil
}

// Transform returns the preprocessing of the model, as far as l wants it.
func (m *Model) Transform(l Look) (patch.Transform, error) {
	t, err := m.Checkpoint.Transform.With(l.Preprocess)
	if err == nil && l.Compat == focus.VitExplain {
		t = focus.VitExplainTransform(t)
	}
	return t, err
}

// Prepare reads a photo and brings it to the model. Errors about the photo are
// those of package patch.
func (m *Model) Prepare(ctx context.Context, s Source, l Look) (*Prepared, error) {
	return m.prepare(ctx, s, l, m.blank())
}

// FromPixels is what Prepare makes of a photo, of pixels (3, H, W) that somebody
// else has prepared: 0 is black and 1 is white, and values beyond are taken as
// they are. They stay the caller's. Numbers that are none are vit.ErrNotFinite,
// and another size is patch.ErrShape.
func (m *Model) FromPixels(pixels []float32) (*Prepared, error) {
	h, w := m.config.Image[0], m.config.Image[1]
	if len(pixels) != 3*h*w {
		return nil, fmt.Errorf("%d values, want 3×%d×%d: %w", len(pixels), h, w, patch.ErrShape)
	}
	if err := vit.CheckFinite("pixels", pixels); err != nil {
		return nil, err
	}
	g := patch.Geometry{
		Photo: [2]int{w, h}, Orientation: 1, Input: [2]int{w, h},
		Seen: patch.Rect{W: float64(w), H: float64(h)}, Coverage: 1,
	}
	return &Prepared{
		Pixels:   tensor.New(tensor.WithShape(3, h, w), tensor.WithBacking(pixels)),
		Geometry: focus.OnPatches(g, m.shape.Grid, m.config.Patch),
	}, nil
}

// prepare is Prepare into pixels (3, H, W).
func (m *Model) prepare(ctx context.Context, s Source, l Look, pixels *tensor.Dense) (*Prepared, error) {
	t, err := m.Transform(l)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Pixels: pixels, m: m}
	if err := p.fill(ctx, s, t, l); err != nil {
		return nil, err
	}
	if l.Compat == focus.VitExplain {
		focus.VitExplainPixels(p.Pixels, t.Mean, t.Std)
	}
	p.Geometry = focus.OnPatches(p.Geometry, m.shape.Grid, m.config.Patch)
	return p, nil
}

// fill decodes the photo and writes what the model sees of it.
func (p *Prepared) fill(ctx context.Context, s Source, t patch.Transform, l Look) error {
	photo, err := s.photo(l.Options)
	if err != nil {
		return err
	}
	var data []byte
	if photo == nil {
		if data, err = s.Read(ctx); err != nil {
			return err
		}
	}
	start := time.Now()
	if photo == nil && !l.Keep && bytes.HasPrefix(data, []byte("\xff\xd8\xff")) {
		// A JPEG that nobody draws on need not become a picture: package
		// patch prepares it as it decodes.
		p.Geometry, err = t.Pixels(ctx, p.Pixels, data, l.Options)
		p.Decoding = time.Since(start)
		return err
	}
	if photo == nil {
		if photo, err = patch.Decode(ctx, data, l.Options); err != nil {
			return err
		}
	}
	decoded := time.Now()
	p.Geometry, err = t.PhotoPixels(ctx, p.Pixels, photo)
	p.Decoding, p.Preparing = decoded.Sub(start), time.Since(decoded)
	if l.Keep {
		p.Photo = photo
	}
	return err
}

// blank returns memory for a photo's pixels (3, H, W), with anything in it.
// They are most of what a request allocates, and what the garbage collector
// takes from the cores is what the slowest requests wait for.
func (m *Model) blank() *tensor.Dense {
	if t, ok := m.spare.Get().(*tensor.Dense); ok {
		return t
	}
	return m.newPixels()
}

func (m *Model) newPixels() *tensor.Dense {
	return tensor.New(tensor.WithShape(3, m.config.Image[0], m.config.Image[1]), tensor.Of(tensor.Float32))
}

// photo returns the picture of an Image, and nil of another source.
func (s Source) photo(o patch.Options) (*patch.Photo, error) {
	if s.image == nil {
		return nil, nil
	}
	return patch.FromImage(s.image, o)
}

// Read returns the bytes of the file, or an Image as PNG. It does not wait
// longer than ctx: a terminal or a pipe may never end.
func (s Source) Read(ctx context.Context) ([]byte, error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case s.data != nil:
		return s.data, nil
	case s.image != nil:
		var b bytes.Buffer
		err := png.Encode(&b, s.image)
		return b.Bytes(), err
	case s.open == nil:
		return nil, errors.New("vitserve: the zero Source is no photo")
	}
	type answer struct {
		data []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		data, err := s.readAll()
		done <- answer{data, err}
	}()
	select {
	case a := <-done:
		return a.data, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s Source) readAll() ([]byte, error) {
	r, err := s.open()
	if err != nil {
		return nil, bare(err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, bare(err)
	}
	if len(data) > MaxFile {
		return nil, errLarge
	}
	return data, nil
}

var errLarge = fmt.Errorf("file larger than %d MiB", MaxFile>>20)

// blame puts the name of the source before an error.
func (s Source) blame(err error) error {
	if err == nil || s.Name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", s.Name, err)
}
