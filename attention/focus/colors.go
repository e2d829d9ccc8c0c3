package focus

// colorTable are the colours of a map's values, lowest to highest: red,
// green, blue.
type colorTable [256][3]uint8

// colors are the tables, the default first.
var colors = []struct {
	name  string
	table *colorTable
}{
	{"turbo", &turbo}, {"viridis", &viridis}, {"inferno", &inferno}, {"jet", &jet}, {"gray", &gray}, {"diverging", diverging},
}

// diverging is for maps with signs: blue speaks against, red for, and white is
// neither. It is ColorBrewer's RdBu of eleven colours, turned round, with
// straight lines between them: https://colorbrewer2.org.
var diverging = between(
	[3]uint8{5, 48, 97}, [3]uint8{33, 102, 172}, [3]uint8{67, 147, 195}, [3]uint8{146, 197, 222}, [3]uint8{209, 229, 240}, [3]uint8{247, 247, 247},
	[3]uint8{253, 219, 199}, [3]uint8{244, 165, 130}, [3]uint8{214, 96, 77}, [3]uint8{178, 24, 43}, [3]uint8{103, 0, 31},
)

// between is a table with these colours at even steps.
func between(stops ...[3]uint8) *colorTable {
	var t colorTable
	for i := range t {
		at := float64(i) / 255 * float64(len(stops)-1)
		k := min(int(at), len(stops)-2)
		for c := range 3 {
			a, b := float64(stops[k][c]), float64(stops[k+1][c])
			t[i][c] = uint8(a + (b-a)*(at-float64(k)) + 0.5)
		}
	}
	return &t
}

// Colors returns the names of the colour maps, the default first; that of maps
// with signs is diverging.
func Colors() []string {
	var names []string
	for _, c := range colors {
		names = append(names, c.name)
	}
	return names
}

// colorsOf returns the table that a map is painted with: of a map with signs,
// where no other is named, the diverging one.
func (s Style) colorsOf(m *Map) *colorTable {
	if low, _ := m.Range(); low < 0 && s.Colors == "" {
		return diverging
	}
	table, _ := findColors(s.Colors)
	return table
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
