package robust

import (
	"fmt"
	"math"
	"slices"

	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/measure"
)

// names of the mean corruption error. AlexNet's numbers are of ImageNet's
// validation photos: of others the ratio says less.
const (
	mceName    = "mCE"
	ceLikeName = "CE-like"
)

// corruptions sums over severities, and compares with AlexNet.
func (s *summary) corruptions() {
	r := s.r
	cells := map[string][]int{}
	var names []string
	for i, c := range s.o.Cells {
		if c.Suite != "imagenet-c" && c.Suite != "imagenet-c-extra" || s.missing(i) {
			continue
		}
		if cells[c.Name] == nil {
			names = append(names, c.Name)
		}
		cells[c.Name] = append(cells[c.Name], i)
	}
	photos := 0
	for _, l := range s.labelled {
		if l {
			photos++
		}
	}
	if photos > 0 && len(names) > 0 {
		s.compare(names, cells, photos)
	}
	var flips, distances []float64
	for _, res := range r.Results {
		if res.FlipRate != nil {
			flips = append(flips, res.FlipRate.Value)
			distances = append(distances, res.Top5Distance.Value)
		}
	}
	if len(flips) > 0 {
		r.MeanFlips, r.MeanT5D = plain(average(flips)), plain(average(distances))
		r.Notes = append(r.Notes, "Flip rates are not divided by AlexNet's, which are in no program or table that was found; --flip-reference divides them by another run's.")
	}
}

func plain(v float64) *Value { return &Value{v, math.NaN(), math.NaN()} }

