package focus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vitserve/vitserve/internal/words"
)

// Options choose a map. The zero value is the default of each method; an
// option that the method does not have is refused. OptionTable says what each
// may be, and of which methods it is.
type Options struct {
	Layer   int     // 1-based layer of raw and gradcam; 0: the last
	Head    int     // 1-based head of raw; 0: all, fused
	Fusion  Fusion  // of the heads; "": mean
	Discard float64 // rollout: share of the lowest attention of each layer that is zeroed, 0 to <1
	Start   int     // 1-based first layer that is read; 0: the first of all, of legrad the last but one
	Query   []int   // row, column of the patch that asks; nil: the class token, or all patches where there is none
	Mass    float64 // keeps only the cells that hold this share of the map, 0 to 1; 0: all of them
	Compat  string  // "vit-explain": that author's normalisation axis; "": the papers'

	Window int     // occlusion: patches a side that are dropped together; 0: 1
	Masks  int     // rise: how many random parts are asked about; 0: DefaultMasks
	Keep   float64 // rise: share of the patches in a part, 0 to 1; 0: DefaultKeep
	Seed   uint64  // rise: of its random numbers
	Steps  int     // integrated: how many gradients are averaged; 0: DefaultSteps
}

// VitExplain is the Compat of Options and Style that reproduces the pictures
// of https://github.com/jacobgil/vit-explain.
const VitExplain = "vit-explain"

// Fusion is how the heads of a layer become one matrix.
type Fusion string

// Fusions.
const (
	Mean Fusion = "mean"
	Max  Fusion = "max"
	Min  Fusion = "min"
)

// Fusions returns the names of the fusions, the default first.
func Fusions() []string { return []string{string(Mean), string(Max), string(Min)} }

// Bounds of how long a method takes.
const (
	maxMasks = 20000
	maxSteps = 1000
)

// Option is a row of the table of options. It has the same name in a request,
// as a flag of the command, in the documentation and in errors.
type Option struct {
	Name    string
	List    string // its name where several may be given, for a map each; "": one alone
	Kind    Kind
	Help    string   // what it is, for people
	Range   string   // what it may be, likewise
	Default string   // what it is where it is not given, likewise
	Methods []string // that understand it

	at  func(o *Options) Value
	bad func(o Options, s Shape) error // says what is allowed of a model of that shape, if o is not
}

// Kind is what an option is written as.
type Kind string

// Kinds.
const (
	Whole Kind = "whole number" // from 0
	Seed  Kind = "seed"         // a whole number of 64 bits
	Share Kind = "share"        // a number, 0 to 1
	Word  Kind = "word"
	Cell  Kind = "row,column" // of a patch, from 0
)

// Value returns where the option lies in o.
func (p Option) Value(o *Options) Value { return p.at(o) }

// OptionTable is the table of options, in the order in which people read it
// and errors list them.
func OptionTable() []Option { return slices.Clone(optionTable) }

