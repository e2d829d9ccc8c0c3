// Package score asks a model about more photos than one machine answers in a
// day. A Job names the photos, by folders, manifests or tar files, and is cut
// into shards: each process takes one, writes one part, and knows nothing of
// the others. A part appears whole or not at all, under a name that only the
// shard decides, so a process that was killed is started again, and one whose
// part is there has nothing to do.
//
// A photo that cannot be read is a row with its error. A place that cannot be
// reached is none: the process ends without a part, and is to be started again.
package score

import (
	"errors"
	"fmt"
)

// ErrHopeless is in the chain of errors that starting again does not mend: a
// manifest that is not there or says nothing that can be read.
var ErrHopeless = errors.New("score: starting again is useless")

// hopeless marks an error so. Its text stays.
type hopeless struct{ error }

func (h hopeless) Unwrap() []error { return []error{h.error, ErrHopeless} }

func never(format string, args ...any) error { return hopeless{fmt.Errorf(format, args...)} }

// Unreachable is the error of a place that did not answer, or not to the end,
// though it was asked several times.
type Unreachable struct {
	Name string // of the file
	Err  error
}

func (u *Unreachable) Error() string { return fmt.Sprintf("%s: %v", u.Name, u.Err) }

// Unwrap returns the cause.
func (u *Unreachable) Unwrap() error { return u.Err }
