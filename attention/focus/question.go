package focus

import (
	"fmt"
	"slices"
	"strings"
)

// MaxMaps is how many maps one question may ask for.
const MaxMaps = 32

// Question is what is asked about an image. The zero value asks for the
// default map.
type Question struct {
	Method   string   // one of Names; "": see Default
	Options  Options  // of the method; without Query, for which there is Queries
	Queries  [][]int  // row, column of patches that ask, a map each; none: the class token
	Targets  []Target // a map each; none: the Best classes of the image
	Best     int      // how many of the image's best classes there are maps of, where Targets are none; 0: one, where the map is of a class
	Evidence bool     // scores each map, and looks for outliers
	Layers   bool     // what each layer would have answered: whoever has the model finds it out
	Keep     *Part    // of the attention that is returned itself; nil: none. See OfSheet, OfAttention
}

// Default returns the name of the method that answers q where it names none:
// DefaultMethod or AttentionMethod. knows says whether the model knows classes.
func (q Question) Default(knows bool) string {
	if q.ofClass() {
		return DefaultMethod
	}
	given := q.Options.given()
	if len(q.Queries) > 0 {
		given = append(given, "query")
	}
	all := func(name string) bool {
		m, err := Find(name)
		return err == nil && !slices.ContainsFunc(given, func(option string) bool { return !m.understands(option) })
	}
	if !knows || !all(DefaultMethod) && all(AttentionMethod) {
		return AttentionMethod
	}
	return DefaultMethod
}

// method returns the method that is asked for, of a model that knows classes
// where none is named.
func (q Question) method() (Method, error) {
	if q.Method == "" {
		return Find(q.Default(true))
	}
	return Find(q.Method)
}

func (q Question) ofClass() bool { return len(q.Targets) > 0 || q.Best > 0 }

// asks reports whether a map of m, or its evidence, is about a class.
func (q Question) asks(m Method) bool {
	return q.Evidence || m.OfClass()
}

// AsksModel reports whether a map of q, or its evidence, is about a class, so
// that the model needs a head. What Aim has still to find is not looked at. A
// default map is of attention where there is no head.
func (q Question) AsksModel() bool {
	if q.Method == "" {
		return q.ofClass() || q.Evidence || q.Layers
	}
	m, err := q.method()
	return err == nil && (q.ofClass() || q.Layers || q.asks(m))
}

// Count returns how many maps q asks for.
func (q Question) Count() int { return max(1, len(q.Queries)) * max(1, len(q.Targets), q.Best) }

// Batch returns how many images at once a session should take that answers q:
// one, or the batches in which parts of the image are asked about.
func (q Question) Batch() int {
	if m, err := q.method(); err == nil && q.asks(m) {
		return defaultBatch
	}
	return 1
}

// Aim asks about classes by what find finds of their names, each against
// versus if that is not empty.
func (q *Question) Aim(find func(name string) (int, error), classes []string, versus string) error {
	switch {
	case len(classes) > 0 && q.Best > 0:
		return fmt.Errorf("attention: %w: class with classes, want one of them", ErrOption)
	case versus != "" && len(classes) == 0:
		return fmt.Errorf("attention: %w: versus: want a class that is compared with it", ErrOption)
	}
	for _, name := range classes {
		k, err := find(name)
		if err != nil {
			return fmt.Errorf("class: %w", err)
		}
		t := Target{Class: k}
		if versus != "" {
			against, err := find(versus)
			if err != nil {
				return fmt.Errorf("versus: %w", err)
			}
			t.Versus = []int{against}
		}
		q.Targets = append(q.Targets, t)
	}
	return nil
}

// OfAttention makes q keep all attention, or that of the layer or head of its
// options.
func (q *Question) OfAttention() error {
	if len(q.Queries) > 0 || q.Evidence {
		return fmt.Errorf("attention: %w: values %s are of every query, want neither queries nor evidence", ErrOption, ValuesAttention)
	}
	q.Keep = &Part{Layer: q.Options.Layer, Head: q.Options.Head}
	return q.ofRaw("values "+ValuesAttention, "layer", "head")
}

