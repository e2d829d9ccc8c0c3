package robust

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Limit is a condition under which a run has failed, such as "mce>56" or
// "top1@gaussian_noise/3<50".
type Limit struct {
	text, measure, cell, op string
	bound                   float64
}

var limitForm = regexp.MustCompile(`^\s*([a-z0-9_]+)(?:@([a-z0-9_/]+))?\s*(<=|>=|<|>)\s*(-?[0-9.]+)\s*$`)

// ParseLimit reads one.
func ParseLimit(text string) (Limit, error) {
	m := limitForm.FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		return Limit{}, fmt.Errorf("robust: limit %q, want MEASURE<NUMBER or MEASURE@CELL>NUMBER, such as mce>56 or top1@fog/3<50", text)
	}
	bound, err := strconv.ParseFloat(m[4], 64)
	if err != nil {
		return Limit{}, fmt.Errorf("robust: limit %q: %w", text, err)
	}
	l := Limit{text, m[1], m[2], m[3], bound}
	_, known := resultMeasures[l.measure]
	switch l.measure {
	case "mce", "relative_mce", "temperature", "mean_flip_rate", "mfr", "mt5d", "failed":
		known = l.cell == ""
	case "ce", "relative_ce", "error":
		known = l.cell != ""
	}
	if !known {
		return Limit{}, fmt.Errorf("robust: limit %q: want mce, relative_mce, mean_flip_rate, mfr, mt5d, temperature or failed alone, ce, relative_ce or error of a corruption, or a measure of a cell: %s", text, strings.Join(measureNames, ", "))
	}
	return l, nil
}

var measureNames = []string{"top1", "top5", "real", "consistency", "kl", "nll", "brier", "ece", "ece_equal_mass", "aurc", "confidence", "entropy", "drift_cosine", "drift_spearman", "drift_js", "drift_iou", "flip_rate", "top5_distance", "success", "success_as_bytes", "queries", "linf", "l2"}

var resultMeasures = map[string]func(*Result) *Value{
	"top1":           func(r *Result) *Value { return r.Top1 },
	"top5":           func(r *Result) *Value { return r.Top5 },
	"real":           func(r *Result) *Value { return r.Real },
	"consistency":    func(r *Result) *Value { return r.Consistency },
	"kl":             func(r *Result) *Value { return r.KL },
	"nll":            func(r *Result) *Value { return r.NLL },
	"brier":          func(r *Result) *Value { return r.Brier },
	"ece":            func(r *Result) *Value { return r.ECE },
	"ece_equal_mass": func(r *Result) *Value { return r.ECEMass },
	"aurc":           func(r *Result) *Value { return r.AURC },
	"confidence":     func(r *Result) *Value { return r.Confidence },
	"entropy":        func(r *Result) *Value { return r.Entropy },
	"drift_cosine":   func(r *Result) *Value { return r.DriftCosine },
	"drift_spearman": func(r *Result) *Value { return r.DriftSpearman },
	"drift_js":       func(r *Result) *Value { return r.DriftJS },
	"drift_iou":      func(r *Result) *Value { return r.DriftIoU },
	"flip_rate":      func(r *Result) *Value { return r.FlipRate },
	"top5_distance":  func(r *Result) *Value { return r.Top5Distance },

	"success":          func(r *Result) *Value { return r.Success },
	"success_as_bytes": func(r *Result) *Value { return r.AsBytes },
	"queries":          func(r *Result) *Value { return r.Queries },
	"linf":             func(r *Result) *Value { return r.Linf },
	"l2":               func(r *Result) *Value { return r.L2 },
}

// Exceeded says whether a report fails, and with what value. A measure that the
// report does not have is an error: nobody checked it.
func (l Limit) Exceeded(r *Report) (failed bool, value float64, err error) {
	v := l.of(r)
	if v == nil {
		return false, 0, fmt.Errorf("robust: limit %q: the report has no such measure", l.text)
	}
	switch l.op {
	case "<":
		failed = v.Value < l.bound
	case "<=":
		failed = v.Value <= l.bound
	case ">":
		failed = v.Value > l.bound
	case ">=":
		failed = v.Value >= l.bound
	}
	return failed, v.Value, nil
}

// String returns the limit as it was written.
func (l Limit) String() string { return l.text }

func (l Limit) of(r *Report) *Value {
	switch l.measure {
	case "mce":
		return r.MCE
	case "relative_mce":
		return r.RelativeMCE
	case "mean_flip_rate":
		return r.MeanFlips
	case "mfr", "mt5d":
		if r.Flips == nil {
			return nil
		}
		return map[string]*Value{"mfr": &r.Flips.MFR, "mt5d": &r.Flips.MT5D}[l.measure]
	case "failed":
		return plain(float64(r.Data.Failed))
	case "temperature":
		if r.Temperature == nil {
			return nil
		}
		return plain(r.Temperature.All)
	case "ce", "relative_ce", "error":
		for i := range r.Corruptions {
			if c := &r.Corruptions[i]; c.Name == l.cell {
				return map[string]*Value{"ce": c.CE, "relative_ce": c.RelativeCE, "error": &c.Error}[l.measure]
			}
		}
		return nil
	}
	cell := l.cell
	if cell == "" {
		cell = Clean.Name
	}
	for i := range r.Results {
		if x := &r.Results[i]; x.Key() == cell {
			return resultMeasures[l.measure](x)
		}
	}
	return nil
}
