package robust

import (
	"context"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/attack"
	"github.com/vitserve/vitserve/robust/corrupt"
)

// Mode is what is disturbed.
type Mode string

// The modes.
const (
	CropMode  Mode = "crop"  // the model's input, after resizing and cropping: what the papers do
	PhotoMode Mode = "photo" // the whole photo, before the model's own preprocessing: any server
)

// Modes returns the modes, the default first.
func Modes() []Mode { return []Mode{CropMode, PhotoMode} }

// Target is a model that answers. One goroutine asks it at a time.
type Target interface {
	About() About

	// Answer answers pictures, each in its place. An error of one picture is
	// in its Answer; the returned one ends the run.
	Answer(ctx context.Context, in []Input) ([]Answer, error)
}

// About is what is known of a target.
type About struct {
	Kind   string   `json:"kind"`            // in-process, vitserve, huggingface, oip, http
	Model  string   `json:"model"`           // its name
	Sum    string   `json:"sum,omitempty"`   // of its weights; "": not known
	Labels []string `json:"-"`               // by class
	IDs    []string `json:"-"`               // of the classes in their data set, WordNet's of ImageNet; nil: none
	Notes  []string `json:"notes,omitempty"` // what a reader must know

	Transform *patch.Transform `json:"-"` // the model's own preprocessing; nil: not known, so that there is no CropMode
	Grid      [2]int           `json:"-"` // rows, columns of patches; zero: not known

	Logits bool `json:"logits"` // answers have them, and not only scores
	Maps   bool `json:"maps"`   // answers have focus maps
	Tokens bool `json:"tokens"` // patches can be left out

	Gradients bool `json:"gradients,omitempty"` // it is Differentiable
	Batch     int  `json:"-"`                   // pictures that it likes to be asked about at once
}

// Input is a picture that a target is asked about.
type Input struct {
	Picture *corrupt.Picture // the model's input, or the whole photo
	Exact   *attack.Picture  // the model's input between the grey levels, in place of Picture; only Differentiable targets are given it
	Whole   bool             // the whole photo
	Keep    []int            // patches that are not left out; nil: all
	Map     bool             // the focus map is wanted
}

// Answer is what a target says of a picture.
type Answer struct {
	Scores []float64 // (K), adding up to one
	Logits []float32 // (K); nil where the target keeps them to itself
	Map    []float32 // (rows · cols), not negative; nil: none
	Err    error
}
