package cli

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/vit"
)

type embedFlags struct {
	modelFlags
	photoFlags
	remoteFlags
	vit.Embedding
	batch int
}

func newEmbed() *cobra.Command {
	var f embedFlags
	cmd := &cobra.Command{
		Use:   "embed IMAGE…",
		Short: "Write what a model makes of pictures, as vectors",
		Long: `Write what a model makes of pictures, before its classification head, as a JSON
object a line. Pictures are found, and broken ones reported, as classify does.

  --pool model  what the model's own head looks at
  --pool class  the class token
  --pool mean   the mean of the patches
  --pool grid   every patch, row by row`,
		Example: `  vitserve embed photo.jpg
  vitserve embed --pool mean --l2 --model ./dino_vits16 holiday/ > holiday.jsonl
  vitserve embed --url http://127.0.0.1:8080 holiday/ > holiday.jsonl`,
		Args: atLeast(1, "image"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.photoFlags.register(cmd)
	f.remoteFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.Pool, "pool", vit.Pools()[0], "which vector: "+strings.Join(vit.Pools(), ", "))
	flags.BoolVar(&f.L2, "l2", false, "scale each vector to length 1")
	flags.IntVar(&f.batch, "batch", 8, "pictures that go through the model together")
	return cmd
}

// embedAnswer is a line of embed's output. Values of a grid are row by row.
type embedAnswer struct {
	Image     string        `json:"image"`
	Embedding []float32     `json:"embedding,omitempty"`
	Grid      [][][]float32 `json:"grid,omitempty"` // [row][column][dim]
	Error     string        `json:"error,omitempty"`
}

func (f *embedFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.remoteFlags.check(); err != nil {
		return err
	}
	look, err := f.look()
	switch {
	case err != nil:
		return err
	case !slices.Contains(vit.Pools(), f.Pool):
		return usageError{fmt.Errorf("--pool %s, want %s", f.Pool, strings.Join(vit.Pools(), " or "))}
	case f.batch < 1 || f.batch > 1024:
		return usageError{fmt.Errorf("--batch %d, want 1 to 1024", f.batch)}
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
	if err := f.Check(m.Config()); err != nil {
		return usageError{fmt.Errorf("model %s: --%w", m.Checkpoint.Name, err)}
	}
	out := bufio.NewWriter(stdout)
	c := collector{stdout: stdout, stderr: stderr, total: len(sources), what: "embed"}
	c.start()
	err = c.stream(cmd.Context(), m, sources, lib.StreamOptions{Batch: f.batch, Embedding: &f.Embedding}, func(r lib.Result) error {
		a := embedAnswer{Image: r.Source.Name}
		if r.Err != nil {
			a.Error = words.Plain(r.Err)
		} else {
			a.Embedding, a.Grid = api.EmbeddingOf(r.Embedding.Float32s(), r.Embedding.Shape())
		}
		return errors.Join(writeJSON(out, a), out.Flush())
	})
	return c.end(err)
}
