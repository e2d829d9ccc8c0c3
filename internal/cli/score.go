package cli

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/score"
	"github.com/vitserve/vitserve/vit"
)

// exitHopeless is the exit code where starting again is useless.
const exitHopeless = 42

// noFocus is the value of --focus that asks for no map; focusDefault the one
// that leaves the method to the model.
const (
	noFocus      = ""
	focusDefault = "default"
)

type scoreFlags struct {
	modelFlags
	photoFlags
	vit.Embedding
	embeds  bool
	focus   string
	job     score.Job
	inputs  []string
	shard   int
	finish  bool
	metrics string
	stores  []score.Stores // beside those of the web
}

func newScore(stores ...score.Stores) *cobra.Command {
	f := scoreFlags{stores: stores}
	cmd := &cobra.Command{
		Use:   "score INPUT…",
		Short: "Score very many photos, one shard a process",
		Long: `Score very many photos and write a table: labels, scores, and where they are
asked for the k best, embeddings and columns of the focus map. An INPUT is a folder;
a manifest, a name a line (.txt) or a table with a column file (.csv, .tsv, .parquet;
.gz but for Parquet); a tar file (shard-{000000..000999}.tar means a thousand); a
photo; each on the disk or at http(s)://. A photo that cannot be read is a row with
its error.

With --shards N each process takes one: --shard, or what Kubernetes, AWS Batch,
Google Batch or Slurm say in the environment (` + strings.Join(score.Indexes(), ", ") + `).
It writes one part, whole or not at all, and has nothing to do where
its part is there already. score --finish checks that all parts are there and
writes _SUCCESS with the counts. The exit code is 42 where starting again is
useless: a manifest that cannot be read, a model that does not load. docs/scale.md
has the rest.`,
		Example: `  vitserve score photos/ --output scores/
  vitserve score manifest.csv --output scores/ --format parquet --shards 20 --shard 3
  vitserve score 'https://example.org/shard-{000..099}.tar' --output scores/ --shards 100
  vitserve score --finish --output scores/ --format parquet --shards 20`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.photoFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.inputs, "input", "i", nil, "folder, manifest, tar file or photo, as the arguments; may be given several times")
	flags.StringVarP(&f.job.Output, "output", "o", "", "folder of the parts")
	flags.StringVar(&f.job.Format, "format", score.Formats()[0], "of the parts: "+strings.Join(score.Formats(), ", "))
	flags.IntVar(&f.job.Shards, "shards", 0, "how many processes share the photos; each writes a part")
	flags.IntVar(&f.shard, "shard", -1, "which of them this is, from 0; -1: as the environment says")
	flags.BoolVar(&f.job.Force, "force", false, "make the part anew where it is there")
	flags.BoolVar(&f.finish, "finish", false, "check that all parts are there and write _SUCCESS")
	flags.IntVar(&f.job.TopK, "top-k", 5, "labels of each photo in the column topk; 0: none")
	flags.BoolVar(&f.embeds, "embed", false, "write the column embedding, see --pool")
	flags.StringVar(&f.Pool, "pool", vit.Pools()[0], "which vector --embed writes: "+strings.Join(pools(), ", "))
	flags.BoolVar(&f.L2, "l2", false, "scale each vector to length 1")
	flags.StringVar(&f.focus, "focus", noFocus, "write what the focus map of this method says: "+focusDefault+", "+strings.Join(focus.Names(), ", "))
	flags.Lookup("focus").NoOptDefVal = focusDefault
	flags.IntVar(&f.job.Batch, "batch", 8, "photos that go through the model together")
	flags.IntVar(&f.job.Prefetch, "prefetch", 32, "photos from elsewhere that are fetched ahead")
	flags.StringVar(&f.metrics, "metrics-addr", "", "host:port of /metrics while it runs; none without it")
	return cmd
}

// pools are those whose vectors have one length.
func pools() []string {
	return slices.DeleteFunc(slices.Clone(vit.Pools()), func(p string) bool { return p == vit.PoolGrid })
}

