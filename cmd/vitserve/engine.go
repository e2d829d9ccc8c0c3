package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
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
	flags.StringVar(&f.backend, "backend", "cpu", "what computes: "+strings.Join(backend.Names(), ", "))
	if err := flags.MarkHidden("backend"); err != nil {
		panic(err)
	}
}

// open opens the backend that the flags name.
func (f *machineFlags) open() (backend.Backend, error) {
	o, err := f.options()
	if err != nil {
		return nil, err
	}
	return backend.Open(f.backend, o)
}

// autoPrecision is the --precision that leaves the choice to fastest.
const autoPrecision = "auto"

// options reads the flags; auto becomes what the machine has.
func (f *machineFlags) options() (o backend.Options, err error) {
	o.Threads = f.threads
	switch {
	case f.threads < 0 || f.threads > backend.MaxThreads:
		return o, usageError{fmt.Errorf("--threads %d, want 0 to %d", f.threads, backend.MaxThreads)}
	case !slices.Contains(backend.Names(), f.backend):
		return o, usageError{fmt.Errorf("--backend %s, want one of %s", f.backend, strings.Join(backend.Names(), ", "))}
	case f.precision == autoPrecision:
		return f.fastest(o)
	}
	if o.Precision, err = backend.ParsePrecision(f.precision); err != nil {
		return o, usageError{fmt.Errorf("--precision %s, want f32, bf16, int8 or auto", f.precision)}
	}
	return o, nil
}

// fastest chooses bf16 where the machine has it: its first answers are those
// of f32 on 99 of 100 photos or more. int8 is faster still, but may give
// three others; it is only computed with by those who ask for it.
func (f *machineFlags) fastest(o backend.Options) (backend.Options, error) {
	o.Precision = backend.BF16
	b, err := backend.Open(f.backend, o)
	if errors.Is(err, backend.ErrUnsupported) {
		o.Precision = backend.F32
		return o, nil
	}
	if err != nil {
		return o, err
	}
	return o, b.Close()
}

// modelFlags choose the model that answers.
type modelFlags struct {
	machineFlags
	model  string
	labels string
	size   imageSize
}

func (f *modelFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.model, "model", "m", "", "folder, file, ORG/NAME that pull has fetched, or embedded model; default "+models.Embedded()[0])
	flags.StringVar(&f.labels, "labels", "", "file of class names, one a line, in place of the model's own")
	flags.Var(&f.size, "image-size", "input size other than the model's own, 384 or 480x640 (height, width)")
	f.machineFlags.register(cmd)
}

// engine is an opened model on an opened backend.
type engine struct {
	*models.Checkpoint
	model   *vit.Model
	backend backend.Backend
}

// open opens the model that the flags name, on the backend that they name,
// and tells stderr what a user must know of its answers.
func (f *modelFlags) open(stderr io.Writer) (*engine, error) {
	ckpt, err := models.Open(f.model, models.Options{Labels: f.labels, ImageSize: f.size})
	if err != nil {
		return nil, err
	}
	b, err := f.machineFlags.open()
	if err != nil {
		return nil, errors.Join(err, ckpt.Close())
	}
	m, err := ckpt.Model(b)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("model %s: %w", ckpt.Name, err), ckpt.Close(), b.Close())
	}
	if f.precision == autoPrecision {
		fmt.Fprintf(stderr, "note: --precision auto: %s\n", b.Name())
	}
	if ckpt.Note != "" {
		fmt.Fprintf(stderr, "note: model %s: %s\n", printable(ckpt.Name), printable(ckpt.Note))
	}
	return &engine{Checkpoint: ckpt, model: m, backend: b}, nil
}

// close frees the model and its backend.
func (e *engine) close() error { return errors.Join(e.Checkpoint.Close(), e.backend.Close()) }
