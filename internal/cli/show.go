package cli

import (
	"errors"
	"fmt"
	"image"
	"io"
	"path/filepath"
	"slices"
	"strings"

	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/models"
)

// shown is an explanation as it is shown, made here or by a server.
type shown struct {
	answer       *v1.ExplainAnswer           // of one picture; nil: attention alone was asked for
	depth, heads int                         // of the model
	picture      func() (image.Image, error) // that --picture names
	photo        image.Image                 // nil: a server has it
	file         func(w io.Writer) error     // writes what --output is to hold
	sanity       []*focus.Sanity             // by map; nil without --sanity
}

// isNpy reports whether a file is to hold values in place of a picture.
func isNpy(path string) bool { return strings.EqualFold(filepath.Ext(path), ".npy") }

// checkOutput refuses a picture or a file that explain does not write.
func (f *explainFlags) checkOutput() error {
	switch {
	case f.values != focus.ValuesMap && f.values != focus.ValuesAttention:
		return fmt.Errorf("--values %s, want %s or %s", f.values, focus.ValuesMap, focus.ValuesAttention)
	case f.values == focus.ValuesAttention && !isNpy(f.output):
		return fmt.Errorf("--values %s, want --output with a name that ends in .npy", f.values)
	case f.values == focus.ValuesAttention && f.sanity:
		return fmt.Errorf("--values %s makes no map, so there is none for --sanity", f.values)
	case f.values == focus.ValuesAttention && f.json:
		return fmt.Errorf("--values %s is no JSON", f.values)
	case f.quality < 1 || f.quality > 100:
		return fmt.Errorf("--quality %d, want 1 to 100", f.quality)
	case f.quality != focus.DefaultQuality && (f.output == "" || isNpy(f.output) || isPNG(f.output)):
		return fmt.Errorf("--quality %d, want --output with a name that ends in .jpg", f.quality)
	case f.output == "-" && f.json:
		return errors.New("--output - with --json: both would be written to standard output, want one of them")
	case f.output == "" || isNpy(f.output) || f.output == "-" || isHTML(f.output) || isFolder(f.output):
		return nil
	}
	return checkPictureName(f.output)
}

// present is what was found out in the words of the contract, and as pictures.
func (f *explainFlags) present(m *lib.Model, name string, q focus.Question, x *explanation) (*shown, error) {
	c := m.Checkpoint
	s := &shown{depth: m.Config().Depth, heads: m.Config().Heads, sanity: x.sanity}
	if f.values == focus.ValuesAttention {
		s.file = func(w io.Writer) error { return x.Kept.WriteNpy(w, 0) }
		return s, nil
	}
	var classes []models.Prediction
	if x.Logits != nil {
		classes = c.Top(x.Logits, 0, 0)
	}
	r, maps, err := api.ExplainedOf(x.Explanation.Explanation, x.Geometry, classes)
	if err != nil {
		return nil, err
	}
	r.Image = name
	if len(classes) > 0 {
		top := api.PredictionsOf(classes[:min(5, len(classes))])
		r.Predictions = &top
	}
	for _, logits := range x.Layers {
		r.Layers = append(r.Layers, api.LayersOf([][]models.Prediction{c.Top(logits, 5, 0)})...)
		r.Layers[len(r.Layers)-1].Layer = len(r.Layers)
	}
	s.answer = &v1.ExplainAnswer{Model: c.Name, Note: m.NoteOf(q), Results: []v1.ExplainResult{r}}
	if f.json {
		s.answer.Revision = c.Revision()
	}
	if x.Photo != nil {
		s.photo = x.Photo.Image
	}
	s.picture = func() (image.Image, error) { return x.Draw(focus.Picture(f.picture), painted(x), f.style) }
	s.file = func(w io.Writer) error {
		if isNpy(f.output) {
			return focus.WriteMaps(w, maps...)
		}
		m, err := s.picture()
		if err != nil {
			return err
		}
		return encodePicture(w, f.output, m, f.quality)
	}
	return s, nil
}

// painted returns the first map that there is.
func painted(x *explanation) int {
	return max(slices.IndexFunc(x.Maps, func(e focus.Focus) bool { return e.Map != nil && e.Err == nil }), 0)
}

