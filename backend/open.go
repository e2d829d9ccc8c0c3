package backend

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Precision is the arithmetic of the layers that are not Exact.
type Precision uint8

// Precisions a backend may be opened with. One it cannot run is refused.
const (
	F32 Precision = iota
	BF16
	Int8
)

var precisions = [...]string{"f32", "bf16", "int8"}

// String returns "f32", "bf16" or "int8".
func (p Precision) String() string {
	if int(p) < len(precisions) {
		return precisions[p]
	}
	return fmt.Sprintf("Precision(%d)", p)
}

// ParsePrecision is the inverse of String.
func ParsePrecision(s string) (Precision, error) {
	for i, name := range precisions {
		if s == name {
			return Precision(i), nil
		}
	}
	return 0, fmt.Errorf("backend: precision %q, want one of %s", s, strings.Join(precisions[:], ", "))
}

// MaxThreads is the most worker threads that a backend is opened with: each
// has memory of its own.
const MaxThreads = 1024

// Options open a backend.
type Options struct {
	Precision Precision
	Device    string // which of several, as Info.Device names it; "": the backend's first
	Threads   int    // worker threads on a CPU, at most MaxThreads; 0: as many as it may use
}

// Info is what a backend says of itself.
type Info struct {
	Device  string // what Options.Device opens it by
	Threads int    // how many passes it computes side by side for its full speed; at least 1

	Precision Precision // of the layers; gradients are in float32 in all of them
}

// ErrUnsupported is in the chain of the error of Open when the machine lacks
// what the options ask for; the message names the missing feature.
var ErrUnsupported = errors.New("not supported by this machine")

// Errors of devices that have memory of their own: in the chain of what
// Upload, NewLinear, NewStream and Sync return.
var (
	ErrNoMemory = errors.New("out of device memory") // others may go on, and so may this stream when some is free
	ErrLost     = errors.New("the device is lost")   // nothing of the backend works any more
)

var registry struct {
	sync.Mutex
	open map[string]func(Options) (Backend, error)
}

// Register makes a backend available under a name. Backends call it in init.
func Register(name string, open func(Options) (Backend, error)) {
	registry.Lock()
	defer registry.Unlock()
	if registry.open == nil {
		registry.open = map[string]func(Options) (Backend, error){}
	}
	if registry.open[name] != nil {
		panic("backend: " + name + " registered twice")
	}
	registry.open[name] = open
}

// Names returns the registered names in order.
func Names() []string {
	registry.Lock()
	defer registry.Unlock()
	var names []string
	for name := range registry.open {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Precisions returns the names of all; a machine may lack some.
func Precisions() []string { return slices.Clone(precisions[:]) }

// Open opens a backend by its registered name, or one of its devices by the
// name that Info gives it, "cuda:1".
func Open(name string, o Options) (Backend, error) {
	kind, number, several := strings.Cut(name, ":")
	registry.Lock()
	open := registry.open[kind]
	registry.Unlock()
	if several && open != nil {
		if o.Device != "" && o.Device != name {
			return nil, fmt.Errorf("backend: open %s: device %q is another", name, o.Device)
		}
		if number == "" {
			return nil, fmt.Errorf("backend: open %s: want a number behind the colon, as in %s:0", name, kind)
		}
		o.Device = name
	}
	if open == nil {
		return nil, fmt.Errorf("backend: no backend %q in this binary, want one of %s", name, strings.Join(Names(), ", "))
	}
	if o.Threads < 0 || o.Threads > MaxThreads {
		return nil, fmt.Errorf("backend: open %s: %d threads, want 0 to %d, where 0 is one a core", name, o.Threads, MaxThreads)
	}
	b, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("backend: open %s: %w", name, err)
	}
	return b, nil
}
