package cpu

import (
	"fmt"
	"strings"

	"github.com/vitserve/vitserve/backend"
)

// impl is a row of the table of implementations.
type impl struct {
	*kernels
	missing []string // CPU features that this machine lacks for it
}

// available returns what this machine can run, the fastest first. The last
// one is always the portable code.
func available() []*kernels {
	var found []*kernels
	for _, i := range impls() {
		if len(i.missing) == 0 {
			found = append(found, i.kernels)
		}
	}
	return found
}

// choose returns the implementation of a name, or the fastest one for "".
func choose(name string) (*kernels, error) {
	if name == "" {
		return available()[0], nil
	}
	var names []string
	for _, i := range impls() {
		if i.name != name {
			names = append(names, i.name)
			continue
		}
		if len(i.missing) > 0 {
			return nil, fmt.Errorf("cpu: kernels %q: %w: it lacks %s", name, backend.ErrUnsupported, strings.Join(i.missing, ", "))
		}
		return i.kernels, nil
	}
	return nil, fmt.Errorf("cpu: no kernels %q, want one of %s", name, strings.Join(names, ", "))
}

// feature is something a CPU may have.
type feature struct {
	name string
	has  bool
}

// lacking names the features that are not there.
func lacking(features ...feature) []string {
	var names []string
	for _, f := range features {
		if !f.has {
			names = append(names, f.name)
		}
	}
	return names
}
