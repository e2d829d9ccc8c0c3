package focus

// colorTable are the colours of a map's values, lowest to highest: red,
// green, blue.
type colorTable [256][3]uint8

// colors are the tables, the default first.
var colors = []struct {
	name  string
	table *colorTable
}{
	{"turbo", &turbo}, {"viridis", &viridis}, {"inferno", &inferno}, {"jet", &jet}, {"gray", &gray},
}

// Colors returns the names of the colour maps, the default first.
func Colors() []string {
	var names []string
	for _, c := range colors {
		names = append(names, c.name)
	}
	return names
}

// findColors returns the table of that name; "" is the default.
func findColors(name string) (*colorTable, error) {
	for _, c := range colors {
		if name == c.name || name == "" {
			return c.table, nil
		}
	}
	return nil, badOption("colours", name, Colors()...)
}
