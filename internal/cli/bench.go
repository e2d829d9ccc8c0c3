package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
)

type benchFlags struct {
	fetchFlags
	photoFlags
	model      string
	preset     string
	backend    string
	precisions []string
	threads    []int
	batches    []int
	wants      string
	images     string
	runs       int
	seconds    float64
	json       bool
}

// defaultPreset is the architecture that papers and peers are compared on.
const defaultPreset = "vit_base_patch16_224"

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast this machine computes a model",
		Long: `Measure how fast this machine computes a model, beside what its cores can do.

Times are of whole forward passes, after warming up; ms_per_image is the best
of all runs, which other work on the machine disturbs least. GFLOP are those
executed by linear layers, QKᵀ and PV. The peak is what a loop of nothing but
float32 multiply-adds reaches on the same threads, measured between the runs;
bf16 and int8 may exceed it. With --images the pictures of a folder are read,
decoded and prepared as classify does, and a run is the whole folder.

Presets have random weights and need no download:
` + wrap(presetNames()),
		Example: `  vitserve bench
  vitserve bench --preset deit_tiny_patch16_224 --precision f32,bf16,int8 --threads 1,2
  vitserve bench --model ./deit_tiny_patch16_224 --batch 1,8 --json
  vitserve bench --preset deit_tiny_patch16_224 --images holiday/`,
		Args: exactly(0, "arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.photoFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.model, "model", "m", "", "folder, file, ORG/NAME or embedded model, in place of a preset")
	f.fetchFlags.register(flags)
	flags.StringVar(&f.preset, "preset", defaultPreset, "architecture with random weights")
	flags.StringSliceVar(&f.precisions, "precision", []string{"f32"}, "f32, bf16, int8, auto; several are measured in turn")
	flags.IntSliceVar(&f.threads, "threads", []int{0}, "threads that compute; 0 is one a core")
	flags.IntSliceVar(&f.batches, "batch", []int{1}, "pictures that go through the model together")
	flags.StringVar(&f.wants, "attention", "none", "attention that is kept: none, class (the class token's rows), full (every row)")
	flags.StringVar(&f.images, "images", "", "folder of pictures to read, decode and classify")
	flags.IntVar(&f.runs, "runs", 30, "least number of runs")
	flags.Float64Var(&f.seconds, "seconds", 3, "least time of the runs")
	flags.BoolVar(&f.json, "json", false, "write a JSON object a line for each setting")
	registerBackend(flags, &f.backend)
	return cmd
}

func presetNames() []string {
	var names []string
	for _, p := range models.Presets() {
		names = append(names, p.Name)
	}
	return names
}

// wrap writes words on lines of up to 78 letters, indented.
func wrap(words []string) string {
	var s strings.Builder
	width := 0
	for _, w := range words {
		if width > 0 && width+1+len(w) > 76 {
			s.WriteString("\n")
			width = 0
		}
		if width == 0 {
			s.WriteString(" ")
			width = 1
		}
		s.WriteString(" " + w)
		width += 1 + len(w)
	}
	return s.String()
}

// measured is a row of the table: one setting.
type measured struct {
	Model           string  `json:"model"`
	Precision       string  `json:"precision"` // what auto chose, in its place
	Threads         int     `json:"threads"`
	Batch           int     `json:"batch"`
	MsPerImage      float64 `json:"ms_per_image"` // best run
	MsMedian        float64 `json:"ms_median"`    // an image, as are all times
	MsP95           float64 `json:"ms_p95"`
	ImagesPerSecond float64 `json:"images_per_second"` // of the best run
	GFLOPS          float64 `json:"gflops"`            // of the best run
	PeakGFLOPS      float64 `json:"peak_gflops"`       // float32, between the runs
	FractionOfPeak  float64 `json:"fraction_of_peak"`
	GFLOPPerImage   float64 `json:"gflop_per_image"`
	Runs            int     `json:"runs"`
	Images          int     `json:"images,omitempty"` // decoded in each run, with --images
	Attention       string  `json:"attention,omitempty"`
	Backend         string  `json:"backend"`
}

// benchWants are the values of --attention.
var benchWants = map[string]vit.Wants{
	"none":  {},
	"class": {AttnRows: []int{0}},
	"full":  {AttnFull: true},
}

func (f *benchFlags) check() error {
	for _, n := range f.batches {
		if n < 1 || n > 1024 {
			return usageError{fmt.Errorf("--batch %d, want 1 to 1024", n)}
		}
	}
	for _, n := range f.threads {
		if n < 0 || n > backend.MaxThreads {
			return usageError{fmt.Errorf("--threads %d, want 0 to %d", n, backend.MaxThreads)}
		}
	}
	for _, p := range f.precisions {
		if err := f.machine(p, 0).check(); err != nil {
			return err
		}
	}
	if _, ok := benchWants[f.wants]; !ok {
		return usageError{fmt.Errorf("--attention %s, want none, class or full", f.wants)}
	}
	if f.runs < 1 || !(f.seconds >= 0) {
		return usageError{fmt.Errorf("--runs %d --seconds %v, want at least 1 and 0", f.runs, f.seconds)}
	}
	return nil
}

