package focus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// AutoMethod is the name of the method that shows the map of the best
// evidence: see Auto. It is in no table, because its maps are those of others.
const AutoMethod = "auto"

// MaxMaps is how many maps one question may ask for.
const MaxMaps = 32

// AllNames returns what the method of a Question may be: Names, and auto.
func AllNames() []string { return append(Names(), AutoMethod) }

// Question is what is asked about an image. The zero value asks for the
// default map.
type Question struct {
	Method   string   // one of AllNames; "": DefaultMethod, or DefaultClassMethod where classes are asked for
	Options  Options  // of the method; without Query, for which there is Queries
	Queries  [][]int  // row, column of patches that ask, a map each; none: the class token
	Targets  []Target // a map each; none: the Best classes of the image
	Best     int      // how many of the image's best classes there are maps of, where Targets are none; 0: one, where the map is of a class
	Evidence bool     // scores each map, and looks for outliers
	Keep     *Part    // of the attention that is returned itself; nil: none. See OfSheet, OfAttention
}

// ParseCell reads the row and the column of a patch: "3,4".
func ParseCell(text string) ([]int, error) {
	row, col, _ := strings.Cut(text, ",")
	r, errRow := strconv.ParseUint(row, 10, 31)
	c, errCol := strconv.ParseUint(col, 10, 31)
	if errRow != nil || errCol != nil {
		return nil, badOption("query", fmt.Sprintf("%.64q", text), "row,column such as 3,4")
	}
	return []int{int(r), int(c)}, nil
}

// method returns the method that is asked for. auto reads the maps of others
// out of all the attention.
func (q Question) method() (Method, error) {
	name := q.Method
	switch {
	case name == AutoMethod:
		return Method{Name: AutoMethod, Full: true}, nil
	case name == "" && q.ofClass():
		name = DefaultClassMethod
	case name == "":
		name = DefaultMethod
	}
	m, err := Find(name)
	if err != nil {
		return m, badOption("method", fmt.Sprintf("%.64q", name), AllNames()...)
	}
	return m, nil
}

func (q Question) ofClass() bool { return len(q.Targets) > 0 || q.Best > 0 }

// asks reports whether a map of m, or its evidence, is about a class.
func (q Question) asks(m Method) bool {
	return q.Evidence || m.Probe != nil || m.Derive != nil || m.Name == AutoMethod
}

// AsksModel reports whether a map of q, or its evidence, is about a class, so
// that the model needs a head. What Aim has still to find is not looked at.
func (q Question) AsksModel() bool {
	m, err := q.method()
	return err == nil && (q.ofClass() || q.asks(m))
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
	return q.ofRaw("values "+ValuesAttention, Options{Layer: q.Options.Layer, Head: q.Options.Head})
}

// OfSheet makes q keep what a ContactSheet shows.
func (q *Question) OfSheet(r *Record) error {
	if err := q.ofRaw("picture "+string(SheetPicture), Options{Mass: q.Options.Mass}); err != nil {
		return err
	}
	if len(q.Queries) > 1 {
		return badOption("queries of a sheet", len(q.Queries), "one")
	}
	rows := q.Needs(r).Rows
	q.Keep = &Part{Rows: rows}
	return nil
}

// ofRaw makes the method of q that of a picture, or of values, of attention
// itself, which understand these options.
func (q *Question) ofRaw(what string, understood Options) error {
	if q.Method == "" && !q.ofClass() {
		q.Method = "raw"
	}
	if q.Method != "raw" || fmt.Sprint(q.Options) != fmt.Sprint(understood) {
		return fmt.Errorf("attention: %w: %s: it is of attention as it is, want no class, no method but raw, and of its options %s",
			ErrOption, what, "layer and head with values, mass with a sheet")
	}
	return nil
}

// Derives reports whether the maps of q come from gradients: Explain then
// makes a forward pass of its own.
func (q Question) Derives() bool {
	m, err := q.method()
	return err == nil && m.Derive != nil
}

// Check says what of q is impossible for a model of that grid (rows,
// columns), depth and heads. The error names what is allowed and has
// ErrOption in its chain. Whether there are such classes is not looked at.
func (q Question) Check(grid [2]int, depth, heads int) error {
	m, err := q.method()
	if err != nil {
		return err
	}
	versus := slices.ContainsFunc(q.Targets, func(t Target) bool { return len(t.Versus) > 0 })
	switch {
	case m.Name == AutoMethod && q.Options.Mass != 0:
		return fmt.Errorf("attention: %w: mass: %s compares whole maps", ErrOption, AutoMethod)
	case q.ofClass() && !q.asks(m):
		return fmt.Errorf("attention: %w: class: %s reads attention, which knows no class; want it with %s, %s or evidence",
			ErrOption, m.Name, strings.Join(append(GradientNames(), ProbeNames()...), ", "), AutoMethod)
	case versus && m.Derive == nil:
		return fmt.Errorf("attention: %w: versus: method %s compares no classes, want %s", ErrOption, m.Name, strings.Join(GradientNames(), ", "))
	case q.Count() > MaxMaps:
		return badOption("maps of one image", q.Count(), fmt.Sprintf("at most %d", MaxMaps))
	}
	for _, o := range q.options() {
		if err := check(m.Name, m.options, o, grid, depth, heads); err != nil {
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

// Needs returns what a forward pass must record for q. Of r it looks at Grid,
// Prefix and Pooled.
func (q Question) Needs(r *Record) (n Needs) {
	m, err := q.method()
	if err != nil || m.Name == AutoMethod {
		return Needs{Full: true}
	}
	for _, o := range q.options() {
		more := m.Needs(r, o)
		n.Rows, n.Full, n.Gram = append(n.Rows, more.Rows...), n.Full || more.Full, n.Gram || more.Gram
	}
	if n.Full || q.Keep != nil && q.Keep.Rows == nil {
		return Needs{Full: true, Gram: n.Gram}
	}
	slices.Sort(n.Rows)
	n.Rows = slices.Compact(n.Rows)
	return n
}
