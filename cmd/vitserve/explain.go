package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

type explainFlags struct {
	modelFlags
	photoFlags
	remoteFlags
	asking
	method  string
	options attention.Options
	style   attention.Style
	picture string
	output  string
	json    bool
}

func newExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain IMAGE",
		Short: "Show where the model looked in a picture",
		Long: `Show where the model looked in a picture, in the picture's own pixels: as an
overlay, as numbers over the model's patches, or in the terminal.

raw and rollout read the attention of one pass. relevance, gradrollout,
gradcam, legrad, inputgradient and integrated derive a class, or how far it is
above another, back to the patches. occlusion and rise ask the model about hundreds of parts of the picture and say what speaks for a class;
auto makes several maps and shows the one with the best evidence.`,
		Example: `  vitserve explain photo.jpg
  vitserve explain photo.jpg -o overlay.png
  vitserve explain photo.jpg --method raw --layer 11 --head 2 -o overlay.jpg
  vitserve explain photo.jpg --method rollout --fusion max --discard 0.9 --json
  vitserve explain photo.jpg --method occlusion --class tabby --window 3 -o overlay.png
  vitserve explain photo.jpg --class tabby --versus "tiger cat" -o difference.png
  vitserve explain photo.jpg --picture sheet -o layers-and-heads.png
  vitserve explain photo.jpg --method auto --json`,
		Args: exactly(1, "image"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.modelFlags.register(cmd)
	f.photoFlags.register(cmd)
	f.remoteFlags.register(cmd)
	flags, o := cmd.Flags(), &f.options
	flags.StringVar(&f.method, "method", "", fmt.Sprintf("how the map is made: %s (default %s, or %s where a class is named)", strings.Join(allMethods(), ", "), attention.DefaultMethod, attention.DefaultClassMethod))
	flags.IntVar(&o.Layer, "layer", 0, "layer that raw and gradcam read, from 1; 0 is the last")
	flags.IntVar(&o.Head, "head", 0, "head that raw reads, from 1; 0 is all of them, fused")
	flags.StringVar((*string)(&o.Fusion), "fusion", "", "how heads become one: "+strings.Join(attention.Fusions(), ", ")+" (default "+attention.Fusions()[0]+")")
	flags.Float64Var(&o.Discard, "discard", 0, "share of the lowest attention of each layer that rollout leaves out, 0 to below 1")
	flags.IntVar(&o.Start, "start", 0, "first layer that rollout reads, from 1")
	flags.IntSliceVar(&o.Query, "query", nil, "row,column of the patch whose attention is shown, from 0, in place of the class token's")
	flags.Float64Var(&o.Mass, "mass", 0, "keep only the patches that hold this share of the map, 0 to 1; 0 is all")
	flags.StringVar(&o.Compat, "compat", "", "reproduce the pictures of another program: "+attention.VitExplain)
	f.asking.register(cmd, o)
	flags.StringVar(&f.picture, "picture", pictures[0], "what -o and the terminal show: "+strings.Join(pictures, ", ")+" (of layers and heads)")
	flags.StringVarP(&f.output, "output", "o", "", "write the picture to this file, .png or .jpg, or the map's values, .npy")
	flags.BoolVar(&f.json, "json", false, "write the map and its place in the picture as JSON")
	flags.StringVar(&f.style.Colors, "colors", "", "colours of the overlay: "+strings.Join(attention.Colors(), ", ")+" (default "+attention.Colors()[0]+")")
	flags.Float64Var(&f.style.Alpha, "alpha", 0, fmt.Sprintf("opacity of the map over the picture, above 0 to 1 (default %g)", attention.DefaultAlpha))
	flags.StringVar((*string)(&f.style.Upsample), "upsample", "", "how patches become pixels: "+strings.Join(attention.Upsamplings(), ", ")+" (default "+attention.Upsamplings()[0]+")")
	return cmd
}

// explanation is a focus map and what is needed to read it.
type explanation struct {
	photo  *patch.Photo
	geom   patch.Geometry
	method attention.Method
	record *attention.Record
	used   attention.Options // of the focus: those asked for, or those that auto found
	focus  *attention.Map
	logits []float32
	replies
}

