package robust

import (
	"fmt"

	"github.com/vitserve/vitserve/robust/measure"
)

// Comparison is of two runs over the same photos, cell by cell.
type Comparison struct {
	Cell       string     `json:"cell"`
	Photos     int        `json:"photos"`
	OnlyFirst  int        `json:"only_first"`  // photos that only the other run is right on
	OnlySecond int        `json:"only_second"` // only this one
	Difference float64    `json:"difference"`  // this run's top-1 less the other's, percent
	Interval   [2]float64 `json:"interval"`
	P          float64    `json:"p"` // of McNemar's test that neither is better
}

// Compare compares journals of two runs with the same cells. The photos are
// those that both have, by their place; other names are an error.
func Compare(first, second string, cells []Cell, seed uint64) ([]Comparison, error) {
	right := [2][][]bool{make([][]bool, len(cells)), make([][]bool, len(cells))}
	var names []string
	for k, journal := range []string{first, second} {
		i := 0
		err := ReadRows(journal, len(cells), func(string) error { return nil }, func(row *Row) error {
			if k == 0 {
				names = append(names, row.Name)
			} else if i < len(names) && names[i] != row.Name {
				return fmt.Errorf("robust: compare: photo %d is %s in %s and %s in %s", i+1, names[i], first, row.Name, second)
			}
			i++
			if row.Class < 0 {
				return nil
			}
			for c := range cells {
				right[k][c] = append(right[k][c], row.Records[c].Right())
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var all []Comparison
	for c, cell := range cells {
		n := min(len(right[0][c]), len(right[1][c]))
		if n == 0 {
			return nil, fmt.Errorf("robust: compare: %s and %s have no photo with a class in common", first, second)
		}
		p := measure.Paired(right[0][c][:n], right[1][c][:n], seed)
		all = append(all, Comparison{cell.Key(), n, p.OnlyFirst, p.OnlySecond, 100 * p.Difference, [2]float64{100 * p.Interval[0], 100 * p.Interval[1]}, p.P})
	}
	return all, nil
}
