package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
)

type evalFlags struct {
	modelFlags
	photoFlags
	truth string
	json  bool
	batch int
}

func newEval() *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use:   "eval FOLDER…",
		Short: "Measure how often a model is right",
		Long: `Measure top-1 and top-5 accuracy on pictures whose class is known: by the name
of the folder that each lies in, or by a CSV file with the columns file and
label. A class is its index, its label, or its name in the data set
(n02123045). Pictures of classes that the model does not have are left out and
counted.`,
		Example: `  vitserve eval val/
  vitserve eval --model ./deit_tiny_patch16_224 --truth labels.csv photos/`,
		Args: atLeast(1, "folder"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.photoFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.truth, "truth", "", "CSV file with the columns file (its name, without folders) and label")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	flags.IntVar(&f.batch, "batch", 8, "pictures that go through the model together")
	return cmd
}

func (f *evalFlags) run(cmd *cobra.Command, args []string) error {
	look, err := f.look()
	if err != nil {
		return err
	}
	if f.batch < 1 || f.batch > 1024 {
		return usageError{fmt.Errorf("--batch %d, want 1 to 1024", f.batch)}
	}
	sources, err := findSources(args, cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	stderr := cmd.ErrOrStderr()
	m, err := f.modelFlags.open(stderr, look)
	if err != nil {
		return err
	}
	defer m.Close()
	if m.Config().Classes == 0 {
		return fmt.Errorf("model %s has no classification head: %s: nothing to be right about", m.Checkpoint.Name, m.Checkpoint.Headless())
	}
	if err := f.label(sources); err != nil {
		return err
	}
	known := 0
	for _, s := range sources {
		if _, ok := m.ClassOf(s.Label); ok {
			known++
		}
	}
	if known == 0 {
		return fmt.Errorf("none of %d pictures is of a class of model %s, as far as their %s tells", len(sources), m.Checkpoint.Name, f.teller())
	}

	c := collector{stdout: cmd.OutOrStdout(), stderr: stderr, total: known, what: "eval"}
	c.start()
	v, err := m.Evaluate(cmd.Context(), slices.Values(sources), lib.StreamOptions{Batch: min(f.batch, known)}, func(r lib.Result) {
		c.done(r.Source.Name, r.Err)
	})
	if err := c.end(err); err != nil && !errors.Is(err, errReported) {
		return err
	}
	if f.json {
		err = writeJSON(cmd.OutOrStdout(), v)
	} else {
		err = printEvaluation(cmd.OutOrStdout(), v)
	}
	if err == nil && c.failed > 0 {
		err = errReported
	}
	return err
}

func (f *evalFlags) teller() string {
	if f.truth != "" {
		return "line in " + f.truth
	}
	return "folder"
}

// label gives sources the labels of --truth, by their names without folders.
// Without it they have the names of their folders.
func (f *evalFlags) label(sources []lib.Source) error {
	if f.truth == "" {
		return nil
	}
	labels := map[string]string{}
	for s := range lib.CSV(f.truth) {
		if s.Err() != nil {
			return fmt.Errorf("--truth %s: %w", f.truth, s.Err())
		}
		labels[filepath.Base(s.Name)] = s.Label
	}
	for i := range sources {
		sources[i].Label = labels[filepath.Base(sources[i].Name)]
	}
	return nil
}

// printEvaluation writes for people, the best class first.
func printEvaluation(w io.Writer, v *lib.Evaluation) error {
	fmt.Fprintf(w, "top-1 %.2f %%   top-5 %.2f %%   %d pictures, %d classes\n", v.Top1, v.Top5, v.All.Pictures, len(v.Classes))
	if v.LeftOut > 0 {
		fmt.Fprintf(w, "%d pictures of other classes were left out\n", v.LeftOut)
	}
	fmt.Fprintln(w)
	order := slices.Clone(v.Classes)
	slices.SortStableFunc(order, func(a, b lib.Tally) int { return b.First*a.Pictures - a.First*b.Pictures })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "class\tpictures\ttop-1\ttop-5")
	for _, c := range order {
		fmt.Fprintf(t, "%s\t%d\t%.1f %%\t%.1f %%\n", printable(c.Class), c.Pictures, c.Share(c.First), c.Share(c.Five))
	}
	return t.Flush()
}