func (f *explainFlags) run(cmd *cobra.Command, arg string) error {
	photos, err := f.photoFlags.options()
	if err != nil {
		return err
	}
	f.style.Compat = f.options.Compat
	name := f.method
	switch {
	case name == "" && f.class != "":
		name = attention.DefaultClassMethod
	case name == "":
		name = attention.DefaultMethod
	}
	method, err := findMethod(name)
	if err := errors.Join(err, f.style.Check(), f.checkOutput()); err != nil {
		return usageError{err}
	}
	if info, err := os.Stat(arg); err == nil && info.IsDir() {
		return usageError{fmt.Errorf("%s is a folder, want one image", arg)}
	}
	sources, err := findSources([]string{arg}, cmd.InOrStdin())
	if err != nil {
		return err
	}
	if f.url != "" {
		return f.runRemote(cmd, sources[0])
	}
	e, err := f.modelFlags.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer e.close()
	if e.Transform, err = f.transform(e.Transform); err != nil {
		return err
	}
	rows, cols := e.Config.Grid()
	if err := method.Check(f.options, [2]int{rows, cols}, e.Config.Depth, e.Config.Heads); err != nil {
		return usageError{err}
	}
	x, err := f.explain(cmd.Context(), e, method, sources[0], photos)
	if err != nil {
		return fmt.Errorf("%s: %w", arg, err)
	}
	return f.show(cmd.OutOrStdout(), e, arg, x)
}

// explain sends the picture through the model and reads its attention.
func (f *explainFlags) explain(ctx context.Context, e *engine, m attention.Method, s source, o patch.Options) (*explanation, error) {
	data, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	x := &explanation{method: m, used: f.options}
	if x.photo, err = patch.Decode(data, o); err != nil {
		return nil, err
	}
	c, t := e.Config, e.Transform
	if f.options.Compat == attention.VitExplain {
		t = attention.VitExplainTransform(t)
	}
	pixels := tensor.New(tensor.WithShape(1, 3, c.Image[0], c.Image[1]), tensor.Of(tensor.Float32))
	one := tensor.New(tensor.WithShape(3, c.Image[0], c.Image[1]), tensor.WithBacking(pixels.Float32s()))
	if x.geom, err = t.PhotoPixels(one, x.photo); err != nil {
		return nil, err
	}
	rows, cols := c.Grid()
	x.geom = attention.OnPatches(x.geom, [2]int{rows, cols}, c.Patch)
	if f.options.Compat == attention.VitExplain {
		attention.VitExplainPixels(one, t.Mean, t.Std)
	}
	session, err := e.model.NewSession(vit.SessionOptions{MaxBatch: f.asking.batch(m)})
	if err != nil {
		return nil, err
	}
	return x, errors.Join(f.look(ctx, e, session, pixels, x), session.Close())
}

// look makes the map of pixels (1, 3, H, W), and the evidence for it.
func (f *explainFlags) look(ctx context.Context, e *engine, session *vit.Session, pixels *tensor.Dense, x *explanation) error {
	c := e.Config
	x.record = &attention.Record{Prefix: c.Prefix, Pooled: !slices.Contains(c.Pool, backend.Span{Lo: 0, Hi: 1})}
	x.record.Grid[0], x.record.Grid[1] = c.Grid()
	reader := x.method
	if (reader.Probe != nil || reader.Derive != nil) && f.picture == sheet {
		reader, _ = attention.Find("raw")
	}
	var wants vit.Wants
	wants.AttnRows, wants.AttnFull = reader.Rows(x.record, f.options)
	out, err := session.Forward(pixels, wants)
	if err != nil {
		return err
	}
	x.record.Rows, x.record.Attn = wants.AttnRows, out.Attn
	if out.Logits != nil {
		x.logits = out.Logits.Float32s()
	}
	return f.asking.ask(ctx, e, session, pixels, x, f.options)
}

// explainAnswer is what explain --json writes, in the words of POST
// /v1/explain.
type explainAnswer struct {
	Image       string              `json:"image"`
	Model       string              `json:"model"`
	Predictions []models.Prediction `json:"predictions,omitempty"`
	Focus       focus               `json:"focus"`
	Geometry    patch.Geometry      `json:"geometry"`
}

