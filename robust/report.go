package robust

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/robust/measure"
)

// Value is a measure with its interval at 95 %, whose ends are NaN where nobody
// computed it.
type Value struct{ Value, Low, High float64 }

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) {
	number := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	return json.Marshal(struct {
		Value *float64 `json:"value"`
		Low   *float64 `json:"low,omitempty"`
		High  *float64 `json:"high,omitempty"`
	}{number(v.Value), number(v.Low), number(v.High)})
}

// Result is what was measured in a cell. Shares are percent; what is not known
// is left out.
type Result struct {
	Cell
	Photos int `json:"photos"` // with a label

	Top1        *Value `json:"top1,omitempty"`
	Top5        *Value `json:"top5,omitempty"`
	Real        *Value `json:"real,omitempty"`        // by ReaL's labels
	Consistency *Value `json:"consistency,omitempty"` // photos whose answer is the clean one's
	KL          *Value `json:"kl,omitempty"`          // nats from the clean answer
	NLL         *Value `json:"nll,omitempty"`         // nats
	Brier       *Value `json:"brier,omitempty"`       // 0 to 2
	ECE         *Value `json:"ece,omitempty"`         // 15 bins of equal width
	ECEMass     *Value `json:"ece_equal_mass,omitempty"`
	AURC        *Value `json:"aurc,omitempty"`
	Confidence  *Value `json:"confidence,omitempty"`
	Entropy     *Value `json:"entropy,omitempty"` // nats

	DriftCosine   *Value `json:"drift_cosine,omitempty"`
	DriftSpearman *Value `json:"drift_spearman,omitempty"`
	DriftJS       *Value `json:"drift_js,omitempty"` // bits
	DriftIoU      *Value `json:"drift_iou,omitempty"`

	Attacked int    `json:"attacked,omitempty"`         // photos whose clean answer was right
	Success  *Value `json:"success,omitempty"`          // of an attack, percent of those that were attacked
	AsBytes  *Value `json:"success_as_bytes,omitempty"` // of the pictures rounded to bytes
	Queries  *Value `json:"queries,omitempty"`          // answers that an attack took, the mean
	Linf     *Value `json:"linf,omitempty"`             // of the change, the mean
	L2       *Value `json:"l2,omitempty"`

	FlipRate     *Value `json:"flip_rate,omitempty"`     // of sequences, percent of frames
	Top5Distance *Value `json:"top5_distance,omitempty"` // of sequences

	Failed int `json:"failed,omitempty"` // photos without an answer; they count as wrong
}

// Corruption is what was measured over the severities of a corruption.
type Corruption struct {
	Name       string `json:"name"`
	Severities []int  `json:"severities"`
	Error      Value  `json:"error"` // percent, the mean over severities
	CE         *Value `json:"ce,omitempty"`
	RelativeCE *Value `json:"relative_ce,omitempty"`
}

// Detection is how well outliers are told by each score.
type Detection struct {
	Score    string  `json:"score"`
	AUROC    float64 `json:"auroc"`
	AUPR     float64 `json:"aupr"`
	FPR95    float64 `json:"fpr95"`
	Known    int     `json:"known"`
	Outliers int     `json:"outliers"`
}

// Temperature is what dividing the logits by one number does to the clean
// answers: fitted on one half of the photos, measured on the other, and the
// other way round.
type Temperature struct {
	Photos int        `json:"photos"` // with a class and an answer
	All    float64    `json:"all"`    // fitted on all photos
	Halves [2]float64 `json:"halves"` // on those of even and of odd place
	NLL    float64    `json:"nll"`    // cross-fitted
	ECE    float64    `json:"ece"`

	Coverage []Coverage `json:"coverage,omitempty"`
}

// Coverage is what abstaining below a confidence at the temperature keeps.
type Coverage struct {
	Promised      float64 `json:"promised"`       // percent of photos that are answered
	MinConfidence float64 `json:"min_confidence"` // by all photos
	HeldOut       Value   `json:"held_out"`       // percent answered of one half, by the other's threshold and temperature
	Wrong         *Value  `json:"wrong"`          // percent of those that are answered
}

// promised are the coverages that a report has.
var promised = []float64{50, 60, 70, 80, 90, 95}

