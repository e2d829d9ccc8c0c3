package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
)

type explainFlags struct {
	modelFlags
	photoFlags
	remoteFlags
	question focus.Question
	queries  []string
	classes  []string
	versus   string
	style    focus.Style
	picture  string
	values   string
	quality  int
	output   string
	json     bool
	sanity   bool
	photo    bool
	hatch    bool
}

func newExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain IMAGE…",
		Short: "Show where the model looked in pictures",
		Long: `Show where the model looked in a picture, in the picture's own pixels: as an
overlay, as numbers over the model's patches, or in the terminal.

raw, rollout and normrollout read the attention of one pass. relevance, gradrollout,
gradcam, legrad, inputgradient and integrated derive a class, or how far it is
above another, back to the patches. occlusion and rise ask the model about hundreds of parts of the picture and say what speaks for a class;
auto makes several maps and shows the one with the best evidence.

--class and --queries may be given several times, for a map each, and --method takes
several, parted by commas. Several pictures, classes and methods are the panels of one
picture; with a folder as --output each picture has one of its own, named after it; an
.html is a report that opens without a network. A picture that cannot be read is
reported, the others go on, and the exit code is 1.`,
		Example: `  vitserve explain photo.jpg
  vitserve explain photo.jpg -o map.png
  vitserve explain photo.jpg --picture overlay -o overlay.png
  vitserve explain photo.jpg --photo --evidence -o map-and-curves.png
  vitserve explain photo.jpg --method rollout,legrad,gradrollout -o methods.png
  vitserve explain holiday/ -o maps/
  vitserve explain holiday/ --evidence -o report.html
  vitserve explain photo.jpg -o - > map.png
  vitserve explain photo.jpg --method raw --layer 11 --head 2 -o overlay.jpg
  vitserve explain photo.jpg --method rollout --fusion max --discard 0.9 --json
  vitserve explain photo.jpg --method occlusion --class tabby --window 3 -o overlay.png
  vitserve explain photo.jpg --class tabby --versus "tiger cat" -o difference.png
  vitserve explain photo.jpg --class tabby --class "tiger cat" --evidence --json
  vitserve explain photo.jpg --picture sheet -o layers-and-heads.png
  vitserve explain photo.jpg --values attention -o attention.npy
  vitserve explain photo.jpg --method rollout --sanity
  vitserve explain photo.jpg --method auto --json`,
		Args: atLeast(1, "image"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.photoFlags.register(cmd)
	f.remoteFlags.register(cmd)
	// What a server can be asked for, too, has the name that it has there.
	flags, q := cmd.Flags(), &f.question
	flags.StringVar(&q.Method, "method", "", fmt.Sprintf("how the map is made, several parted by commas: %s (default %s; %s of a model without classes, or where no class is named and an option that only it has)", strings.Join(focus.Names(), ", "), focus.DefaultMethod, focus.AttentionMethod))
	for _, o := range focus.OptionTable() {
		if o.List != "" {
			flags.StringArrayVar(&f.queries, o.List, nil, usageOf(o))
		} else {
			flags.Var(o.Value(&q.Options), o.Name, usageOf(o))
		}
	}
	flags.StringArrayVar(&f.classes, "class", nil, "label or index that a map with gradients, occlusion, rise and evidence are about; the best one if none is given")
	flags.IntVar(&q.Best, "classes", 0, "maps of so many of the picture's best classes, in place of --class")
	flags.StringVar(&f.versus, "versus", "", "label or index that the classes of maps with gradients are set against")
	flags.BoolVar(&q.Layers, "layers", false, "say what each layer would have answered, had the model ended there")
	flags.BoolVar(&q.Evidence, "evidence", false, "score the map: how the class fares as the picture is taken away, or given, in its order")
	flags.BoolVar(&f.sanity, "sanity", false, "repeat the map with shuffled weights and say how much of it depends on what the model learnt")
	flags.StringVar(&f.picture, "picture", "", "what -o and the terminal show: "+strings.Join(focus.Pictures(), ", ")+" (sheet is of layers and heads; default "+string(focus.FigurePicture)+", an overlay with caption and scale)")
	flags.BoolVar(&f.photo, "photo", false, "show the photo beside its map")
	flags.BoolVar(&f.hatch, "hatch", true, "hatch what the model did not see")
	flags.Float64Var(&f.style.Clip, "clip", 0, fmt.Sprintf("percentile of the map that the strongest colour begins at, 50 to 100, which clips nothing (default %d)", focus.DefaultClip))
	flags.StringVar(&f.values, "values", focus.ValuesMap, "what -o to an .npy file holds: "+focus.ValuesMap+", or "+focus.ValuesAttention+", all of it or of one layer or head")
	flags.IntVar(&f.quality, "quality", focus.DefaultQuality, "of a .jpg, 1 to 100")
	flags.StringVar(&f.style.Colors, "colors", "", "colours of the map: "+strings.Join(focus.Colors(), ", ")+" (default "+focus.Colors()[0]+")")
	flags.Float64Var(&f.style.Alpha, "alpha", 0, fmt.Sprintf("opacity of the map over the picture, above 0 to 1 (default %g)", focus.DefaultAlpha))
	flags.StringVar((*string)(&f.style.Upsample), "upsample", "", "how patches become pixels: "+strings.Join(focus.Upsamplings(), ", ")+" (default "+focus.Upsamplings()[0]+")")
	flags.StringVarP(&f.output, "output", "o", "", "write the picture to this file, .png or .jpg, a report, .html, or values, .npy; - is standard output, and a folder has a picture of each")
	flags.BoolVar(&f.json, "json", false, "write what POST /v1/explain answers: maps, their evidence and their place in the picture")
	return cmd
}

