package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/models"
)

type evalFlags struct {
	modelFlags
	photoFlags
	remoteFlags
	truth  string
	json   bool
	batch  int
	limit  int
	output string
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
counted; a label that several classes have is refused. Of a single output a picture
of its class is right where the score is at least a half. What a folder holds and
was not looked at is told, and the exit code is then 1. Intervals are Wilson's at
95 %.`,
		Example: `  vitserve eval val/
  vitserve eval --model ./deit_tiny_patch16_224 --truth labels.csv photos/
  vitserve eval --url http://127.0.0.1:8080 val/`,
		Args: atLeast(1, "folder"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.photoFlags.register(cmd)
	f.remoteFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.truth, "truth", "", "CSV file with the columns file (its path from the table's or a given folder, or its name) and label")
	flags.IntVar(&f.limit, "limit", 0, "measure the first pictures only, so many of classes of the model; 0: all")
	flags.StringVarP(&f.output, "output", "o", "", "file to write a row for each picture to: .csv, or .jsonl")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	flags.IntVar(&f.batch, "batch", 8, "pictures that go through the model together")
	return cmd
}

func (f *evalFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.remoteFlags.check(); err != nil {
		return err
	}
	look, err := f.look()
	if err != nil {
		return err
	}
	if f.batch < 1 || f.batch > 1024 {
		return usageError{fmt.Errorf("--batch %d, want 1 to 1024", f.batch)}
	}
	if f.limit < 0 {
		return usageError{fmt.Errorf("--limit %d, want 0 or more", f.limit)}
	}
	if ext := filepath.Ext(f.output); f.output != "" && ext != ".csv" && ext != ".jsonl" {
		return usageError{fmt.Errorf("--output %s, want a name that ends in .csv or .jsonl", f.output)}
	}
	sources, passed, err := findAll(args, cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.url != "" {
		return f.runRemote(cmd, sources, passed)
	}
	stderr := cmd.ErrOrStderr()
	m, err := f.modelFlags.open(cmd.Context(), stderr, look)
	if err != nil {
		return err
	}
	defer m.Close()
	return f.measure(cmd, m.Checkpoint, sources, passed, func(known []lib.Source, each func(lib.Result)) error {
		c := collector{stdout: cmd.OutOrStdout(), stderr: stderr, total: len(known), what: "eval"}
		c.start()
		var err error
		for r, failed := range m.Stream(cmd.Context(), slices.Values(known), lib.StreamOptions{Batch: min(f.batch, len(known))}) {
			if err = failed; err != nil {
				break
			}
			each(r)
			c.done(r.Source.Name, r.Err)
		}
		return c.end(err)
	})
}

// measure holds answers about sources to their labels and writes the report.
// answer gives each a result of every known source in their order.
func (f *evalFlags) measure(cmd *cobra.Command, ck *models.Checkpoint, sources []lib.Source, passed int, answer func(known []lib.Source, each func(lib.Result)) error) error {
	if ck.Config.Classes == 0 {
		return fmt.Errorf("model %s has no classification head: %s: nothing to be right about", ck.Name, ck.Headless())
	}
	exam, err := lib.NewExam(ck)
	if err != nil {
		return err
	}
	if err := f.label(sources); err != nil {
		return err
	}
	known, leftOut, err := f.known(exam, sources)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return fmt.Errorf("none of %d pictures is of a class of model %s, as far as their %s tells", len(sources), ck.Name, f.teller())
	}
	rows, err := newRows(f.output, exam, ck)
	if err != nil {
		return err
	}
	defer rows.close()
	failed := answer(known, func(r lib.Result) {
		exam.Add(r)
		rows.add(r)
	})
	if err := rows.close(); err != nil {
		return err
	}
	if failed != nil && !errors.Is(failed, errReported) {
		return failed
	}
	v := exam.Evaluation(leftOut)
	if f.json {
		err = writeJSON(cmd.OutOrStdout(), v)
	} else {
		err = printEvaluation(cmd.OutOrStdout(), v)
	}
	if err == nil && v.Failed+passed > 0 {
		err = errReported
	}
	return err
}

// known returns the first pictures of classes of the model, up to the limit,
// and how many among them are of no class.
func (f *evalFlags) known(exam *lib.Exam, sources []lib.Source) (known []lib.Source, leftOut int, err error) {
	for _, s := range sources {
		_, ok, err := exam.Truth(s.Label)
		switch {
		case err != nil:
			return nil, 0, fmt.Errorf("%s: %w", s.Name, err)
		case !ok:
			leftOut++
		default:
			known = append(known, s)
		}
		if f.limit > 0 && len(known) == f.limit {
			break
		}
	}
	return known, leftOut, nil
}

func (f *evalFlags) teller() string {
	if f.truth != "" {
		return "line in " + f.truth
	}
	return "folder"
}

// printEvaluation writes for people, the best class first.
func printEvaluation(w io.Writer, v *lib.Evaluation) error {
	fmt.Fprintf(w, "top-1 %.2f %%   top-5 %.2f %%   %d pictures, %d classes\n", v.Top1, v.Top5, v.All.Pictures, len(v.Classes))
	fmt.Fprintf(w, "95 %% intervals: top-1 %.2f to %.2f %%   top-5 %.2f to %.2f %%\n", v.Top1Interval[0], v.Top1Interval[1], v.Top5Interval[0], v.Top5Interval[1])
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
