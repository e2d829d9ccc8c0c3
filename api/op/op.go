// Package op says what a server can be asked about pictures and what it
// answers, in no dialect's words. A dialect (what Hugging Face's clients
// speak, or those of the Open Inference Protocol) is a package beside this
// one: it reads requests into these types and writes answers from them, and
// sees nothing of the server but a Call and net/http. Package api mounts it
// among its own routes, so that keys, rates, limits, metrics and shedding
// apply to it.
package op

import (
	"context"
	"time"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// Picture is one that is asked about.
type Picture struct {
	Name string // repeated in an answer
	Data []byte // the file
	URL  string // where it is to be fetched from; Data is empty then
	Err  error  // why it is none, of one among many; Data and URL are empty then

	// Pixels are the model's input (3, H, W) in the place of a file, before mean
	// and standard deviation: 0 is black and 1 is white. Data and URL are empty
	// then.
	Pixels []float32
}

// Options are what every operation understands. The zero value is the default
// of each.
type Options struct {
	Model      string // "": the default model
	Decode     patch.Options
	Preprocess patch.Preprocess
	Priority   batch.Priority
	Timeout    time.Duration // 0: the server's
	Wait       bool          // for a model that another request is loading, in place of an error

	// Check says what else is impossible, once the model is there and what is
	// asked of it is possible; nil: nothing is.
	Check func() error
}

// Labels is which labels of a picture are answered.
type Labels struct {
	TopK     int         // best first; 0: all
	MinScore float64     // those below are left out
	Scoring  vit.Scoring // of logits; "": the model's own
	Abstain  *Abstain    // when no label is answered; nil: never
}

// Abstain is when a model does not know. Zero values are the model's own, which
// mostly are none.
type Abstain struct {
	MinConfidence float64  // least score of the best label
	MinEnergy     *float64 // least of vit.Energy
}

// Classify asks what is in pictures.
type Classify struct {
	Options
	Labels
}

// Explain asks where the model looked.
type Explain struct {
	Options
	Labels
	Question focus.Question // without its targets
	Classes  []string       // labels or indices; none: the best
	Versus   string         // likewise; "": none
	Picture  focus.Picture  // that is drawn of each; "": none
	Values   string         // that are sent of each, one of focus's; "": none
	Style    focus.Style    // of Picture

	// Each is called with what became of picture i, whose photo is in memory
	// where Picture needs it. Its error is the picture's; nil: nothing is.
	Each func(ctx context.Context, i int, x *Explained) error
}

// Embed asks for vectors.
type Embed struct {
	Options
	Embedding vit.Embedding
	Text      bool // the values will be written as text, which takes more memory
}

// Preprocess asks how pictures become the model's input.
type Preprocess struct {
	Options
	File bool // the tensor's NumPy file is wanted, and not only its receipt
}

// Timings are milliseconds by stage.
type Timings struct{ Decode, Preprocess, Queue, Infer, Explain, Encode float64 }

// Add adds those of another picture.
func (t *Timings) Add(u Timings) {
	t.Decode += u.Decode
	t.Preprocess += u.Preprocess
	t.Queue += u.Queue
	t.Infer += u.Infer
	t.Explain += u.Explain
	t.Encode += u.Encode
}

// Sum returns the time of all stages.
func (t Timings) Sum() float64 {
	return t.Decode + t.Preprocess + t.Queue + t.Infer + t.Explain + t.Encode
}

// Seen is what every answer says of a picture.
type Seen struct {
	Geometry patch.Geometry
	Timings  Timings
	Batch    int // pictures that were computed together with this one; 0: none was computed
}

// Classified is what is in a picture.
type Classified struct {
	Seen
	Predictions []models.Prediction
	Logits      []float32 // (K)
	Abstained   string    // why nobody should believe them; "": somebody may
}

// Explained is where the model looked.
type Explained struct {
	Classified
	Found  *focus.Explanation
	Scored []models.Prediction   // every class, best first
	Photo  *patch.Photo          // nil unless Each draws on it
	Model  string                // that answered, for captions
	Layers [][]models.Prediction // what each layer would have answered, as Predictions; nil: not asked for
}

// Embedded is a picture's vector (D), or grid (rows, columns, C), or tokens
// (N, C).
type Embedded struct {
	Seen
	Vectors *tensor.Dense
}

// Prepared is how a picture becomes the model's input.
type Prepared struct {
	Seen
	Receipt *patch.Receipt
}

// Answer is what became of pictures, in the order they were asked about.
type Answer[R any] struct {
	Model, Revision string // that answered; the sha256 of its weights
	Note            string // what one must know of it
	Items           []Item[R]
}

// Item is what became of one picture.
type Item[R any] struct {
	Value R
	Err   error // of the picture itself, if there are others; Value is nothing then
}