// Report is the result of a run.
type Report struct {
	Protocol Protocol `json:"protocol"`
	Hash     string   `json:"protocol_sha256"`
	Target   About    `json:"target"`
	Data     struct {
		Counts
		Digest   string `json:"sha256"` // of names, labels
		ImageNet bool   `json:"imagenet_validation"`
	} `json:"data"`

	MCEName     string       `json:"mce_name,omitempty"`
	MCE         *Value       `json:"mce,omitempty"`
	RelativeMCE *Value       `json:"relative_mce,omitempty"`
	MeanFlips   *Value       `json:"mean_flip_rate,omitempty"` // of sequences, percent
	MeanT5D     *Value       `json:"mean_top5_distance,omitempty"`
	Flips       *Flips       `json:"flips,omitempty"` // beside a reference's
	Corruptions []Corruption `json:"corruptions,omitempty"`
	WorstCases  []WorstCase  `json:"worst_cases,omitempty"`

	Results     []Result      `json:"results"`
	Reliability []measure.Bin `json:"-"` // of the clean photos
	Risk        []float64     `json:"-"` // of the clean photos, see measure.RiskCoverage
	Temperature *Temperature  `json:"temperature,omitempty"`
	Detections  []Detection   `json:"detections,omitempty"`
	Against     []Comparison  `json:"against,omitempty"` // another run, cell by cell
	Errors      []RowError    `json:"errors,omitempty"`  // the first of them
	Notes       []string      `json:"notes,omitempty"`

	Gallery []Exhibit `json:"-"`
}

// RowError is what was wrong with a photo.
type RowError struct {
	Photo string `json:"photo"`
	Cell  string `json:"cell"`
	Error string `json:"error"`
}

// mostErrors bounds how many a report lists.
const mostErrors = 100

// column is one cell of all photos.
type column []Record

// Summarise reads the journal of a run and measures. outliers is a journal of a
// run over outliers of the cell Clean; "": there is none.
func Summarise(o Options, about About, counts Counts, outliers string) (*Report, error) {
	r := &Report{Protocol: o.Protocol(&about), Target: about}
	r.Hash = r.Protocol.Hash()
	r.Data.Counts = counts
	s := &summary{o: &o, r: r, n: counts.Photos, wrong: make([][]bool, len(o.Cells))}
	if err := s.rows(); err != nil {
		return nil, err
	}
	for lo := 0; lo < len(o.Cells); lo += s.group() {
		hi := min(lo+s.group(), len(o.Cells))
		columns, err := s.columns(o.Journal, lo, hi, len(o.Cells))
		if err != nil {
			return nil, err
		}
		for i, c := range columns {
			s.result(lo+i, c)
		}
		if lo == 0 && outliers != "" {
			if err := s.detect(columns[0], outliers); err != nil {
				return nil, err
			}
		}
	}
	s.corruptions()
	s.worstCases()
	r.Notes = append(r.Notes, o.Notes...)
	if err := s.temperature(); err != nil {
		return nil, err
	}
	return r, nil
}

type summary struct {
	o        *Options
	r        *Report
	n        int // photos
	labelled []bool
	wrong    [][]bool      // by cell and photo
	attacks  map[int][]int // by cell of an attack and photo: Attacked.Success
	clean    []int         // the answer to each clean photo; -1: none
}

// group is how many columns are in memory at a time: about 64 MB of them.
func (s *summary) group() int { return max(1, 64<<20/(160*max(1, s.n))) }

// each calls f for the rows that count: those of the photos of this run.
func (s *summary) each(journal string, cells int, f func(*Row)) error {
	i := 0
	return ReadRows(journal, cells, func(string) error { return nil }, func(row *Row) error {
		if i++; i <= s.n {
			f(row)
		}
		return nil
	})
}

// rows reads what is known of photos.
func (s *summary) rows() error {
	digest := sha256.New()
	r := s.r
	r.Data.ImageNet = true
	err := s.each(s.o.Journal, len(s.o.Cells), func(row *Row) {
		fmt.Fprintf(digest, "%q %q\n", row.Name, row.Label)
		s.labelled = append(s.labelled, row.Class >= 0)
		if len(row.Errors) > 0 {
			r.Data.Failed++
		}
		r.Data.ImageNet = r.Data.ImageNet && strings.Contains(row.Name, "ILSVRC2012_val_")
		for _, c := range append([]Cell{{Name: "photo"}}, s.o.Cells...) {
			if e, ok := row.Errors[c.Key()]; ok && len(r.Errors) < mostErrors {
				r.Errors = append(r.Errors, RowError{row.Name, c.Key(), e})
			}
		}
	})
	r.Data.Digest = hex.EncodeToString(digest.Sum(nil))
	if len(s.labelled) < s.n {
		return fmt.Errorf("robust: journal %s has %d photos, want %d", s.o.Journal, len(s.labelled), s.n)
	}
	return err
}

// columns reads cells lo to hi.
func (s *summary) columns(journal string, lo, hi, cells int) ([]column, error) {
	columns := make([]column, hi-lo)
	err := s.each(journal, cells, func(row *Row) {
		for i := range columns {
			columns[i] = append(columns[i], row.Records[lo+i])
		}
	})
	return columns, err
}

// share is how many of all are so, in percent, with Wilson's interval.
func share(n, all int) *Value {
	if all == 0 {
		return nil
	}
	w := measure.Wilson(n, all)
	return &Value{100 * float64(n) / float64(all), 100 * w[0], 100 * w[1]}
}

