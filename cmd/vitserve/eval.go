package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
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

// tally counts the right answers among the pictures of one class, or of all.
type tally struct {
	Class    string `json:"class,omitempty"`
	Pictures int    `json:"pictures"`
	First    int    `json:"first"` // the best label is right
	Five     int    `json:"five"`  // one of the best five is
}

func (t *tally) add(rank int) {
	t.Pictures++
	if rank == 0 {
		t.First++
	}
	if rank < 5 {
		t.Five++
	}
}

// share returns n of the tally's pictures in percent.
func (t tally) share(n int) float64 { return 100 * float64(n) / float64(max(1, t.Pictures)) }

// evaluation is the answer of eval.
type evaluation struct {
	Model   string  `json:"model"`
	Top1    float64 `json:"top1"` // percent
	Top5    float64 `json:"top5"`
	All     tally   `json:"all"`
	Classes []tally `json:"classes"`
	LeftOut int     `json:"left_out"` // pictures of classes that the model does not have
	Failed  int     `json:"failed"`   // pictures that could not be read; they count as wrong
}

func (f *evalFlags) run(cmd *cobra.Command, args []string) error {
	photos, err := f.photoFlags.options()
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
	e, err := f.open(stderr)
	if err != nil {
		return err
	}
	defer e.close()
	if e.Transform, err = f.transform(e.Transform); err != nil {
		return err
	}
	if e.Config.Classes == 0 {
		return fmt.Errorf("model %s has no classification head: nothing to be right about", e.Name)
	}
	truth, err := f.classes(e)
	if err != nil {
		return err
	}
	answer := evaluation{Model: e.Name}
	var known []source
	var classes []int
	for _, s := range sources {
		if class, ok := truth(s.name); ok {
			known, classes = append(known, s), append(classes, class)
		} else {
			answer.LeftOut++
		}
	}
	if len(known) == 0 {
		return fmt.Errorf("none of %d pictures is of a class of model %s, as far as their %s tells", len(sources), e.Name, f.teller())
	}

	byClass := make([]tally, e.Config.Classes)
	c := collector{stdout: cmd.OutOrStdout(), stderr: stderr, total: len(known), what: "eval"}
	c.start()
	p := pipeline{engine: e, batch: min(f.batch, len(known)), photos: photos}
	n := 0
	err = p.run(cmd.Context(), known, func(r result) error {
		class := classes[n]
		n++
		rank := e.Config.Classes
		if r.err == nil {
			rank = rankOf(r.logits(), class)
		}
		answer.All.add(rank)
		byClass[class].add(rank)
		c.done(r)
		return nil
	})
	if err := c.end(err); err != nil && !errors.Is(err, errReported) {
		return err
	}
	for i, t := range byClass {
		if t.Pictures > 0 {
			t.Class = e.Labels[i]
			answer.Classes = append(answer.Classes, t)
		}
	}
	answer.Failed = c.failed
	answer.Top1, answer.Top5 = answer.All.share(answer.All.First), answer.All.share(answer.All.Five)
	if f.json {
		err = writeJSON(cmd.OutOrStdout(), answer)
	} else {
		err = answer.print(cmd.OutOrStdout())
	}
	if err == nil && c.failed > 0 {
		err = errReported
	}
	return err
}

// rankOf returns how many classes are before class: those with a greater
// logit, and on a tie those of lower index, as in Checkpoint.Top.
func rankOf(logits []float32, class int) int {
	rank := 0
	for i, v := range logits {
		if v > logits[class] || v == logits[class] && i < class {
			rank++
		}
	}
	return rank
}

func (f *evalFlags) teller() string {
	if f.truth != "" {
		return "line in " + f.truth
	}
	return "folder"
}

// classes returns what tells the class of a picture.
func (f *evalFlags) classes(e *engine) (func(path string) (int, bool), error) {
	find := func(name string) (int, bool) {
		if i := slices.Index(e.ClassIDs, name); i >= 0 {
			return i, true
		}
		if i := slices.IndexFunc(e.Labels, func(l string) bool { return strings.EqualFold(l, name) }); i >= 0 {
			return i, true
		}
		i, err := strconv.Atoi(name)
		return i, err == nil && i >= 0 && i < e.Config.Classes
	}
	if f.truth == "" {
		return func(path string) (int, bool) { return find(filepath.Base(filepath.Dir(path))) }, nil
	}
	labels, err := readTruth(f.truth)
	if err != nil {
		return nil, err
	}
	return func(path string) (int, bool) {
		name, ok := labels[filepath.Base(path)]
		if !ok {
			return 0, false
		}
		return find(name)
	}, nil
}

// readTruth reads a CSV file's columns file and label.
func readTruth(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--truth: %w", err)
	}
	defer file.Close()
	r := csv.NewReader(io.LimitReader(file, maxFile))
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("--truth %s: %w", path, err)
	}
	name, label := slices.Index(head, "file"), slices.Index(head, "label")
	if name < 0 || label < 0 {
		return nil, fmt.Errorf("--truth %s: columns %q, want file and label among them", path, head)
	}
	labels := map[string]string{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return labels, nil
		}
		if err != nil {
			return nil, fmt.Errorf("--truth %s: %w", path, err)
		}
		labels[filepath.Base(row[name])] = row[label]
	}
}

// print writes the evaluation for people, the best class first.
func (v evaluation) print(w io.Writer) error {
	fmt.Fprintf(w, "top-1 %.2f %%   top-5 %.2f %%   %d pictures, %d classes\n", v.Top1, v.Top5, v.All.Pictures, len(v.Classes))
	if v.LeftOut > 0 {
		fmt.Fprintf(w, "%d pictures of other classes were left out\n", v.LeftOut)
	}
	fmt.Fprintln(w)
	order := slices.Clone(v.Classes)
	slices.SortStableFunc(order, func(a, b tally) int { return b.First*a.Pictures - a.First*b.Pictures })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "class\tpictures\ttop-1\ttop-5")
	for _, c := range order {
		fmt.Fprintf(t, "%s\t%d\t%.1f %%\t%.1f %%\n", printable(c.Class), c.Pictures, c.share(c.First), c.share(c.Five))
	}
	return t.Flush()
}
