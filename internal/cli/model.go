package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
)

// machineFlags choose what computes, and how.
type machineFlags struct {
	backend   string
	precision string
	threads   int
}

func (f *machineFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.precision, "precision", "f32", "arithmetic of the layers: f32, bf16, int8, or auto for the fastest faithful one the machine has")
	flags.IntVar(&f.threads, "threads", 0, "threads that compute; 0 is one a core")
	registerBackend(flags, &f.backend)
}

// registerBackend adds the flag that chooses what computes.
func registerBackend(flags *pflag.FlagSet, to *string) {
	flags.StringVar(to, "backend", "cpu", "what computes: "+strings.Join(backend.Names(), ", ")+", or one of several GPUs: cuda:1, opencl:0")
}

// checkBackend says that there is no such backend; whether it is to be had
// shows when it is opened.
func checkBackend(name string) error {
	if kind, _, _ := strings.Cut(name, ":"); !slices.Contains(backend.Names(), kind) {
		return usageError{fmt.Errorf("--backend %s, want one of %s, or one of several, as in cuda:1", name, strings.Join(backend.Names(), ", "))}
	}
	return nil
}

// check says what of the flags is impossible.
func (f *machineFlags) check() error {
	switch {
	case f.threads < 0 || f.threads > backend.MaxThreads:
		return usageError{fmt.Errorf("--threads %d, want 0 to %d", f.threads, backend.MaxThreads)}
	}
	if err := checkBackend(f.backend); err != nil {
		return err
	}
	if _, err := backend.ParsePrecision(f.precision); err != nil && f.precision != lib.AutoPrecision {
		return usageError{fmt.Errorf("--precision %s, want f32, bf16, int8 or auto", f.precision)}
	}
	return nil
}

// options are the flags in the library's words.
func (f *machineFlags) options() lib.Options {
	return lib.Options{Backend: f.backend, Precision: f.precision, Threads: f.threads}
}

// resolve reads the flags; auto becomes what the machine has.
func (f *machineFlags) resolve() (o backend.Options, err error) {
	if err := f.check(); err != nil {
		return o, err
	}
	_, o, err = f.options().Machine()
	return o, err
}

// modelFlags choose the model that answers.
type modelFlags struct {
	machineFlags
	fetchFlags
	model  string
	labels string
	size   imageSize
}

func (f *modelFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.model, "model", "m", "", "folder, file, ORG/NAME of the Hugging Face hub, fetched if it is not in its cache, or embedded model; default "+models.Embedded()[0])
	flags.StringVar(&f.labels, "labels", "", "file of class names, one a line, in place of the model's own")
	flags.Var(&f.size, "image-size", "input size other than the model's own, 384 or 480x640 (height, width)")
	f.fetchFlags.register(flags)
	f.machineFlags.register(cmd)
}

// open opens the model that the flags name, on the backend that they name, to
// look at photos so, and tells stderr what a user must know of its answers.
func (f *modelFlags) open(ctx context.Context, stderr io.Writer, look lib.Look) (*lib.Model, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := f.fetchFor(ctx, f.model, stderr); err != nil {
		return nil, fmt.Errorf("model %s: %w", f.model, err)
	}
	o := f.options()
	o.Labels, o.ImageSize, o.Look = f.labels, f.size, look
	m, err := lib.Open(f.model, o)
	if err != nil {
		return nil, err
	}
	if f.precision == lib.AutoPrecision {
		fmt.Fprintf(stderr, "note: --precision auto: %s\n", m.Backend().Name())
	}
	if c := m.Checkpoint; c.Note != "" {
		fmt.Fprintf(stderr, "note: model %s: %s\n", printable(c.Name), printable(c.Note))
	}
	return m, nil
}
