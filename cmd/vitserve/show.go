package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// auto is the method that shows the map of the best evidence.
const auto = "auto"

// sheet is the picture of every layer and head.
const sheet = "sheet"

// pictures are what explain paints, the default first.
var pictures = []string{"overlay", "heat", sheet}

// allMethods names what --method takes.
func allMethods() []string {
	return append(attention.Names(), auto)
}

// findMethod returns the method of that name. auto has no map of its own: it
// reads those of others out of all the attention, and has no option.
func findMethod(name string) (attention.Method, error) {
	if name == auto {
		return attention.Method{Name: auto, Full: true}, nil
	}
	m, err := attention.Find(name)
	if err != nil {
		return m, fmt.Errorf("--method %s, want one of %s", name, strings.Join(allMethods(), ", "))
	}
	return m, nil
}

// asking are the flags of maps and scores that ask the model again.
type asking struct {
	class    string
	versus   string
	evidence bool
}

func (f *asking) register(cmd *cobra.Command, o *attention.Options) {
	flags := cmd.Flags()
	flags.StringVar(&f.class, "class", "", "label or index that a map with gradients, occlusion, rise and evidence are about; the best one if none is given")
	flags.StringVar(&f.versus, "versus", "", "label or index that the class of a map with gradients is set against")
	flags.IntVar(&o.Steps, "steps", 0, fmt.Sprintf("gradients that integrated averages (default %d)", attention.DefaultSteps))
	flags.BoolVar(&f.evidence, "evidence", false, "score the map: how the class fares as the picture is taken away, or given, in its order")
	flags.IntVar(&o.Window, "window", 0, "patches a side that occlusion drops together (default 1)")
	flags.IntVar(&o.Masks, "masks", 0, fmt.Sprintf("parts of the picture that rise asks about (default %d)", attention.DefaultMasks))
	flags.Float64Var(&o.Keep, "keep", 0, fmt.Sprintf("share of the patches in a part of rise, above 0 to below 1 (default %g)", attention.DefaultKeep))
	flags.Uint64Var(&o.Seed, "seed", 0, "of rise's random numbers")
}

// asks reports whether the map of m, or its evidence, is about a class.
func (f *asking) asks(m attention.Method) bool {
	return f.evidence || m.Probe != nil || m.Derive != nil || m.Name == auto
}

// batch returns how many parts of a picture the session takes at once.
func (f *asking) batch(m attention.Method) int {
	if f.asks(m) {
		return 8
	}
	return 1
}

// replies are what the model said when it was asked again.
type replies struct {
	Class    *models.Prediction  `json:"class,omitempty"`  // that the map or its evidence is about
	Versus   *models.Prediction  `json:"versus,omitempty"` // that the class is set against
	Evidence *attention.Evidence `json:"evidence,omitempty"`
	Trials   []trial             `json:"trials,omitempty"` // of auto, in its order
}

// trial is a map that auto tried.
type trial struct {
	Method    string           `json:"method"`
	Fusion    attention.Fusion `json:"fusion,omitempty"`
	Discard   float64          `json:"discard"`
	Insertion float64          `json:"insertion"`
	Deletion  float64          `json:"deletion"`
	Error     string           `json:"error,omitempty"` // why it has no map
}

// ask makes the map of x and what is wanted beside it.
func (f *asking) ask(ctx context.Context, e *engine, session *vit.Session, pixels *tensor.Dense, x *explanation, o attention.Options) (err error) {
	if f.versus != "" && (x.method.Derive == nil || f.class == "") {
		return usageError{fmt.Errorf("--versus: want --class and a method of %s", strings.Join(attention.GradientNames(), ", "))}
	}
	if !f.asks(x.method) {
		if f.class != "" {
			return usageError{fmt.Errorf("--class: %s reads attention, which knows no class; want it with %s, %s or --evidence",
				x.method.Name, strings.Join(append(attention.GradientNames(), attention.ProbeNames()...), ", "), auto)}
		}
		x.focus, err = x.method.Map(x.record, 0, o)
		return err
	}
	if x.logits == nil {
		return fmt.Errorf("model %s has no head to be asked", e.Name)
	}
	if x.Class, err = f.find(e, x.logits, f.class); err != nil {
		return usageError{err}
	}
	if f.versus != "" {
		if x.Versus, err = f.find(e, x.logits, f.versus); err != nil {
			return usageError{err}
		}
	}
	s := attention.Subject{
		Model: vit.Classifier{Session: session, MultiLabel: e.MultiLabel}, Pixels: pixels,
		Grid: x.record.Grid, Patch: e.Config.Patch, Class: x.Class.Index, Batch: f.batch(x.method),
	}
	switch {
	case x.method.Name == auto && o.Mass != 0:
		return usageError{fmt.Errorf("--mass: %s compares whole maps", auto)}
	case x.method.Name == auto:
		return f.best(ctx, s, x)
	case x.method.Derive != nil:
		x.focus, err = x.method.DeriveOne(ctx, x.images(s), o)
	case x.method.Probe != nil:
		x.focus, err = x.method.Probe(ctx, s, o)
	default:
		x.focus, err = x.method.Map(x.record, 0, o)
	}
	if err == nil && f.evidence {
		x.Evidence, err = attention.Evaluate(ctx, s, x.focus)
	}
	return err
}