// show writes what was asked for: a file, JSON, or something to look at.
func (f *explainFlags) show(stdout io.Writer, s *shown) error {
	if s.answer != nil && isNpy(f.output) && len(s.answer.Results[0].Failed) > 0 {
		// The file would not say which map is missing.
		m := s.answer.Results[0].Failed[0]
		return fmt.Errorf("no map of %s for %s: %s", m.Method, printable(m.Class.Label), printable(m.Error.Detail))
	}
	if f.output != "" {
		if err := createFile(f.output, s.file); err != nil {
			return err
		}
	}
	switch {
	case f.json:
		return f.writeAnswer(stdout, s)
	case s.answer == nil:
		_, err := fmt.Fprintf(stdout, "attention in %s\n", f.output)
		return err
	}
	r := &s.answer.Results[0]
	if _, err := io.WriteString(stdout, s.words()); err != nil {
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
	if canDraw(stdout) && len(r.Maps) == 1 {
		m, err := s.picture()
		if err != nil {
			return err
		}
		if s.photo != nil {
			m = sideBySide(s.photo, m)
		}
		return drawPicture(stdout, m)
	}
	for i := range r.Maps {
		if len(r.Maps) > 1 {
			fmt.Fprintf(stdout, "\n%s\n", s.title(&r.Maps[i]))
		}
		if err := drawLetters(stdout, r.Maps[i].Values); err != nil {
			return err
		}
	}
	return nil
}

// writeAnswer writes what the contract answers, on a line.
func (f *explainFlags) writeAnswer(w io.Writer, s *shown) error {
	if s.sanity != nil {
		return writeJSON(w, saneAnswer{s.answer, s.sanity})
	}
	return writeJSON(w, s.answer)
}

// words is all that is said of a picture.
func (s *shown) words() string {
	r := &s.answer.Results[0]
	text := s.describe(r)
	for i, check := range s.sanity {
		text += describeSanity(s.title(&r.Maps[i]), check)
	}
	return text
}

// title says what a map is of.
func (s *shown) title(m *v1.Map) string {
	var b strings.Builder
	b.WriteString(m.Method)
	if m.Layer > 0 {
		fmt.Fprintf(&b, ", layer %d of %d", m.Layer, s.depth)
	}
	if m.Head > 0 {
		fmt.Fprintf(&b, ", head %d of %d", m.Head, s.heads)
	} else if m.Fusion != "" {
		fmt.Fprintf(&b, ", %s of %d heads", m.Fusion, s.heads)
	}
	if m.Query != nil {
		fmt.Fprintf(&b, ", patch %d,%d", m.Query[0], m.Query[1])
	}
	if m.Class.Label != "" {
		fmt.Fprintf(&b, ", for %s", printable(m.Class.Label))
	}
	if m.Versus.Label != "" {
		fmt.Fprintf(&b, " against %s", printable(m.Versus.Label))
	}
	return b.String()
}

// describe says in words what the maps are of and where they are strongest.
func (s *shown) describe(r *v1.ExplainResult) string {
	var b strings.Builder
	if r.Predictions != nil && len(*r.Predictions) > 0 {
		best := (*r.Predictions)[0]
		fmt.Fprintf(&b, "%s: %s (%.2f %%)\n", printable(r.Image), printable(best.Label), 100*best.Score)
	}
	for _, l := range r.Layers {
		var says []string
		for _, p := range l.Predictions[:min(3, len(l.Predictions))] {
			says = append(says, fmt.Sprintf("%s %.1f %%", printable(p.Label), 100*p.Score))
		}
		fmt.Fprintf(&b, "layer %2d  %s\n", l.Layer, strings.Join(says, ", "))
	}
	for _, m := range r.Maps {
		b.WriteString(s.title(&m))
		p := m.Peak
		fmt.Fprintf(&b, "; strongest at %.0f×%.0f pixels from (%.0f, %.0f)", p.W, p.H, p.X, p.Y)
		if c := r.Geometry.Coverage; c < 0.995 {
			fmt.Fprintf(&b, "; the model saw %.0f %% of the picture", 100*c)
		}
		b.WriteString("\n")
		for _, t := range m.Trials {
			if t.Error != "" {
				fmt.Fprintf(&b, "tried %s: %s\n", strings.Join(strings.Fields(t.Method+" "+t.Fusion), " "), t.Error)
				continue
			}
			fmt.Fprintf(&b, "tried %s: %.3f\n", strings.Join(strings.Fields(t.Method+" "+t.Fusion), " "), *t.Insertion-*t.Deletion)
		}
		if v := m.Evidence; v.DeletionCurve != nil {
			fmt.Fprintf(&b, "evidence: insertion %.3f − deletion %.3f = %.3f\n", v.Insertion, v.Deletion, v.Insertion-v.Deletion)
		}
	}
	for _, m := range r.Failed {
		fmt.Fprintf(&b, "no map of %s for %s: %s\n", m.Method, printable(m.Class.Label), printable(m.Error.Detail))
	}
	if r.Outliers != nil && len(*r.Outliers) > 0 {
		o := (*r.Outliers)[0]
		fmt.Fprintf(&b, "%d patches are outliers, the longest at row %d, column %d, %.1f times the median\n", len(*r.Outliers), o.Row, o.Col, o.Ratio)
	}
	return b.String()
}
