package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
)

type inspectFlags struct {
	fetchFlags
	photoFlags
	labels  string
	size    imageSize
	tensors bool
	image   string
	npy     string
	json    bool
}

func newInspect() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect MODEL",
		Short: "Say what a model is, and what decided it",
		Long: `Say what a model is: every value of its configuration with what decided it, its
parameters, operations and memory, and what became of its tensors. A model that
cannot be used is described as far as it goes, with the reason, and the exit
code is 1.

With --image, the receipt of a picture's preparation: the steps, the part of the
picture that the model sees, and the sha256 of the tensor that timm or
transformers would make of it, which --npy writes.`,
		Example: `  vitserve inspect ./deit_tiny_patch16_224
  vitserve inspect ./vit_base --image-size 384 --tensors
  vitserve inspect starter --image photo.jpg --npy photo.npy`,
		Args: exactly(1, "model"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.photoFlags.register(cmd)
	flags := cmd.Flags()
	f.fetchFlags.register(flags)
	flags.StringVar(&f.labels, "labels", "", "file of class names, one a line, in place of the model's own")
	flags.Var(&f.size, "image-size", "input size other than the model's own, 384 or 480x640 (height, width)")
	flags.BoolVar(&f.tensors, "tensors", false, "list every tensor")
	flags.StringVar(&f.image, "image", "", "picture whose preparation is told; - is standard input")
	flags.StringVar(&f.npy, "npy", "", "write the picture's tensor to this NumPy file")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	return cmd
}

// inspectAnswer is what inspect --json writes.
type inspectAnswer struct {
	*models.Report
	Receipt *patch.Receipt `json:"receipt,omitempty"`
}

func (f *inspectFlags) run(cmd *cobra.Command, name string) error {
	if f.npy != "" && f.image == "" {
		return usageError{errors.New("--npy without --image, want the picture whose tensor is written")}
	}
	look, err := f.look()
	if err != nil {
		return err
	}
	if err := f.fetchFor(cmd.Context(), name, cmd.ErrOrStderr()); err != nil {
		return fmt.Errorf("model %s: %w", name, err)
	}
	report, err := models.Inspect(name, models.Options{Labels: f.labels, ImageSize: f.size})
	if err != nil {
		return err
	}
	a := inspectAnswer{Report: report}
	if f.image != "" && report.Transform != nil {
		if a.Receipt, err = f.receipt(cmd, *report.Transform, look); err != nil {
			return err
		}
	}
	stdout := cmd.OutOrStdout()
	if f.json {
		err = writeJSON(stdout, a)
	} else {
		err = f.show(stdout, a)
	}
	if err == nil && report.Refused != "" {
		return fmt.Errorf("model %s is refused: %s", report.Name, report.Refused)
	}
	return err
}

// receipt prepares the picture and writes its tensor.
func (f *inspectFlags) receipt(cmd *cobra.Command, t patch.Transform, look lib.Look) (*patch.Receipt, error) {
	t, err := t.With(look.Preprocess)
	if err != nil {
		return nil, err
	}
	sources, err := findSources([]string{f.image}, cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	data, err := sources[0].Read(cmd.Context())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.image, err)
	}
	r, err := t.Receipt(cmd.Context(), data, look.Options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.image, err)
	}
	if f.npy != "" {
		err = createFile(f.npy, func(w io.Writer) error {
			_, err := w.Write(r.NPY)
			return err
		})
	}
	return r, err
}

// show writes for people.
func (f *inspectFlags) show(w io.Writer, a inspectAnswer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", what, printable(fmt.Sprintf(format, args...)))
	}
	line("model", "%s", a.Name)
	line("source", "%s", a.Source)
	if a.Layout != "" {
		line("layout", "%s", strings.TrimSpace(a.Layout+" "+a.Architecture))
	}
	line("sha256", "%s", a.Revision)
	line("tensors", "%d, %.2f M parameters, %s", len(a.Tensors), float64(a.Params)/1e6, size(a.FileBytes))
	if a.Config != nil {
		line("network", "%s", describeConfig(*a.Config))
		line("work", "%.2f GFLOP for each image", float64(a.FLOPs)/1e9)
		line("memory", "%s of weights in f32, about %s for each image of a batch", size(a.WeightBytes), size(a.ActivationBytes))
	}
	if a.Note != "" {
		line("note", "%s", a.Note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(a.Decisions) > 0 {
		fmt.Fprintln(table, "\nsetting\tvalue\tdecided by")
		for _, d := range a.Decisions {
			fmt.Fprintf(table, "%s\t%s\t%s\n", d.Setting, printable(d.Value), printable(d.By))
		}
	}
	fmt.Fprintln(table)
	for _, t := range a.Tensors {
		if f.tensors || t.Status != "used" {
			fmt.Fprintf(table, "%s\t%s %v\t%s\n", printable(t.Name), t.Dtype, t.Shape, t.Status)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return showReceipt(w, a.Receipt, f.npy)
}

func showReceipt(w io.Writer, r *patch.Receipt, npy string) error {
	if r == nil {
		return nil
	}
	fmt.Fprintln(w, "picture:")
	for i, step := range r.Steps {
		fmt.Fprintf(w, "  %d. %s\n", i+1, step)
	}
	g := r.Geometry
	fmt.Fprintf(w, "  the model sees %.0f×%.0f at (%.0f, %.0f) of %d×%d pixels, %.1f %%\n",
		g.Seen.W, g.Seen.H, g.Seen.X, g.Seen.Y, g.Photo[0], g.Photo[1], 100*g.Coverage)
	_, err := fmt.Fprintf(w, "  tensor %v, sha256 of the .npy file %s\n", r.Shape, r.SHA256)
	if err == nil && npy != "" {
		_, err = fmt.Fprintf(w, "  tensor in %s\n", npy)
	}
	return err
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
