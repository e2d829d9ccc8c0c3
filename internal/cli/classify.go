package cli

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
)

type classifyFlags struct {
	modelFlags
	photoFlags
	remoteFlags
	tableFlags
	top      int
	minScore float64
	batch    int
}

func newClassify() *cobra.Command {
	var f classifyFlags
	cmd := &cobra.Command{
		Use:   "classify IMAGE…",
		Short: "Say what is in pictures",
		Long: `Say what is in pictures: files, folders with all that lies under them, and -
for standard input. A picture that cannot be read is reported on standard
error, the others go on, and the exit code is 1.`,
		Example: `  vitserve classify photo.jpg
  vitserve classify --top 1 holiday/
  vitserve classify --json --model ./deit_tiny_patch16_224 holiday/ > labels.jsonl
  vitserve classify --format csv --output labels.csv holiday/
  vitserve classify --min-score 0.5 --sort-into sorted holiday/
  curl -s https://example.org/cat.jpg | vitserve classify -
  vitserve classify --url http://127.0.0.1:8080 holiday/`,
		Args: atLeast(1, "image"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.photoFlags.register(cmd)
	f.remoteFlags.register(cmd)
	f.tableFlags.register(cmd)
	flags := cmd.Flags()
	flags.IntVarP(&f.top, "top", "k", 5, "labels shown for each picture, also --top-k; 0 is all")
	flags.Float64Var(&f.minScore, "min-score", 0, "leave out labels below this score, 0 to 1")
	flags.IntVar(&f.batch, "batch", 8, "pictures that go through the model together")
	return cmd
}

func (f *classifyFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.remoteFlags.check(); err != nil {
		return err
	}
	look, err := f.look()
	if err != nil {
		return err
	}
	switch {
	case f.top < 0:
		return usageError{fmt.Errorf("--top %d, want 0 or more", f.top)}
	case !(f.minScore >= 0 && f.minScore <= 1):
		return usageError{fmt.Errorf("--min-score %v, want 0 to 1", f.minScore)}
	case f.batch < 1 || f.batch > 1024:
		return usageError{fmt.Errorf("--batch %d, want 1 to 1024", f.batch)}
	}
	if err := f.tableFlags.check(cmd, f.top); err != nil {
		return err
	}
	sources, err := findSources(args, cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.url != "" {
		return f.runRemote(cmd, sources)
	}
	stdout, stderr := cmd.OutOrStdout(), cmd.ErrOrStderr()
	m, err := f.modelFlags.open(cmd.Context(), stderr, look)
	if err != nil {
		return err
	}
	defer m.Close()
	if m.Config().Classes == 0 {
		return fmt.Errorf("model %s has no classification head: %s; vitserve embed answers with it", m.Checkpoint.Name, m.Checkpoint.Headless())
	}

	out, err := f.writer(stdout, f.top)
	if err != nil {
		return err
	}
	c := collector{stdout: stdout, stderr: stderr, total: len(sources), what: "classify"}
	c.start()
	err = c.stream(cmd.Context(), m, sources, lib.StreamOptions{Batch: f.batch}, func(r lib.Result) error {
		a := answer{Image: r.Source.Name}
		if r.Err != nil {
			a.Error = words.Plain(r.Err)
		} else {
			a.Predictions = append([]models.Prediction{}, m.Checkpoint.Top(r.Logits, f.top, f.minScore)...)
		}
		wrong, err := out.show(a)
		if wrong != nil {
			c.fault(a.Image, wrong)
		}
		return err
	})
	return c.end(errors.Join(err, out.close()))
}

// answer is what is said of one picture: predictions, or why there are none.
type answer struct {
	Image       string              `json:"image"`
	Predictions []models.Prediction `json:"predictions,omitzero"` // [] when none reaches the score
	Error       string              `json:"error,omitempty"`
}

// showTable writes for people: one line for a picture where one label was
// asked for, else the picture's name and its labels below. Errors are on
// stderr already.
func showTable(w io.Writer, a answer, top int) error {
	if a.Error != "" {
		return nil
	}
	image := printable(a.Image)
	if top == 1 {
		score, label := "     –  ", "(nothing reaches the score)"
		if len(a.Predictions) > 0 {
			score, label = percent(a.Predictions[0].Score), printable(a.Predictions[0].Label)
		}
		_, err := fmt.Fprintf(w, "%s  %s  %s\n", score, pad(label, 28), image)
		return err
	}
	if _, err := fmt.Fprintln(w, image); err != nil {
		return err
	}
	if len(a.Predictions) == 0 {
		_, err := fmt.Fprintln(w, "       –   nothing reaches the score")
		return err
	}
	width, labels := 0, make([]string, len(a.Predictions))
	for i, p := range a.Predictions {
		labels[i] = printable(p.Label)
		width = max(width, utf8.RuneCountInString(labels[i]))
	}
	for i, p := range a.Predictions {
		if _, err := fmt.Fprintf(w, "  %s  %s  class %d\n", percent(p.Score), pad(labels[i], width), p.Index); err != nil {
			return err
		}
	}
	return nil
}

// percent writes a score right-aligned, as wide as "100.00 %".
func percent(score float64) string { return fmt.Sprintf("%6.2f %%", 100*score) }

// pad fills s with spaces to width letters.
func pad(s string, width int) string {
	return fmt.Sprintf("%s%*s", s, max(0, width-utf8.RuneCountInString(s)), "")
}
