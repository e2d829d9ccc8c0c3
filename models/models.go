// Package models reads checkpoints: files, layouts, labels and presets, and
// the default model inside the binary. Nothing else reads weight files.
//
// A checkpoint is read in four steps. The safetensors files are opened and
// mapped, every byte of their headers checked (safetensors.go, file.go). The
// layout is recognised by its anchor, a tensor that all its files have, and the
// model type; its one function reads every tensor by name and shape (layout.go,
// reader.go, and a file a layout: timm.go, huggingface.go). What no tensor tells
// comes from the configuration beside the weights or from the table of what
// timm's source says of its architectures (timm_facts.go), and
// what nothing tells is refused with a message that says what would decide it
// (config.go, transform.go, labels.go). What is left of the history of the
// family is folded away (fold.go).
//
// Files are untrusted: nothing they hold may panic, hang, or take memory out
// of proportion to their own size.
package models

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// ErrNotFound is in the chain of errors about a model that is not there.
var ErrNotFound = errors.New("model not found")

// Options say how a checkpoint is opened. The zero value is the default.
type Options struct {
	Labels    string // file of label names, a line each; "": what the checkpoint says
	ImageSize [2]int // height, width of the input in pixels, for which the positions are resampled; zero: what the checkpoint says
}

// Checkpoint is an opened model: everything that its files say, with the
// history of its layout folded away.
type Checkpoint struct {
	Name        string // short name for people and URLs: the folder's, the file's, or the embedded model's
	Source      string // where it came from: a path, or "embedded"
	Layout      string // "timm" or "huggingface"
	Arch        string // the architecture its configuration names, if any
	Config      vit.Config
	Weights     *vit.Weights // valid until Close; read them inside Model
	Transform   patch.Transform
	Labels      []string    // by class index; never empty when Config.Classes > 0
	ClassIDs    []string    // the names that the classes have in their data set (n02123045), by index; nil where the checkpoint gives none
	Scoring     vit.Scoring // how logits become scores
	Temperature float64     // that logits are divided by before scores that add up to one; 0: by nothing, see Calibrate
	Note        string      // what a user must know of its answers; "" for most
	Decisions   []Decision  // every value of Config and Transform with what decided it
	Skipped     []string    // tensors that the layout knows and does not need

	files    []*file
	revision func() string
}

// Headless says why the model classifies nothing and what it gives in place of
// classes; "" of one that does.
func (c *Checkpoint) Headless() string {
	const words = "; words cannot be its classes, for no text tower is read"
	switch {
	case c.Config.Classes > 0:
		return ""
	case c.Config.Projection > 0:
		return fmt.Sprintf("its head is CLIP's projection to an embedding of %d values, and no classes", c.Config.Projection) + words
	case c.Config.Probe.Heads > 0:
		return fmt.Sprintf("it pools by attention to an embedding of %d values, and has no classes", c.Config.Features()) + words
	}
	return fmt.Sprintf("it is an encoder without a head, whose features have %d values", c.Config.Features()) + words
}

// Model uploads the weights to b. It is vit.New, except that a weight file
// that somebody truncates meanwhile is an error and not the end of the
// process: the weights may be a memory map of the file, and b must read them
// on the calling goroutine.
func (c *Checkpoint) Model(b backend.Backend) (m *vit.Model, err error) {
	err = guard(c.files, func() error {
		m, err = vit.New(b, c.Config, c.Weights)
		return err
	})
	return m, err
}

// ShuffledModel is Model with the weights of vit.Weights.Shuffled: a model
// that knows nothing, from some block on.
func (c *Checkpoint) ShuffledModel(b backend.Backend, from int, seed uint64) (m *vit.Model, err error) {
	err = guard(c.files, func() error {
		m, err = vit.New(b, c.Config, c.Weights.Shuffled(c.Config, from, seed))
		return err
	})
	return m, err
}

// Close unmaps the files. Weights are unusable then.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.close())
	}
	c.Weights, c.files = nil, nil
	return errors.Join(errs...)
}

// Revision returns the sha256 of the weight file, in hexadecimal; of several
// files, that of their sums in order. It is computed on the first call, which
// must come before Close, and is "" if the file could not be read.
func (c *Checkpoint) Revision() string { return c.revision() }
