package robust

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/robust/attack"
	"github.com/vitserve/vitserve/robust/corrupt"
)

// Cell is one disturbance of every photo: a cell of the table of results.
type Cell struct {
	Suite    string `json:"suite"`
	Name     string `json:"name"`
	Severity int    `json:"severity,omitempty"` // or level, from 1; 0: there are none
	Level    string `json:"level,omitempty"`    // the level in words

	how disturbance
}

// Key is the cell's name in files and reports.
func (c Cell) Key() string {
	if c.Severity == 0 {
		return c.Name
	}
	return c.Name + "/" + strconv.Itoa(c.Severity)
}

// Clean is the cell of the photo as it is. Every run has it, as the first.
var Clean = Cell{Suite: "clean", Name: "clean", how: untouched{}}

// Suite is a row of the table of suites.
type Suite struct {
	Name, Help string
	levels     bool // --severity chooses among its levels
	cells      func(flavour corrupt.Flavour) []Cell
}

// Suites returns the table.
func Suites() []Suite { return slices.Clone(suites) }

var suites = []Suite{
	{Name: "imagenet-c", Help: "the 15 corruptions of ImageNet-C", levels: true, cells: corruptions("noise", "blur", "weather", "digital")},
	{Name: "imagenet-c-extra", Help: "its 4 extra ones", levels: true, cells: corruptions("extra")},
	{Name: "noise", Help: "3 of them", levels: true, cells: corruptions("noise")},
	{Name: "blur", Help: "4", levels: true, cells: corruptions("blur")},
	{Name: "weather", Help: "4", levels: true, cells: corruptions("weather")},
	{Name: "digital", Help: "4", levels: true, cells: corruptions("digital")},
	{Name: "san", Help: "turned by 90°, 180°, 270° and upside-down, after Zhao et al. 2020", cells: turned},
	{Name: "patch-drop", Help: "random patches are black, 10 to 90 %", cells: drops("patch_drop", anyPatch, 0)},
	{Name: "patch-drop-salient", Help: "the patches that the focus map has highest are black", cells: drops("patch_drop_salient", salientPatch, 0)},
	{Name: "patch-drop-background", Help: "those that it has lowest", cells: drops("patch_drop_background", backgroundPatch, 0)},
	{Name: "patch-offset", Help: "random squares of a patch's size that lie half a patch beside the patches are black", cells: drops("patch_offset", anyPatch, 2)},
	{Name: "token-drop", Help: "random patches are left out of the model", cells: tokenDrops},
	{Name: "shuffle", Help: "the photo is cut into grids whose cells are shuffled", cells: shuffles},
	{Name: "imagenet-p", Help: "sequences of 31 frames, each little different from the last: flip rates", cells: sequences},
}

// SuiteNames lists what a run may be asked for: suites, attacks and single
// corruptions.
func SuiteNames() (names []string) {
	for _, s := range suites {
		names = append(names, s.Name)
	}
	for _, a := range attack.Table() {
		names = append(names, a.Name)
	}
	for _, c := range corrupt.Table() {
		names = append(names, c.Name)
	}
	return names
}

// Cells returns the cells of suites, attacks and single corruptions by name,
// Clean first, each once; severities are those of corruptions, none: all.
func Cells(names []string, severities []int, f corrupt.Flavour, o AttackOptions) ([]Cell, error) {
	for _, s := range severities {
		if s < 1 || s > corrupt.Severities {
			return nil, fmt.Errorf("robust: severity %d, want 1 to %d", s, corrupt.Severities)
		}
	}
	all := []Cell{Clean}
	seen := map[string]bool{Clean.Key(): true}
	for _, name := range names {
		if a, ok := attack.Find(name); ok {
			cells, err := attackCells(a, &o)
			if err != nil {
				return nil, err
			}
			for _, c := range cells {
				if !seen[c.Key()] {
					seen[c.Key()] = true
					all = append(all, c)
				}
			}
			continue
		}
		s, ok := findSuite(name)
		if !ok {
			return nil, fmt.Errorf("robust: suite %q, %s", name, words.Among(name, SuiteNames()...))
		}
		for _, c := range s.cells(f) {
			if seen[c.Key()] || s.levels && len(severities) > 0 && !slices.Contains(severities, c.Severity) {
				continue
			}
			seen[c.Key()] = true
			all = append(all, c)
		}
	}
	return all, nil
}

func findSuite(name string) (Suite, bool) {
	for _, s := range suites {
		if s.Name == name {
			return s, true
		}
	}
	for _, c := range corrupt.Table() {
		if c.Name == name {
			return Suite{Name: name, levels: true, cells: func(f corrupt.Flavour) []Cell { return corruptionCells(c, f) }}, true
		}
	}
	return Suite{}, false
}

func corruptions(groups ...string) func(corrupt.Flavour) []Cell {
	return func(f corrupt.Flavour) (cells []Cell) {
		for _, c := range corrupt.Table() {
			if slices.Contains(groups, c.Group) {
				cells = append(cells, corruptionCells(c, f)...)
			}
		}
		return cells
	}
}

func corruptionCells(c corrupt.Corruption, f corrupt.Flavour) (cells []Cell) {
	suite := "imagenet-c"
	if c.Group == "extra" {
		suite = "imagenet-c-extra"
	}
	for s := 1; s <= corrupt.Severities; s++ {
		cells = append(cells, Cell{suite, c.Name, s, "", corruption{c, s, f}})
	}
	return cells
}

// turned are the transformations of Zhao, Jia and Koltun, "Exploring
// Self-attention for Image Recognition", https://arxiv.org/abs/2004.13621: exact,
// after the crop.
func turned(corrupt.Flavour) (cells []Cell) {
	for i, name := range []string{"rotate_90", "rotate_180", "rotate_270"} {
		cells = append(cells, Cell{"san", name, 0, "", rotation(i + 1)})
	}
	return append(cells, Cell{"san", "upside_down", 0, "", upsideDown{}})
}

// tenths are the levels of suites that take patches away.
const tenths = 9

func drops(name string, order patchOrder, offset int) func(corrupt.Flavour) []Cell {
	return func(corrupt.Flavour) (cells []Cell) {
		for i := 1; i <= tenths; i++ {
			suite := strings.ReplaceAll(name, "_", "-")
			cells = append(cells, Cell{suite, name, i, strconv.Itoa(10*i) + " %", patchDrop{name, i, order, offset}})
		}
		return cells
	}
}

func tokenDrops(corrupt.Flavour) (cells []Cell) {
	for i := 1; i <= tenths; i++ {
		cells = append(cells, Cell{"token-drop", "token_drop", i, strconv.Itoa(10*i) + " %", tokenDrop(i)})
	}
	return cells
}

// shuffles are the grids of Naseer et al., "Intriguing Properties of Vision
// Transformers", https://arxiv.org/abs/2105.10497.
func shuffles(corrupt.Flavour) (cells []Cell) {
	for i, grid := range [][2]int{{2, 2}, {2, 4}, {4, 4}, {4, 8}, {8, 8}, {14, 14}, {16, 16}} {
		cells = append(cells, Cell{"shuffle", "shuffle", i + 1, fmt.Sprintf("%d×%d", grid[0], grid[1]), shuffle{grid, i + 1}})
	}
	return cells
}
