package focus

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tried are texts that each kind of option takes, and does not.
var tried = map[Kind]struct{ good, bad []string }{
	Whole: {[]string{"1", "-1", "2147483647"}, []string{"", "1.5", "9223372036854775808", "x", "0x1"}},
	Seed:  {[]string{"1", "18446744073709551615"}, []string{"", "-1", "1.5", "18446744073709551616", "x"}},
	Share: {[]string{"0.25", "1"}, []string{"", "0,5", "x"}},
	Word:  {[]string{"max", "anything"}, nil},
	Cell:  {[]string{"0,1", "3,14"}, []string{"", "3", "-1,2"}},
}

// TestOptionTable holds the table to Options: each row is a field of its own,
// and none is missing.
func TestOptionTable(t *testing.T) {
	var all Options
	var names []string
	for _, p := range OptionTable() {
		names = append(names, p.Name)
		require.NotEmpty(t, p.Help, p.Name)
		require.NotEmpty(t, p.Range, p.Name)
		require.NotEmpty(t, p.Default, p.Name)
		require.NotEmpty(t, p.Methods, p.Name)
		require.Subset(t, Names(), p.Methods, p.Name)
		for _, text := range tried[p.Kind].good {
			var o Options
			require.NoError(t, p.Value(&o).Set(text), p.Name)
			require.Equal(t, text, p.Value(&o).String(), p.Name)
			require.Equal(t, []string{p.Name}, o.given())
			require.NoError(t, p.Value(&all).Set(text))
		}
		for _, text := range tried[p.Kind].bad {
			require.Error(t, p.Value(new(Options)).Set(text), "%s %q", p.Name, text)
		}
		require.NotEmpty(t, p.Value(&all).Type(), p.Name)
		require.NoError(t, p.bad(Options{}, Shape{Grid: [2]int{2, 2}, Depth: 1, Heads: 1}), "the default of %s", p.Name)
	}
	require.Equal(t, names, all.given())
	for _, field := range strings.Fields(strings.Trim(fmt.Sprintf("%+v", all), "{}")) {
		if name, value, named := strings.Cut(field, ":"); named {
			require.NotContains(t, []string{"", "0", "[]"}, value, "%s is in no row", name)
		}
	}
}

// TestDocumentation holds the tables of the documentation to those here.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile("../../docs/focus-maps.md")
	require.NoError(t, err)
	lines := strings.Split(string(b), "\n")
	for _, p := range OptionTable() {
		name, of := p.Name, "`"+strings.Join(p.Methods, "`, `")+"`"
		if p.List != "" {
			name = p.List
		}
		if len(p.Methods) == len(Names())-1 {
			of = "all but `" + AutoMethod + "`"
		}
		require.Contains(t, lines, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", name, p.Help, p.Range, p.Default, of))
	}
	for _, name := range Names() {
		require.True(t, slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "| `"+name+"` | ") }), "%s is not described", name)
	}
}

// TestLayers: people count from 1, and 0 names none.
func TestLayers(t *testing.T) {
	require.Equal(t, 0, blockOf(1, 9))
	require.Equal(t, 9, blockOf(0, 9))
	for block := range 12 {
		require.Equal(t, block, blockOf(layerOf(block), -1))
	}
}

// TestPasses holds the order of what answers cost to what they ask.
func TestPasses(t *testing.T) {
	s := Shape{Grid: [2]int{14, 14}, Patch: [2]int{16, 16}, Prefix: 1, Depth: 12, Heads: 12}
	require.InDelta(t, 1, Question{Method: "raw"}.Passes(s), 0)
	require.InDelta(t, 1+196, Question{Method: "occlusion"}.Passes(s), 2)
	require.InDelta(t, 1+200, Question{Method: "rise"}.Passes(s), 0)
	require.InDelta(t, 1+2*200, Question{Method: "rise", Best: 2}.Passes(s), 0)
	require.InDelta(t, 39.4, Question{Method: "integrated"}.Passes(s), 1e-9)
	require.InDelta(t, 1+74+1, Question{Method: "raw", Evidence: true}.Passes(s), 0)
	require.InDelta(t, 1+2*74+1, Question{Method: "raw", Evidence: true, Best: 2}.Passes(s), 0)
	require.Greater(t, Question{Method: AutoMethod}.Passes(s), 8*74.0)
	for _, name := range Names() {
		require.GreaterOrEqual(t, Question{Method: name}.Passes(s), 1.0, name)
		more := Question{Method: name, Targets: make([]Target, 3)}
		require.GreaterOrEqual(t, more.Passes(s), Question{Method: name}.Passes(s), name)
	}
	require.Zero(t, Question{Method: "magic"}.Passes(s))
}
