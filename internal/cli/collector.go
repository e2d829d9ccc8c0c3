package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/patch"
)

// collector accompanies a run over many pictures: it shows how far it is,
// tells what fails and counts it.
type collector struct {
	stdout, stderr io.Writer
	total          int
	what           string
	bar            progress
	failed         int
	lacking        map[string]int // those that no decoder is set for, by their kind
}

func (c *collector) start() { c.bar = newProgress(c.stdout, c.stderr, c.total, c.what) }

// done takes note of a picture, and of what is wrong with it.
func (c *collector) done(name string, err error) {
	if err != nil {
		c.fault(name, err)
	}
	c.bar.add()
}

// fault tells what is wrong with a picture, and counts it.
func (c *collector) fault(name string, err error) {
	c.failed++
	var none *patch.NoDecoderError
	if errors.As(err, &none) {
		if c.lacking == nil {
			c.lacking = map[string]int{}
		}
		c.lacking[none.Format]++
	}
	c.bar.clear()
	fmt.Fprintf(c.stderr, "vitserve: %s: %s\n", printable(name), printableError(err))
}

// stream sends sources through a model and has show say what it makes of each.
func (c *collector) stream(ctx context.Context, m *lib.Model, sources []lib.Source, o lib.StreamOptions, show func(lib.Result) error) error {
	o.Batch = min(o.Batch, len(sources))
	for r, err := range m.Stream(ctx, slices.Values(sources), o) {
		if err != nil {
			return err
		}
		c.done(r.Source.Name, r.Err)
		if err := show(r); err != nil {
			return err
		}
	}
	return nil
}

// end returns what the command returns, err being the run's own error.
func (c *collector) end(err error) error {
	c.bar.clear()
	switch {
	case err != nil:
		return err
	case c.failed == 0:
		return nil
	case c.total > 1:
		for _, format := range []string{patch.HEIC, patch.AVIF, patch.JXL} {
			if n := c.lacking[format]; n > 0 {
				kind := patch.NoDecoderError{Format: format}
				fmt.Fprintf(c.stderr, "vitserve: %d of %d pictures are %s, and no decoder is set for it: see --decoder\n", n, c.total, kind.Name())
			}
		}
		fmt.Fprintf(c.stderr, "vitserve: %d of %d pictures failed\n", c.failed, c.total)
	}
	return errReported
}