func makeOptions() []Option {
	return []Option{
		{
			Name: "layer", Kind: Whole, Methods: []string{"raw", "gradcam"},
			Help: "layer that is read, from 1", Range: "1 to the number of layers", Default: "the last",
			at: func(o *Options) Value { return (*whole)(&o.Layer) },
			bad: func(o Options, s Shape) error {
				return within("layer", o.Layer, s.Depth, fmt.Sprintf("1 to %d", s.Depth), "0 for the last")
			},
		},
		{
			Name: "head", Kind: Whole, Methods: []string{"raw"},
			Help: "head that is read, from 1", Range: "1 to the number of heads", Default: "all of them, fused",
			at: func(o *Options) Value { return (*whole)(&o.Head) },
			bad: func(o Options, s Shape) error {
				heads := s.Heads
				if s.looksByProbe(o) {
					heads = s.ProbeHeads
				}
				return within("head", o.Head, heads, fmt.Sprintf("1 to %d", heads), "0 for all")
			},
		},
		{
			Name: "fusion", Kind: Word, Methods: []string{"raw", "rollout"},
			Help: "how heads become one", Range: strings.Join(Fusions(), ", "), Default: Fusions()[0],
			at:  func(o *Options) Value { return (*word)(&o.Fusion) },
			bad: func(o Options, _ Shape) error { return among("fusion", string(o.Fusion), Fusions()...) },
		},
		{
			Name: "discard", Kind: Share, Methods: []string{"rollout", "normrollout", "gradrollout"},
			Help: "share of the lowest attention of each layer that is left out", Range: "0 to below 1", Default: "0",
			at:  func(o *Options) Value { return (*share)(&o.Discard) },
			bad: func(o Options, _ Shape) error { return below1("discard ratio", o.Discard) },
		},
		{
			Name: "start", Kind: Whole, Methods: []string{"rollout", "normrollout", "relevance", "gradrollout", "legrad"},
			Help: "first layer that is read, from 1", Range: "1 to the number of layers", Default: "the first of all, of legrad the last but one",
			at: func(o *Options) Value { return (*whole)(&o.Start) },
			bad: func(o Options, s Shape) error {
				return within("start layer", o.Start, s.Depth, fmt.Sprintf("1 to %d", s.Depth))
			},
		},
		{
			Name: "query", List: "queries", Kind: Cell, Methods: []string{"raw", "rollout", "normrollout"},
			Help: "row,column of a patch whose attention is shown, from 0", Range: "0,0 to the last row and column", Default: "the class token, or all patches where there is none",
			at: func(o *Options) Value { return (*cell)(&o.Query) },
			bad: func(o Options, s Shape) error {
				q := o.Query
				if len(q) == 0 || len(q) == 2 && q[0] >= 0 && q[0] < s.Grid[0] && q[1] >= 0 && q[1] < s.Grid[1] {
					return nil
				}
				return badOption("query", q, fmt.Sprintf("row,column of 0,0 to %d,%d", s.Grid[0]-1, s.Grid[1]-1))
			},
		},
		{
			Name: "mass", Kind: Share, Methods: Names(FromAttention, FromParts, FromGradients),
			Help: "keeps only the patches that hold this share of the map", Range: "0 to 1", Default: "0, all of them",
			at: func(o *Options) Value { return (*share)(&o.Mass) },
			bad: func(o Options, _ Shape) error {
				if o.Mass >= 0 && o.Mass <= 1 {
					return nil
				}
				return badOption("mass", o.Mass, "0 to 1")
			},
		},
		{
			Name: "compat", Kind: Word, Methods: []string{"rollout", "gradrollout"},
			Help: "reproduces the pictures of another program", Range: VitExplain, Default: "none",
			at:  func(o *Options) Value { return (*word)(&o.Compat) },
			bad: func(o Options, _ Shape) error { return among("compat", o.Compat, VitExplain) },
		},
		{
			Name: "window", Kind: Whole, Methods: []string{"occlusion"},
			Help: "patches a side that are dropped together", Range: "1 to below the shorter side of the grid", Default: "1",
			at: func(o *Options) Value { return (*whole)(&o.Window) },
			bad: func(o Options, s Shape) error {
				most := min(s.Grid[0], s.Grid[1]) - 1
				return within("window", o.Window, most, fmt.Sprintf("1 to %d patches a side", most))
			},
		},
		{
			Name: "masks", Kind: Whole, Methods: []string{"rise"},
			Help: "random parts of the picture that are asked about", Range: fmt.Sprintf("1 to %d", maxMasks), Default: fmt.Sprint(DefaultMasks),
			at: func(o *Options) Value { return (*whole)(&o.Masks) },
			bad: func(o Options, _ Shape) error {
				return within("masks", o.Masks, maxMasks, fmt.Sprintf("1 to %d", maxMasks))
			},
		},
		{
			Name: "keep", Kind: Share, Methods: []string{"rise"},
			Help: "share of the patches in a part", Range: "above 0 to below 1", Default: fmt.Sprint(DefaultKeep),
			at:  func(o *Options) Value { return (*share)(&o.Keep) },
			bad: func(o Options, _ Shape) error { return below1("share to keep", o.Keep) },
		},
		{
			Name: "seed", Kind: Seed, Methods: []string{"rise"},
			Help: "seed of the random numbers", Range: "0 to 2⁵³−1 in a request, 2⁶⁴−1 of the command", Default: "0",
			at:  func(o *Options) Value { return (*seed)(&o.Seed) },
			bad: func(Options, Shape) error { return nil },
		},
		{
			Name: "steps", Kind: Whole, Methods: []string{"integrated"},
			Help: "gradients that are averaged", Range: fmt.Sprintf("1 to %d", maxSteps), Default: fmt.Sprint(DefaultSteps),
			at: func(o *Options) Value { return (*whole)(&o.Steps) },
			bad: func(o Options, _ Shape) error {
				return within("steps", o.Steps, maxSteps, fmt.Sprintf("1 to %d", maxSteps))
			},
		},
	}
}

// within refuses a count that is not from 0 to most.
func within(what string, found, most int, allowed ...string) error {
	if found >= 0 && found <= max(most, 0) {
		return nil
	}
	return badOption(what, found, allowed...)
}

// below1 refuses what is not from 0 to below 1, and so NaN.
func below1(what string, found float64) error {
	if found >= 0 && found < 1 {
		return nil
	}
	return badOption(what, found, "0 to below 1")
}

// among refuses a word that is not one of the allowed, and not empty.
func among(what, found string, allowed ...string) error {
	if found == "" || slices.Contains(allowed, found) {
		return nil
	}
	return badOption(what, found, allowed...)
}

// given returns the names of the options that are not at their default.
func (o Options) given() (names []string) {
	for _, p := range optionTable {
		if p.at(&o).Given() {
			names = append(names, p.Name)
		}
	}
	return names
}

// check says what of o is impossible on a model of that shape.
func (o Options) check(s Shape) error {
	for _, p := range optionTable {
		if err := p.bad(o, s); err != nil {
			return err
		}
	}
	return nil
}

// badOption is the error of an option whose value is not among the allowed.
func badOption(what string, found any, allowed ...string) error {
	text, near := fmt.Sprint(found), ""
	if quoted, err := strconv.Unquote(text); err == nil {
		text = quoted
	}
	if name := words.Nearest(text, allowed...); name != "" {
		near = "; did you mean " + name + "?"
	}
	return fmt.Errorf("attention: %w: %s %v, want %s%s", ErrOption, what, found, strings.Join(allowed, ", "), near)
}