func (f *benchFlags) run(cmd *cobra.Command) error {
	look, err := f.look()
	if err := errors.Join(err, f.check()); err != nil {
		return err
	}
	if f.model != "" && cmd.Flags().Changed("preset") {
		return usageError{errors.New("--model and --preset, want one of them")}
	}
	var sources []lib.Source
	if f.images != "" {
		if sources, err = findSources([]string{f.images}, cmd.InOrStdin(), cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	ckpt, err := f.open(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer ckpt.Close()
	stdout := cmd.OutOrStdout()
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	if !f.json {
		if _, err := fmt.Fprintf(stdout, "%s: %s, %.2f GFLOP and %.1f M parameters\n",
			ckpt.Name, describeConfig(ckpt.Config), float64(vit.FLOPs(ckpt.Config))/1e9, float64(vit.Params(ckpt.Config))/1e6); err != nil {
			return err
		}
		fmt.Fprint(table, "precision\tthreads\tbatch\tms/image\tmedian\tp95\timages/s\tGFLOP/s\tpeak\tof peak\t  backend\n")
	}
	for _, precision := range f.precisions {
		for _, threads := range f.threads {
			for _, batch := range f.batches {
				b := bench{benchFlags: f, ckpt: ckpt, look: look, sources: sources, stderr: cmd.ErrOrStderr()}
				row, err := b.measure(cmd.Context(), precision, threads, batch)
				if err != nil {
					return err
				}
				if f.json {
					err = writeJSON(stdout, row)
				} else {
					_, err = fmt.Fprintf(table, "%s\t%d\t%d\t%.2f\t%.2f\t%.2f\t%.1f\t%.0f\t%.0f\t%.3f\t  %s\n", row.Precision, row.Threads, row.Batch,
						row.MsPerImage, row.MsMedian, row.MsP95, row.ImagesPerSecond, row.GFLOPS, row.PeakGFLOPS, row.FractionOfPeak, row.Backend)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return table.Flush()
}

// open returns the model that is measured; a preset is one with random
// weights.
func (f *benchFlags) open(ctx context.Context, stderr io.Writer) (*models.Checkpoint, error) {
	if f.model != "" {
		if err := f.fetchFor(ctx, f.model, stderr); err != nil {
			return nil, fmt.Errorf("model %s: %w", f.model, err)
		}
		return models.Open(f.model, models.Options{})
	}
	p, err := models.FindPreset(f.preset)
	if err != nil {
		return nil, usageError{err}
	}
	return &models.Checkpoint{Name: p.Name, Source: "random weights", Config: p.Config, Transform: p.Transform, Weights: vit.Random(p.Config, 1)}, nil
}

// describeConfig says the sizes in a line.
func describeConfig(c vit.Config) string {
	return fmt.Sprintf("%d×%d pixels, patch %d, %d tokens, dim %d, depth %d, heads %d",
		c.Image[1], c.Image[0], c.Patch[0], c.Tokens(), c.Dim, c.Depth, c.Heads)
}

// machine are the flags of a setting.
func (f *benchFlags) machine(precision string, threads int) *machineFlags {
	return &machineFlags{backend: f.backend, precision: precision, threads: threads}
}

// bench measures one model.
type bench struct {
	*benchFlags
	ckpt    *models.Checkpoint
	look    lib.Look
	sources []lib.Source
	stderr  io.Writer
}

// measure measures one setting.
func (b *bench) measure(ctx context.Context, precision string, threads, batch int) (*measured, error) {
	resolved, err := b.machine(precision, threads).resolve()
	if err != nil {
		return nil, err
	}
	o := b.machine(resolved.Precision.String(), threads).options()
	o.Look = b.look
	m, err := lib.New(b.ckpt, o)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	row := &measured{
		Model: b.ckpt.Name, Precision: o.Precision, Threads: m.Backend().Info().Threads, Batch: batch, Backend: m.Backend().Name(),
		GFLOPPerImage: float64(vit.FLOPs(m.Config())) / 1e9,
	}
	if b.wants != "none" {
		row.Attention = b.wants
	}
	t := timer{runs: b.runs, atLeast: time.Duration(b.seconds * float64(time.Second)), device: m.Backend()}
	images := batch
	if b.sources != nil {
		images, row.Images = len(b.sources), len(b.sources)
		err = b.folder(ctx, m, batch, &t)
	} else {
		err = b.forward(ctx, m, batch, &t)
	}
	if err != nil {
		return nil, err
	}
	t.report(row, images)
	return row, nil
}