// usageOf is a row of the table of options as the usage of a flag.
func usageOf(o focus.Option) string {
	of := strings.Join(o.Methods, ", ")
	if len(o.Methods) == len(focus.Names())-1 {
		of = "every method but " + focus.AutoMethod
	}
	return fmt.Sprintf("%s; of %s; %s (default %s)", o.Help, of, o.Range, o.Default)
}

func (f *explainFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.remoteFlags.check(); err != nil {
		return err
	}
	look, err := f.look()
	if err != nil {
		return err
	}
	f.style.Compat, f.style.Plain = f.question.Options.Compat, !f.hatch
	f.picture = f.pictureKind()
	for _, text := range f.queries {
		cell, err := focus.ParseCell(text)
		if err != nil {
			return usageError{err}
		}
		f.question.Queries = append(f.question.Queries, cell)
	}
	if err := errors.Join(f.checkOutput(), focus.Picture(f.picture).Check(f.style)); err != nil {
		return usageError{err}
	}
	sources, err := findSources(args, cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.many(sources) {
		return f.runMany(cmd, sources, look)
	}
	arg := sources[0].Name
	if f.url != "" {
		return f.runRemote(cmd, sources[0])
	}
	m, err := f.modelFlags.open(cmd.Context(), cmd.ErrOrStderr(), look)
	if err != nil {
		return err
	}
	defer m.Close()
	q, err := f.ask(m)
	if err != nil {
		return usageError{err}
	}
	if note := m.NoteOf(q); note != m.Checkpoint.Note {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", printable(strings.TrimPrefix(note, m.Checkpoint.Note+"; ")))
	}
	x, err := f.explain(cmd.Context(), m, sources[0], look, q)
	if err != nil {
		return fmt.Errorf("%s: %w", arg, err)
	}
	shown, err := f.present(m, arg, q, x)
	if err != nil {
		return fmt.Errorf("%s: %w", arg, err)
	}
	return f.show(cmd.OutOrStdout(), shown)
}

// pictureKind is what --picture says, or else a figure where it has room for
// its letters.
func (f *explainFlags) pictureKind() string {
	switch {
	case f.picture != "":
		return f.picture
	case f.drawsPicture() && f.style.Compat == "":
		return string(focus.FigurePicture)
	}
	return string(focus.OverlayPicture)
}

// many reports whether there is more to be shown than one picture of one map.
func (f *explainFlags) many(sources []lib.Source) bool {
	extra := f.drawsPicture() && (f.photo || f.sanity || f.question.Evidence && f.picture == string(focus.FigurePicture) ||
		len(f.queries) > 1 || len(f.classes) > 1 || f.question.Best > 1)
	return len(sources) > 1 || len(f.methods()) > 1 || extra || f.output == "-" || isHTML(f.output) || f.drawsPicture() && isFolder(f.output)
}

// ask completes the question for a model, or says what is wrong with it.
func (f *explainFlags) ask(m *lib.Model) (focus.Question, error) {
	if f.question.Best < 0 {
		return f.question, fmt.Errorf("--classes %d, want 1 or more", f.question.Best)
	}
	return m.Ask(lib.Question{
		Question: f.question, Classes: f.classes, Versus: f.versus,
		Attention: f.values == focus.ValuesAttention, Sheet: focus.Picture(f.picture) == focus.SheetPicture,
	})
}

// explanation is what was found out about a photo.
type explanation struct {
	*lib.Explanation
	sanity []*focus.Sanity // of each map that there is; without --sanity nil
}

// explain sends the picture through the model and answers the question.
func (f *explainFlags) explain(ctx context.Context, m *lib.Model, s lib.Source, look lib.Look, q focus.Question) (*explanation, error) {
	look.Keep, look.Compat = true, q.Options.Compat
	p, err := m.Prepare(ctx, s, look)
	if err != nil {
		return nil, err
	}
	x := &explanation{}
	if x.Explanation, err = m.ExplainPrepared(ctx, p, q); err != nil || !f.sanity {
		return x, err
	}
	for _, of := range x.Maps {
		s, err := checkSanity(ctx, m, p, of)
		if err != nil {
			return nil, err
		}
		if s != nil {
			x.sanity = append(x.sanity, s)
		}
	}
	return x, nil
}