// mean is that of the values that are there, with a bootstrap's interval.
func (s *summary) mean(v []float64) *Value {
	known := v[:0:0]
	for _, x := range v {
		if !math.IsNaN(x) {
			known = append(known, x)
		}
	}
	if len(known) == 0 {
		return nil
	}
	sum := func(times []int) float64 {
		total := 0.0
		for i, x := range known {
			total += x * float64(times[i])
		}
		return total / float64(len(known))
	}
	once := slices.Repeat([]int{1}, len(known))
	b := measure.Bootstrap(len(known), measure.Replicates, s.o.Seed, sum)
	return &Value{sum(once), b[0], b[1]}
}

// of takes a number of each record.
func (c column) of(f func(*Record) float64) []float64 {
	v := make([]float64, len(c))
	for i := range c {
		v[i] = f(&c[i])
	}
	return v
}

// result measures a cell.
func (s *summary) result(cell int, c column) {
	o := Result{Cell: s.o.Cells[cell]}
	wrong := make([]bool, len(c))
	if cell == 0 {
		for i := range c {
			s.clean = append(s.clean, c[i].Class)
		}
	}
	var right1, right5, same, known, real, realAll int
	var confidence []float64 // of labelled photos with an answer
	var right []bool
	sequence := o.how.needs().frames > 0
	for i := range c {
		r := &c[i]
		if !r.Answered {
			o.Failed++
		}
		if s.labelled[i] {
			o.Photos++
			wrong[i] = !r.Right()
			if r.Right() {
				right1++
			}
			if r.Answered && r.Rank >= 0 && r.Rank < 5 {
				right5++
			}
			if r.Answered {
				confidence, right = append(confidence, r.Confidence), append(right, r.Right())
			}
		}
		if r.Answered && !math.IsNaN(r.KL) {
			known++
			if r.Class == s.clean[i] {
				same++
			}
		}
		if r.Real >= 0 {
			realAll++
			real += r.Real
		}
	}
	s.wrong[cell] = wrong
	if o.how.needs().attack {
		s.attacked(cell, &o, c)
	}
	if o.Failed == len(c) && s.o.Released {
		s.r.Results = append(s.r.Results, Result{Cell: o.Cell, Failed: o.Failed})
		return
	}
	if !sequence {
		o.Top1, o.Top5, o.Real = share(right1, o.Photos), share(right5, o.Photos), share(real, realAll)
		if cell > 0 {
			o.Consistency = share(same, known)
			o.KL = s.mean(c.of(func(r *Record) float64 { return r.KL }))
			o.DriftCosine = s.mean(c.of(func(r *Record) float64 { return r.Drift.Cosine }))
			o.DriftSpearman = s.mean(c.of(func(r *Record) float64 { return r.Drift.Spearman }))
			o.DriftJS = s.mean(c.of(func(r *Record) float64 { return r.Drift.JS }))
			o.DriftIoU = s.mean(c.of(func(r *Record) float64 { return r.Drift.IoU }))
		}
		o.NLL = s.mean(c.of(func(r *Record) float64 { return r.NLL }))
		o.Brier = s.mean(c.of(func(r *Record) float64 { return r.Brier }))
		o.Confidence = s.mean(c.of(func(r *Record) float64 { return r.Confidence }))
		o.Entropy = s.mean(c.of(func(r *Record) float64 { return r.Entropy }))
	}
	if len(right) > 0 && !sequence {
		bins := measure.Reliability(confidence, right, measure.Bins)
		o.ECE = s.ofAnswers(confidence, right, func(c []float64, r []bool) float64 {
			return measure.CalibrationError(measure.Reliability(c, r, measure.Bins))
		})
		o.ECEMass = &Value{Value: measure.CalibrationError(measure.EqualMass(confidence, right, measure.Bins)), Low: math.NaN(), High: math.NaN()}
		o.AURC = &Value{Value: measure.AURC(confidence, right), Low: math.NaN(), High: math.NaN()}
		if cell == 0 {
			s.r.Reliability, s.r.Risk = bins, measure.RiskCoverage(confidence, right)
		}
	}
	if sequence {
		o.FlipRate = percent(s.mean(c.of(func(r *Record) float64 { return r.Flips })))
		o.Top5Distance = s.mean(c.of(func(r *Record) float64 { return r.Top5Distance }))
	}
	s.r.Results = append(s.r.Results, o)
}

func percent(v *Value) *Value {
	if v != nil {
		v.Value, v.Low, v.High = 100*v.Value, 100*v.Low, 100*v.High
	}
	return v
}

// ofAnswers is a statistic of answers with a bootstrap's interval.
func (s *summary) ofAnswers(confidence []float64, right []bool, f func([]float64, []bool) float64) *Value {
	c, r := make([]float64, 0, len(right)), make([]bool, 0, len(right))
	b := measure.Bootstrap(len(right), measure.Replicates, s.o.Seed, func(times []int) float64 {
		c, r = c[:0], r[:0]
		for i, t := range times {
			for range t {
				c, r = append(c, confidence[i]), append(r, right[i])
			}
		}
		return f(c, r)
	})
	return &Value{f(confidence, right), b[0], b[1]}
}