// images is s as the methods with gradients take it.
func (x *explanation) images(s attention.Subject) attention.Images {
	target := attention.Target{Class: s.Class}
	if x.Versus != nil {
		target.Versus = []int{x.Versus.Index}
	}
	return attention.Images{
		Model: s.Model.(vit.Classifier), Pixels: s.Pixels, Patch: s.Patch, Batch: s.Batch, Targets: []attention.Target{target},
		Record: attention.Record{Grid: x.record.Grid, Prefix: x.record.Prefix, Pooled: x.record.Pooled},
	}
}

// best is the method auto.
func (f *asking) best(ctx context.Context, s attention.Subject, x *explanation) error {
	best, trials, err := attention.Auto(ctx, s, s.Model.(vit.Classifier), x.record, 0)
	if err != nil {
		return err
	}
	for _, t := range trials {
		o := trial{Method: t.Method, Fusion: t.Options.Fusion, Discard: t.Options.Discard}
		if o.Fusion == "" && slices.Contains(attention.MethodNames(), t.Method) {
			o.Fusion = attention.Mean
		}
		if t.Err != nil {
			o.Error = t.Err.Error()
		} else {
			o.Insertion, o.Deletion = t.Evidence.Insertion, t.Evidence.Deletion
		}
		x.Trials = append(x.Trials, o)
	}
	x.focus, x.Evidence = trials[best].Map, trials[best].Evidence
	x.used = trials[best].Options
	x.method, err = attention.Find(trials[best].Method)
	return err
}

// find returns the class that is asked for, by index or by label: the whole
// label or one of its names, in letters of any case.
func (f *asking) find(e *engine, logits []float32, class string) (*models.Prediction, error) {
	all := e.Top(logits, 0, 0)
	if class == "" {
		return &all[0], nil
	}
	if i, err := strconv.Atoi(class); err == nil {
		if at := slices.IndexFunc(all, func(p models.Prediction) bool { return p.Index == i }); at >= 0 {
			return &all[at], nil
		}
		return nil, fmt.Errorf("--class %d, want 0 to %d or a label", i, len(all)-1)
	}
	var found []int
	for i, p := range all {
		named := strings.EqualFold(p.Label, class) || slices.ContainsFunc(strings.Split(p.Label, ","), func(name string) bool {
			return strings.EqualFold(strings.TrimSpace(name), class)
		})
		if named {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 1:
		return &all[found[0]], nil
	case 0:
		return nil, fmt.Errorf("--class %s, want 0 to %d or one of the model's labels, which classify --top %d shows", class, len(all)-1, len(all))
	}
	return nil, fmt.Errorf("--class %s is the label of %d classes, want an index, such as %d or %d", class, len(found), all[found[0]].Index, all[found[1]].Index)
}

// isNpy reports whether a file is to hold values in place of a picture.
func isNpy(path string) bool { return strings.EqualFold(filepath.Ext(path), ".npy") }

// checkOutput refuses a picture or a file that explain does not write.
func (f *explainFlags) checkOutput() error {
	if !slices.Contains(pictures, f.picture) {
		return fmt.Errorf("--picture %s, want one of %s", f.picture, strings.Join(pictures, ", "))
	}
	if f.output == "" || isNpy(f.output) {
		return nil
	}
	return checkPictureName(f.output)
}

// paint makes the picture that was asked for.
func (f *explainFlags) paint(x *explanation) (*image.NRGBA, error) {
	switch f.picture {
	case "heat":
		return attention.HeatMap(x.focus, f.style, x.geom.Input[0], x.geom.Input[1])
	case sheet:
		return attention.ContactSheet(x.photo, x.geom, x.record, 0, f.options, f.style)
	}
	return attention.Overlay(x.photo, x.geom, x.focus, f.style)
}

// write writes the picture, or the values of the map, to the output file. A
// file that could not be written whole does not stay.
func (f *explainFlags) write(x *explanation, picture image.Image) (err error) {
	if !isNpy(f.output) {
		return writePicture(f.output, picture)
	}
	file, err := os.Create(f.output)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			os.Remove(f.output)
		}
	}()
	w := bufio.NewWriter(file)
	return errors.Join(x.focus.WriteNpy(w), w.Flush())
}