// OfSheet makes q keep what a ContactSheet shows.
func (q *Question) OfSheet(s Shape) error {
	if err := q.ofRaw("picture "+string(SheetPicture), "mass"); err != nil {
		return err
	}
	if len(q.Queries) > 1 {
		return badOption("queries of a sheet", len(q.Queries), "one")
	}
	s.ProbeHeads = 0 // its pictures are of layers
	q.Keep = &Part{Rows: q.Rows(s)}
	return nil
}

// ofRaw makes the method of q that of a picture, or of values, of attention
// itself, which understand these options.
func (q *Question) ofRaw(what string, understood ...string) error {
	if q.Method == "" && !q.ofClass() {
		q.Method = "raw"
	}
	more := slices.ContainsFunc(q.Options.given(), func(name string) bool { return !slices.Contains(understood, name) })
	if q.Method != "raw" || more {
		return fmt.Errorf("attention: %w: %s: it is of attention as it is, want no class, no method but raw, and of its options %s",
			ErrOption, what, "layer and head with values, mass with a sheet")
	}
	return nil
}

// Derives reports whether the maps of q come from gradients: Explain then
// makes a forward pass of its own.
func (q Question) Derives() bool {
	m, err := q.method()
	return err == nil && m.From == FromGradients
}

// Check says what of q is impossible for a model of that shape. The error
// names what is allowed and has ErrOption in its chain. Whether there are such
// classes is not looked at.
func (q Question) Check(s Shape) error {
	m, err := q.method()
	if err != nil {
		return err
	}
	versus := slices.ContainsFunc(q.Targets, func(t Target) bool { return len(t.Versus) > 0 })
	switch {
	case m.From == FromMaps && q.Options.Mass != 0:
		return fmt.Errorf("attention: %w: mass: %s compares whole maps", ErrOption, m.Name)
	case q.ofClass() && !q.asks(m):
		return fmt.Errorf("attention: %w: class: %s reads attention, which knows no class; want it with %s, %s or evidence",
			ErrOption, m.Name, strings.Join(append(Names(FromGradients), Names(FromParts)...), ", "), AutoMethod)
	case versus && m.From != FromGradients:
		return fmt.Errorf("attention: %w: versus: method %s compares no classes, want %s", ErrOption, m.Name, strings.Join(Names(FromGradients), ", "))
	case q.Count() > MaxMaps:
		return badOption("maps of one image", q.Count(), fmt.Sprintf("at most %d", MaxMaps))
	}
	for _, o := range q.options() {
		if err := m.Check(o, s); err != nil {
			return err
		}
	}
	return nil
}

// options returns the options of each map of a target.
func (q Question) options() []Options {
	if len(q.Queries) == 0 {
		return []Options{q.Options}
	}
	var all []Options
	for _, cell := range q.Queries {
		o := q.Options
		o.Query = cell
		all = append(all, o)
	}
	return all
}

// Rows returns the query rows of attention that a forward pass of a model of
// that shape must record for q: none where it is empty, every one where it is
// nil.
func (q Question) Rows(s Shape) []int {
	m, err := q.method()
	if err != nil || q.Keep != nil && q.Keep.Rows == nil {
		return nil
	}
	rows := []int{}
	for _, o := range q.options() {
		more := m.rows(o, s)
		if more == nil {
			return nil
		}
		rows = append(rows, more...)
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

// Gram reports whether a forward pass must record Record.Gram for q.
func (q Question) Gram() bool {
	m, err := q.method()
	return err == nil && m.Gram
}

// Passes returns about how many forward passes of one image the answer takes
// on a model of that shape: so much it costs beside others.
func (q Question) Passes(s Shape) float64 {
	m, err := q.method()
	if err != nil {
		return 0
	}
	once, each := m.passes(q.Options, s)
	all := once + each*float64(max(1, len(q.Targets), q.Best))
	if q.Evidence && m.From != FromMaps {
		all += evidencePasses * float64(q.Count())
	}
	if q.Evidence || m.From == FromMaps {
		all++ // for Outliers
	}
	if q.Layers {
		all++
	}
	return all
}
