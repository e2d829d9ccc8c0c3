package robust

import (
	"fmt"
	"math"
	"strings"
)

// WorstCase is what is left right by several attacks at one ε: a photo is wrong
// if one of them fools the model.
type WorstCase struct {
	Epsilon float64  `json:"epsilon"` // L∞
	Attacks []string `json:"attacks"`
	Photos  int      `json:"photos"` // with a label
	Top1    *Value   `json:"top1"`
}

// ensemble are the attacks that a worst case is of.
var ensemble = []string{"apgd-ce", "apgd-t", "square"}

// attacked measures an attack.
func (s *summary) attacked(cell int, o *Result, c column) {
	if s.attacks == nil {
		s.attacks = map[int][]int{}
	}
	var success, kept int
	for i := range c {
		a := &c[i].Attacked
		s.attacks[cell] = append(s.attacks[cell], a.Success)
		if a.Success >= 0 {
			o.Attacked++
		}
		success += max(a.Success, 0)
		kept += max(a.AsBytes, 0)
	}
	o.Success, o.AsBytes = share(success, o.Attacked), share(kept, o.Attacked)
	if o.Attacked == 0 {
		return
	}
	o.Queries = s.mean(c.of(func(r *Record) float64 { return r.Attacked.Queries }))
	o.Linf = s.mean(c.of(func(r *Record) float64 { return r.Attacked.Linf }))
	o.L2 = s.mean(c.of(func(r *Record) float64 { return r.Attacked.L2 }))
}

// worstCases joins the attacks of the ensemble that ran at the same ε, where
// there are several.
func (s *summary) worstCases() {
	var epsilons []float64
	by := map[float64][]int{}
	ran := map[string]bool{}
	for i, c := range s.o.Cells {
		d, ok := c.how.(adversary)
		if !ok || !inEnsemble(c.Suite) || s.attacks[i] == nil {
			continue
		}
		ran[c.Suite] = true
		e := math.Round(d.params.Epsilon*255e6) / 255e6
		if by[e] == nil {
			epsilons = append(epsilons, e)
		}
		by[e] = append(by[e], i)
	}
	partly := false
	for _, e := range epsilons {
		if len(by[e]) < 2 {
			continue
		}
		w := WorstCase{Epsilon: e}
		for _, i := range by[e] {
			w.Attacks = append(w.Attacks, s.o.Cells[i].Suite)
		}
		right := 0
		for p, l := range s.labelled {
			if !l {
				continue
			}
			w.Photos++
			ok := true
			for _, i := range by[e] {
				ok = ok && s.attacks[i][p] == 0 && !s.wrong[i][p]
			}
			if ok {
				right++
			}
		}
		w.Top1 = share(right, w.Photos)
		partly = partly || len(by[e]) < len(ensemble)
		s.r.WorstCases = append(s.r.WorstCases, w)
	}
	if len(s.r.WorstCases) == 0 {
		return
	}
	s.r.Notes = append(s.r.Notes, "Worst case: what no attack named there fools. It is not AutoAttack, which has FAB-T too, and 5,000 queries of Square.")
	if partly {
		s.r.Notes = append(s.r.Notes, fmt.Sprintf("A worst case over less than %s is of those that ran at its ε.", strings.Join(ensemble, ", ")))
	}
}

func inEnsemble(suite string) bool {
	for _, name := range ensemble {
		if name == suite {
			return true
		}
	}
	return false
}