// focus is a map over the patches, row by row.
type focus struct {
	Method   string           `json:"method"`
	Paper    string           `json:"paper"`
	Layer    int              `json:"layer"` // from 1; 0 where several are read
	Head     int              `json:"head"`  // from 1; 0 where heads are fused
	Fusion   attention.Fusion `json:"fusion,omitempty"`
	Discard  float64          `json:"discard,omitempty"`
	Rows     int              `json:"rows"`
	Cols     int              `json:"cols"`
	Values   [][]float32      `json:"values"`
	OnPrefix float64          `json:"on_prefix"` // share of the attention on prefix tokens
	Peak     attention.Box    `json:"peak"`      // the highest cell, in the photo's pixels
	Boxes    []attention.Box  `json:"boxes"`     // around the cells that hold half of the map
	replies
}

func (f *explainFlags) answer(e *engine, name string, x *explanation) explainAnswer {
	a := explainAnswer{Image: name, Model: e.Name, Geometry: x.geom}
	if x.logits != nil {
		a.Predictions = e.Top(x.logits, 5, 0)
	}
	rows, cols := x.focus.Grid()
	summary := x.focus.Summary(x.geom)
	a.Focus = focus{
		Method: x.method.Name, Paper: x.method.Paper, Layer: x.focus.Layer, Head: x.focus.Head,
		Fusion: x.used.Fusion, Discard: x.used.Discard,
		Rows: rows, Cols: cols, OnPrefix: x.focus.OnPrefix, Peak: summary.Peak, Boxes: summary.Boxes,
		replies: x.replies,
	}
	if x.method.Probe == nil && x.method.Derive == nil && a.Focus.Fusion == "" && a.Focus.Head == 0 {
		a.Focus.Fusion = attention.Mean
	}
	for r := range rows {
		a.Focus.Values = append(a.Focus.Values, x.focus.Values.Float32s()[r*cols:(r+1)*cols])
	}
	return a
}

// show writes what was asked for: a file, JSON, or something to look at.
func (f *explainFlags) show(stdout io.Writer, e *engine, name string, x *explanation) error {
	a := f.answer(e, name, x)
	if f.json && f.output == "" {
		return writeJSON(stdout, a)
	}
	picture, err := f.paint(x)
	if err != nil {
		return err
	}
	if f.output != "" {
		if err := f.write(x, picture); err != nil {
			return err
		}
	}
	if f.json {
		return writeJSON(stdout, a)
	}
	if _, err := io.WriteString(stdout, f.describe(e, &a)); err != nil {
		return err
	}
	if f.output != "" {
		what := f.picture
		if isNpy(f.output) {
			what = "values"
		}
		_, err := fmt.Fprintf(stdout, "%s in %s\n", what, f.output)
		return err
	}
	return drawMap(stdout, picture, a.Focus.Values)
}

// describe says in words what the map is of and where it is strongest.
func (f *explainFlags) describe(e *engine, a *explainAnswer) string {
	var s strings.Builder
	if len(a.Predictions) > 0 {
		fmt.Fprintf(&s, "%s: %s (%.2f %%)\n", a.Image, a.Predictions[0].Label, 100*a.Predictions[0].Score)
	}
	s.WriteString(a.Focus.Method)
	if a.Focus.Layer > 0 {
		fmt.Fprintf(&s, ", layer %d of %d", a.Focus.Layer, e.Config.Depth)
	}
	if a.Focus.Head > 0 {
		fmt.Fprintf(&s, ", head %d of %d", a.Focus.Head, e.Config.Heads)
	} else if a.Focus.Fusion != "" {
		fmt.Fprintf(&s, ", %s of %d heads", a.Focus.Fusion, e.Config.Heads)
	}
	if a.Focus.Class != nil {
		fmt.Fprintf(&s, ", for %s", a.Focus.Class.Label)
	}
	if a.Focus.Versus != nil {
		fmt.Fprintf(&s, " against %s", a.Focus.Versus.Label)
	}
	p := a.Focus.Peak
	fmt.Fprintf(&s, "; strongest at %.0f×%.0f pixels from (%.0f, %.0f)", p.W, p.H, p.X, p.Y)
	if c := a.Geometry.Coverage; c < 0.995 {
		fmt.Fprintf(&s, "; the model saw %.0f %% of the picture", 100*c)
	}
	s.WriteString("\n")
	if v := a.Focus.Evidence; v != nil {
		fmt.Fprintf(&s, "evidence: insertion %.3f − deletion %.3f = %.3f\n", v.Insertion, v.Deletion, v.Score())
	}
	return s.String()
}
