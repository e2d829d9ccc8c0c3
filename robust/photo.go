package robust

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"sync"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/corrupt"
	"gorgonia.org/tensor"
)

// Photo is one of the data.
type Photo struct {
	Name  string // as it is reported; the same wherever the data lie
	Label string // what is known of its class; "": nothing

	// Read returns the file. Of released corrupted files there is one a cell;
	// of cells that there is none of the file is nil.
	Read func(ctx context.Context, c Cell) ([]byte, error)
}

// picture decodes a file as the mode wants it.
func (o *Options) picture(ctx context.Context, t *patch.Transform, data []byte) (*corrupt.Picture, error) {
	if o.Mode == PhotoMode {
		return corrupt.Decode(ctx, data, o.Decode)
	}
	h, w := t.Size[0], t.Size[1]
	out := tensor.New(tensor.WithShape(3, h, w), tensor.Of(tensor.Float32))
	if _, err := t.Pixels(ctx, out, data, o.Decode); err != nil {
		return nil, err
	}
	return corrupt.FromPixels(out), nil
}

// larger is the transform of the pictures that sequences are made of: an eighth
// of the crop's own size more on all edges together, 256 pixels for 224.
func larger(t patch.Transform) patch.Transform {
	for i := range t.Size {
		t.Size[i] = (t.Size[i]*8 + 3) / 7
	}
	t.Resize = t.Size
	if t.Fit == patch.FitCrop || t.Fit == patch.FitNone || t.Fit == patch.FitLong {
		t.Fit = patch.FitShort
	}
	if t.Interpolation == "" {
		t.Interpolation = patch.Bicubic
	}
	return t
}

// load reads and decodes a photo.
func (o *Options) load(ctx context.Context, about *About, p Photo) (*subject, error) {
	data, err := p.Read(ctx, Clean)
	if err != nil {
		return nil, err
	}
	s := &subject{sum: sha256.Sum256(data), seed: o.Seed, grid: about.Grid}
	if s.picture, err = o.picture(ctx, o.transform(about), data); err != nil {
		return nil, err
	}
	s.base = sync.OnceValues(func() (*corrupt.Picture, error) {
		t := larger(*about.Transform)
		return o.picture(ctx, &t, data)
	})
	return s, nil
}

// transform is how photos become the model's input.
func (o *Options) transform(about *About) *patch.Transform {
	if o.Mode == PhotoMode {
		return nil
	}
	t := *about.Transform
	if o.Released {
		t.Fit = patch.FitCrop
	}
	return &t
}

// check says what is impossible of cells with a target.
func (o *Options) check(about *About) error {
	if o.Mode == CropMode && about.Transform == nil {
		return fmt.Errorf("robust: mode crop: the preprocessing of %s is not known; want mode photo", about.Kind)
	}
	for _, c := range o.Cells {
		n := c.how.needs()
		switch {
		case o.Mode == PhotoMode && n.crop:
			return fmt.Errorf("robust: %s disturbs the model's input, want mode crop", c.Suite)
		case n.tokens && !about.Tokens:
			return fmt.Errorf("robust: %s leaves patches out of the model, which %s cannot be asked to do", c.Suite, about.Kind)
		case n.order && !about.Maps:
			return fmt.Errorf("robust: %s needs focus maps, which %s does not give", c.Suite, about.Kind)
		case n.derive && !about.Gradients:
			return fmt.Errorf("robust: %s needs gradients, which %s does not give; square needs none", c.Suite, about.Kind)
		case n.attack && o.Released:
			return fmt.Errorf("robust: %s attacks clean photos: released files are not attacked", c.Suite)
		case n.attack && !n.derive && !onGrid(c.how.(adversary).params.Epsilon):
			return fmt.Errorf("robust: %s %s: pictures are sent as bytes, want ε of whole 255ths", c.Suite, c.Level)
		case (n.grid || n.crop && n.frames == 0 && !n.attack) && about.Grid[0] == 0:
			return fmt.Errorf("robust: %s needs the model's grid of patches, which %s does not tell", c.Suite, about.Kind)
		}
	}
	if o.Drift && !about.Maps {
		return fmt.Errorf("robust: drift needs focus maps, which %s does not give", about.Kind)
	}
	return nil
}

// onGrid reports whether ε is a whole number of grey levels.
func onGrid(epsilon float64) bool {
	levels := 255 * epsilon
	return levels > 0.5 && math.Abs(levels-math.Round(levels)) < 1e-9
}