func average(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// missing reports whether a released cell has no file at all.
func (s *summary) missing(cell int) bool { return s.o.Released && s.r.Results[cell].Photos == 0 }

func (s *summary) compare(names []string, cells map[string][]int, photos int) {
	r := s.r
	// errorOf is the share of wrong answers in a cell of a sample.
	errorOf := func(cell int, times []int) float64 {
		wrong, all := 0, 0
		for i, w := range s.wrong[cell] {
			if s.labelled[i] {
				all += times[i]
				if w {
					wrong += times[i]
				}
			}
		}
		return float64(wrong) / float64(max(all, 1))
	}
	bySeverity := func(name string, times []int) map[int]float64 {
		errors := map[int]float64{}
		for _, i := range cells[name] {
			errors[s.o.Cells[i].Severity] = errorOf(i, times)
		}
		return errors
	}
	mean := func(name string) func([]int) float64 {
		return func(times []int) float64 {
			sum := 0.0
			for _, i := range cells[name] {
				sum += 100 * errorOf(i, times) / float64(len(cells[name]))
			}
			return sum
		}
	}
	var ce, relative []func([]int) float64
	clean := !s.missing(0)
	for _, name := range names {
		c := Corruption{Name: name, Error: *s.sampled(mean(name))}
		for _, i := range cells[name] {
			c.Severities = append(c.Severities, s.o.Cells[i].Severity)
		}
		if _, ok := measure.AlexNet(name, 1); ok {
			of := func(times []int) float64 { v, _ := measure.CorruptionError(name, bySeverity(name, times)); return v }
			c.CE = s.sampled(of)
			ce = append(ce, of)
			if clean {
				of := func(times []int) float64 {
					v, _ := measure.RelativeCE(name, bySeverity(name, times), errorOf(0, times))
					return v
				}
				c.RelativeCE = s.sampled(of)
				relative = append(relative, of)
			}
		}
		r.Corruptions = append(r.Corruptions, c)
	}
	together := func(of []func([]int) float64) func([]int) float64 {
		return func(times []int) float64 {
			sum := 0.0
			for _, f := range of {
				sum += f(times)
			}
			return sum / float64(len(of))
		}
	}
	if len(ce) == 0 {
		return
	}
	r.MCE = s.sampled(together(ce))
	if clean {
		r.RelativeMCE = s.sampled(together(relative))
	}
	r.MCEName = mceName
	if !r.Data.ImageNet {
		r.MCEName = ceLikeName
		r.Notes = append(r.Notes, fmt.Sprintf("%s: the mean of errors over AlexNet's on ImageNet-C, on other photos than ImageNet's validation set, %s flavour.", ceLikeName, s.o.Flavour))
	} else if !s.o.Released {
		r.Notes = append(r.Notes, fmt.Sprintf("mCE of computed corruptions, %s flavour, without the JPEG files of quality 85 that were released.", s.o.Flavour))
	}
	if len(ce) < 15 {
		r.Notes = append(r.Notes, fmt.Sprintf("%s over %d of the 15 corruptions.", r.MCEName, len(ce)))
	}
	if n := len(r.Corruptions[0].Severities); n < corrupt.Severities {
		r.Notes = append(r.Notes, fmt.Sprintf("%s over severities %v.", r.MCEName, r.Corruptions[0].Severities))
	}
}

// sampled is a statistic of the photos with a bootstrap's interval.
func (s *summary) sampled(f func(times []int) float64) *Value {
	once := make([]int, s.n)
	for i := range once {
		once[i] = 1
	}
	b := measure.Bootstrap(s.n, measure.Replicates, s.o.Seed, f)
	return &Value{f(once), b[0], b[1]}
}

// temperature fits one on halves of the clean answers and measures it on the
// others.
func (s *summary) temperature() error {
	var failed error
	half := func(which int) func(f func([]float32, int)) error {
		return func(f func([]float32, int)) error {
			i := -1
			return s.each(s.o.Journal, len(s.o.Cells), func(row *Row) {
				if i++; row.Class < 0 || row.Logits == nil || len(row.Logits) == 0 || !row.Records[0].Answered || which >= 0 && i%2 != which {
					return
				}
				class := row.Class
				if s.o.Classes != nil {
					class = index(s.o.Classes, class)
				}
				f(row.Logits, class)
			})
		}
	}
	count := [2]int{}
	for i := range count {
		if err := half(i)(func([]float32, int) { count[i]++ }); err != nil {
			return err
		}
	}
	if count[0] < 10 || count[1] < 10 {
		return nil // that few say nothing
	}
	t := &Temperature{Photos: count[0] + count[1]}
	if t.All, failed = measure.Temperature(half(-1)); failed != nil {
		return failed
	}
	// answers are those of a half at a temperature.
	answers := func(which int, at float64) (confidence []float64, right []bool, nll float64) {
		if err := half(which)(func(z []float32, class int) {
			p := measure.Softmax(z, at)
			nll += measure.NLL(p, class)
			confidence, right = append(confidence, p[measure.Best(p)]), append(right, measure.Rank(p, class) == 0)
		}); err != nil {
			failed = err
		}
		return confidence, right, nll
	}
	var own, other [2][]float64
	var good [2][]bool
	for i := range count {
		if t.Halves[i], failed = measure.Temperature(half(i)); failed != nil {
			return failed
		}
		var nll float64
		own[i], _, _ = answers(i, t.Halves[i])
		other[i], good[i], nll = answers(1-i, t.Halves[i])
		t.NLL += nll
	}
	all, _, _ := answers(-1, t.All)
	if failed != nil {
		return failed
	}
	n := t.Photos
	t.NLL /= float64(n)
	t.ECE = measure.CalibrationError(measure.Reliability(slices.Concat(other[:]...), slices.Concat(good[:]...), measure.Bins))
	for _, percent := range promised {
		answered, wrong := 0, 0
		for i := range count {
			least := measure.Threshold(own[i], percent/100)
			for j, c := range other[i] {
				if c < least {
					continue
				}
				answered++
				if !good[i][j] {
					wrong++
				}
			}
		}
		t.Coverage = append(t.Coverage, Coverage{percent, measure.Threshold(all, percent/100), *share(answered, n), share(wrong, answered)})
	}
	s.r.Temperature = t
	return nil
}

func index(v []int, of int) int {
	for i, x := range v {
		if x == of {
			return i
		}
	}
	return -1
}

// detect measures how well outliers are told from the clean photos.
func (s *summary) detect(known column, journal string) error {
	var outliers column
	if err := ReadRows(journal, 1, func(string) error { return nil }, func(row *Row) error {
		outliers = append(outliers, row.Records[0])
		return nil
	}); err != nil {
		return err
	}
	for _, score := range []struct {
		name string
		of   func(*Record) float64 // higher of outliers
	}{
		{"max_softmax", func(r *Record) float64 { return -r.Confidence }},
		{"max_logit", func(r *Record) float64 { return -r.MaxLogit }},
		{"energy", func(r *Record) float64 { return -r.Energy }},
		{"entropy", func(r *Record) float64 { return r.Entropy }},
	} {
		of := func(c column) (v []float64) {
			for i := range c {
				if x := score.of(&c[i]); c[i].Answered && !math.IsNaN(x) {
					v = append(v, x)
				}
			}
			return v
		}
		in, out := of(known), of(outliers)
		if len(in) == 0 || len(out) == 0 {
			continue
		}
		d := measure.Detect(in, out)
		s.r.Detections = append(s.r.Detections, Detection{score.name, d.AUROC, d.AUPR, d.FPR95, len(in), len(out)})
	}
	return nil
}