// check says what of the flags is impossible.
func (f *scoreFlags) check(cmd *cobra.Command) error {
	j := &f.job
	switch {
	case j.Output == "":
		return errors.New("no --output given, want a folder for the parts")
	case len(j.Inputs) == 0 && !f.finish:
		return errors.New("no photos given, want a folder, a manifest or a tar file")
	case len(j.Inputs) > 0 && f.finish:
		return errors.New("--finish with photos: it looks at the parts only")
	case !slices.Contains(score.Formats(), j.Format):
		return fmt.Errorf("--format %s, %s", j.Format, words.Among(j.Format, score.Formats()...))
	case j.Shards < 0 || j.Shards > 10_000_000 || cmd.Flags().Changed("shards") && j.Shards == 0:
		return fmt.Errorf("--shards %d, want 1 to 10000000", j.Shards)
	case f.shard < -1:
		return fmt.Errorf("--shard %d, want 0 or more", f.shard)
	case j.TopK < 0:
		return fmt.Errorf("--top-k %d, want 0 or more", j.TopK)
	case j.Batch < 1 || j.Batch > 1024:
		return fmt.Errorf("--batch %d, want 1 to 1024", j.Batch)
	case j.Prefetch < 1 || j.Prefetch > 4096:
		return fmt.Errorf("--prefetch %d, want 1 to 4096", j.Prefetch)
	case !slices.Contains(pools(), f.Pool):
		return fmt.Errorf("--pool %s, %s", f.Pool, words.Among(f.Pool, pools()...))
	case !f.embeds && (f.L2 || cmd.Flags().Changed("pool")):
		return errors.New("--pool and --l2 are of --embed, which is not given")
	case f.focus != noFocus && f.focus != focusDefault && !slices.Contains(focus.Names(), f.focus):
		return fmt.Errorf("--focus %s, %s", f.focus, words.Among(f.focus, append([]string{focusDefault}, focus.Names()...)...))
	}
	return nil
}

func (f *scoreFlags) run(cmd *cobra.Command, args []string) error {
	look, err := f.look()
	if err != nil {
		return err
	}
	j := &f.job
	j.Inputs, j.Stores = append(args, f.inputs...), score.Web()
	for _, more := range f.stores {
		maps.Copy(j.Stores, more)
	}
	if err := f.check(cmd); err != nil {
		return usageError{err}
	}
	if f.finish {
		return f.end(cmd)
	}
	if j.Shard, err = score.Place(j.Shards, f.shard, os.Getenv); err != nil {
		return usageError{err}
	}
	if f.embeds {
		j.Embedding = &f.Embedding
	}
	if f.focus != noFocus {
		j.Question = &lib.Question{}
		if f.focus != focusDefault {
			j.Question.Method = f.focus
		}
	}
	stderr := cmd.ErrOrStderr()
	if !j.Force {
		done, err := j.Done(cmd.Context())
		if err != nil {
			return err
		}
		if done {
			fmt.Fprintf(stderr, "note: %s is there already; --force makes it anew\n", printable(j.Part(j.Shard)))
			return nil
		}
	}
	if f.metrics != "" {
		j.Metrics = score.NewMetrics()
		stop, err := serveMetrics(f.metrics, j.Metrics.Handler())
		if err != nil {
			return fmt.Errorf("--metrics-addr %s, want host:port of this machine: %w", f.metrics, err)
		}
		defer stop()
	}
	m, err := f.load(cmd, look)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := f.suits(m); err != nil {
		return usageError{fmt.Errorf("model %s: %w", m.Checkpoint.Name, err)}
	}
	bar := newCounter(cmd.OutOrStdout(), stderr, "score")
	j.Each = func(*score.Row) { bar.add() }
	start := time.Now()
	n, err := j.Run(cmd.Context(), m)
	bar.clear()
	if err != nil {
		return err
	}
	took := time.Since(start)
	fmt.Fprintf(stderr, "%s: %d rows, %d with an error, %.1f a second\n", printable(j.Part(j.Shard)), n.Rows, n.Failed, float64(n.Rows)/took.Seconds())
	return nil
}

// load opens the model. Only that the net did not answer is worth another try.
func (f *scoreFlags) load(cmd *cobra.Command, look lib.Look) (*lib.Model, error) {
	m, err := f.modelFlags.open(cmd.Context(), cmd.ErrOrStderr(), look)
	if err == nil || cmd.Context().Err() != nil {
		return m, err
	}
	if _, is := errors.AsType[usageError](err); is {
		return nil, err
	}
	if _, is := errors.AsType[net.Error](err); is {
		return nil, err
	}
	return nil, fmt.Errorf("%w%w", err, hidden{score.ErrHopeless})
}

// hidden is an error that is in a chain and not in its text.
type hidden struct{ error }

func (hidden) Error() string   { return "" }
func (h hidden) Unwrap() error { return h.error }

// suits says what of the job the model cannot do.
func (f *scoreFlags) suits(m *lib.Model) error {
	j := &f.job
	if j.Embedding != nil {
		if err := j.Embedding.Check(m.Config()); err != nil {
			return fmt.Errorf("--%w", err)
		}
	} else if m.Config().Classes == 0 && j.Question == nil {
		return fmt.Errorf("it has no classification head: %s: ask for --embed", m.Checkpoint.Headless())
	}
	if j.Question != nil {
		if _, err := m.Ask(*j.Question); err != nil {
			return fmt.Errorf("--focus: %w", err)
		}
	}
	return nil
}

// end finishes the job.
func (f *scoreFlags) end(cmd *cobra.Command) error {
	s, err := f.job.Finish(cmd.Context())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d parts, %d rows, %d with an error\n", s.Shards, s.Rows, s.Failed)
	return err
}

// serveMetrics serves /metrics until stop.
func serveMetrics(addr string, h http.Handler) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", h)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	return func() { _ = s.Close(); <-done }, nil
}
