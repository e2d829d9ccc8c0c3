package main

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/vit"
)

type embedFlags struct {
	modelFlags
	photoFlags
	pool  string
	l2    bool
	batch int
}

// pools are the values of --pool.
var pools = []string{"model", "class", "mean", "grid"}

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
  vitserve embed --pool mean --l2 --model ./dino_vits16 holiday/ > holiday.jsonl`,
		Args: atLeast(1, "image"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.photoFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.pool, "pool", "model", "which vector: model, class, mean or grid")
	flags.BoolVar(&f.l2, "l2", false, "scale each vector to length 1")
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
	photos, err := f.photoFlags.options()
	switch {
	case err != nil:
		return err
	case !slices.Contains(pools, f.pool):
		return usageError{fmt.Errorf("--pool %s, want one of %v", f.pool, pools)}
	case f.batch < 1 || f.batch > 1024:
		return usageError{fmt.Errorf("--batch %d, want 1 to 1024", f.batch)}
	}
	sources, err := findSources(args, cmd.InOrStdin())
	if err != nil {
		return err
	}
	stdout, stderr := cmd.OutOrStdout(), cmd.ErrOrStderr()
	e, err := f.open(stderr)
	if err != nil {
		return err
	}
	defer e.close()
	if e.Transform, err = f.transform(e.Transform); err != nil {
		return err
	}
	if f.pool == "class" && e.Config.Prefix == 0 {
		return usageError{fmt.Errorf("--pool class: model %s has no class token", e.Name)}
	}
	out := bufio.NewWriter(stdout)
	c := collector{stdout: stdout, stderr: stderr, total: len(sources), what: "embed"}
	c.start()
	p := pipeline{engine: e, batch: min(f.batch, len(sources)), photos: photos, wants: vit.Wants{Features: f.pool == "model", Final: f.pool != "model"}}
	err = p.run(cmd.Context(), sources, func(r result) error {
		a := embedAnswer{Image: r.name}
		if r.err != nil {
			a.Error = r.err.Error()
		} else {
			f.fill(&a, r, e.Config)
		}
		c.done(r)
		return errors.Join(writeJSON(out, a), out.Flush())
	})
	return c.end(err)
}

// fill takes the vectors that were asked for out of the model's answer.
func (f *embedFlags) fill(a *embedAnswer, r result, c vit.Config) {
	if f.pool == "model" {
		n := c.Features()
		a.Embedding = f.scaled(r.out.Features.Float32s()[r.row*n : (r.row+1)*n])
		return
	}
	size := c.Tokens() * c.Dim
	all := r.out.Final.Float32s()[r.row*size : (r.row+1)*size]
	patches := all[c.Prefix*c.Dim:]
	switch f.pool {
	case "class":
		a.Embedding = f.scaled(all[:c.Dim])
	case "mean":
		a.Embedding = f.scaled(mean(patches, c.Dim))
	case "grid":
		rows, cols := c.Grid()
		for i := range rows {
			row := make([][]float32, cols)
			for j := range row {
				at := (i*cols + j) * c.Dim
				row[j] = f.scaled(patches[at : at+c.Dim])
			}
			a.Grid = append(a.Grid, row)
		}
	}
}

// mean is the mean of vectors that lie behind each other.
func mean(x []float32, dim int) []float32 {
	sums := make([]float64, dim)
	for i, v := range x {
		sums[i%dim] += float64(v)
	}
	m := make([]float32, dim)
	for i, s := range sums {
		m[i] = float32(s / float64(len(x)/dim))
	}
	return m
}

// scaled returns x at length 1 if that was asked for. A vector of zeros has
// no direction and stays.
func (f *embedFlags) scaled(x []float32) []float32 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	if !f.l2 || sum == 0 {
		return x
	}
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(float64(v) / math.Sqrt(sum))
	}
	return y
}
