package op

import (
	"context"
	"io"
	"net/http"
	"time"

	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// Call is one request of a client, with what the server grants it. It ends
// with its Route's Handle.
type Call interface {
	// Read reads a body, or a part of one, to its end; size is how much there
	// will be, or -1. The bytes count against the memory of all bodies until
	// the call ends.
	Read(r io.Reader, size int64) ([]byte, error)

	// Charge charges n bytes that reading takes beside what is read, until the
	// call ends.
	Charge(n int64) error

	// Take charges n bytes that an answer needs until the call ends.
	Take(n int64) error

	// Draw has paint called when it is its turn: it takes as much of the
	// processor as decoding.
	Draw(ctx context.Context, paint func() error) error

	// The operations answer every picture. Of many pictures a broken one is
	// an Item with an error; whatever else fails, fails the call.
	Classify(context.Context, Classify, []Picture) (*Answer[Classified], error)
	Explain(context.Context, Explain, []Picture) (*Answer[Explained], error)
	Embed(context.Context, Embed, []Picture) (*Answer[Embedded], error)
	Preprocess(context.Context, Preprocess, []Picture) (*Answer[Prepared], error)

	// Result is what an explanation says, in the words of /v1/explain. An error
	// is that of the first map where there is none.
	Result(*Explained) (v1.ExplainResult, error)

	// Models describes the server's models, the default first; Model one of
	// them, with its labels.
	Models() []v1.Model
	Model(id string) (v1.Model, error)

	// Resident describes a model that is in memory: it is loaded if it is not.
	Resident(context.Context, Options) (v1.Model, error)

	// Network is what computes a model, which is loaded if it is not in memory.
	Network(context.Context, Options) (*Network, error)

	// Load loads a model, anew if it is there, and Unload takes it out of
	// memory. They are for administrators.
	Load(ctx context.Context, id string) error
	Unload(ctx context.Context, id string) error

	// Ready says why the server is not ready to answer, if it is not.
	Ready() error
	Version() v1.Version
	Limits() Limits

	// Part is a call for one of several requests that a client sends in one. It
	// is held to the client's rate, and ends with end.
	Part() (part Call, end func(), err error)

	// Failed is what one of several requests has failed with, for its sender.
	Failed(err error) Failure

	// Ending is closed when the server ends: nothing more is to be waited for.
	Ending() <-chan struct{}

	// Param returns what stands in the path for a name of the Route.
	Param(name string) string
}

// Network is what a dialect that speaks of tensors must know of a model.
type Network struct {
	Config    vit.Config
	Transform patch.Transform // of a photo to the model's pixels
	Labels    []string        // by class index
	Classless string          // why there are none, and what the model gives in their place; "": there are
}

// Limits are what one request may hold, and what becomes of several.
type Limits struct {
	Body   int64         // bytes
	Images int           // pictures
	Batch  int           // pictures of a model that are computed at the same time
	Delay  time.Duration // that an idle model waits for more of them
}

// Route is one way into a dialect.
type Route struct {
	Method string
	Path   string // as echo has it: "/models/:id", "/models/*"
	Open   bool   // needs no key and has no limit
	Probe  bool   // is asked all the time, under names of its own, and says nothing that is a secret
	Handle func(Call, http.ResponseWriter, *http.Request) error
}

// Failure is an error for its sender.
type Failure struct {
	Kind       Kind
	Detail     string
	RetryAfter time.Duration // 0: trying again does not help
	RequestID  string        // that the log repeats
	Ending     bool          // the server is: it answers nothing better later
}

// Dialect is a way of speaking with the server.
type Dialect struct {
	Name   string
	Routes []Route
	RPC    *RPC // nil: none

	// Fail writes what Handle, or the server before it, has failed with. The
	// status is the kind's unless the dialect wants another.
	Fail func(http.ResponseWriter, *http.Request, Failure)
}
