package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/vitserve/vitserve/robust"
)

// Formats returns the endings of the files that Write knows.
func Formats() []string { return []string{".json", ".csv", ".md", ".html"} }

// Write writes a report in the format of a file's ending.
func Write(w io.Writer, ending string, r *robust.Report) error {
	switch ending {
	case ".json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	case ".csv":
		return writeCSV(w, r)
	case ".md":
		return writeMarkdown(w, r)
	case ".html":
		return writeHTML(w, r)
	}
	return fmt.Errorf("report: ending %q, want one of %s", ending, strings.Join(Formats(), ", "))
}

// measures are the columns of tables.
var measures = []struct {
	name, title string
	decimals    int
	of          func(*robust.Result) *robust.Value
}{
	{"top1", "top-1 %", 1, func(r *robust.Result) *robust.Value { return r.Top1 }},
	{"top5", "top-5 %", 1, func(r *robust.Result) *robust.Value { return r.Top5 }},
	{"real", "ReaL %", 1, func(r *robust.Result) *robust.Value { return r.Real }},
	{"consistency", "as clean %", 1, func(r *robust.Result) *robust.Value { return r.Consistency }},
	{"kl", "KL", 3, func(r *robust.Result) *robust.Value { return r.KL }},
	{"nll", "NLL", 3, func(r *robust.Result) *robust.Value { return r.NLL }},
	{"brier", "Brier", 3, func(r *robust.Result) *robust.Value { return r.Brier }},
	{"ece", "ECE", 3, func(r *robust.Result) *robust.Value { return r.ECE }},
	{"ece_equal_mass", "ECE equal mass", 3, func(r *robust.Result) *robust.Value { return r.ECEMass }},
	{"aurc", "AURC", 3, func(r *robust.Result) *robust.Value { return r.AURC }},
	{"confidence", "confidence", 3, func(r *robust.Result) *robust.Value { return r.Confidence }},
	{"entropy", "entropy", 3, func(r *robust.Result) *robust.Value { return r.Entropy }},
	{"drift_cosine", "drift: cosine", 3, func(r *robust.Result) *robust.Value { return r.DriftCosine }},
	{"drift_spearman", "drift: Spearman", 3, func(r *robust.Result) *robust.Value { return r.DriftSpearman }},
	{"drift_js", "drift: JS bits", 3, func(r *robust.Result) *robust.Value { return r.DriftJS }},
	{"drift_iou", "drift: IoU", 3, func(r *robust.Result) *robust.Value { return r.DriftIoU }},
	{"flip_rate", "flips %", 2, func(r *robust.Result) *robust.Value { return r.FlipRate }},
	{"top5_distance", "top-5 distance", 2, func(r *robust.Result) *robust.Value { return r.Top5Distance }},
	{"success", successTitle, 1, func(r *robust.Result) *robust.Value { return r.Success }},
	{"success_as_bytes", "success as bytes %", 1, func(r *robust.Result) *robust.Value { return r.AsBytes }},
	{"queries", "queries", 1, func(r *robust.Result) *robust.Value { return r.Queries }},
	{"linf", "L∞", 5, func(r *robust.Result) *robust.Value { return r.Linf }},
	{"l2", "L2", 3, func(r *robust.Result) *robust.Value { return r.L2 }},
}

// successTitle heads the one column beside the first that has intervals.
const successTitle = "success %"

// writeCSV writes a row for each cell: each measure with the ends of its
// interval.
func writeCSV(w io.Writer, r *robust.Report) error {
	c := csv.NewWriter(w)
	head := []string{"suite", "name", "severity", "photos", "failed"}
	for _, m := range measures {
		head = append(head, m.name, m.name+"_low", m.name+"_high")
	}
	if err := c.Write(head); err != nil {
		return err
	}
	number := func(v float64) string {
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	for i := range r.Results {
		x := &r.Results[i]
		row := []string{x.Suite, x.Name, strconv.Itoa(x.Severity), strconv.Itoa(x.Photos), strconv.Itoa(x.Failed)}
		for _, m := range measures {
			v := m.of(x)
			if v == nil {
				v = &robust.Value{Value: math.NaN(), Low: math.NaN(), High: math.NaN()}
			}
			row = append(row, number(v.Value), number(v.Low), number(v.High))
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// text is a value for people, its interval behind it if that is wanted.
func text(v *robust.Value, decimals int, interval bool) string {
	if v == nil || math.IsNaN(v.Value) {
		return "–"
	}
	s := strconv.FormatFloat(v.Value, 'f', decimals, 64)
	if interval && !math.IsNaN(v.Low) {
		s += fmt.Sprintf(" (%.*f–%.*f)", decimals, v.Low, decimals, v.High)
	}
	return s
}

// headline are the sentences at the top.
func headline(r *robust.Report) (lines []string) {
	d := r.Data
	line := fmt.Sprintf("%s, %s: %d photos", r.Target.Model, r.Target.Kind, d.Photos)
	for _, c := range []struct {
		n    int
		what string
	}{{d.Unlabeled, "without a class of the model"}, {d.LeftOut, "of other classes left out"}, {d.Failed, "with an error"}} {
		if c.n > 0 {
			line += fmt.Sprintf(", %d %s", c.n, c.what)
		}
	}
	lines = append(lines, line+".")
	if len(r.Results) > 0 && r.Results[0].Top1 != nil {
		c := r.Results[0]
		lines = append(lines, fmt.Sprintf("Clean: top-1 %s %%, top-5 %s %%, ECE %s, NLL %s.", text(c.Top1, 1, true), text(c.Top5, 1, true), text(c.ECE, 3, true), text(c.NLL, 3, true)))
	}
	if r.MCE != nil {
		line := fmt.Sprintf("%s %s", r.MCEName, text(r.MCE, 1, true))
		if r.RelativeMCE != nil {
			line += fmt.Sprintf(", relative %s", text(r.RelativeMCE, 1, true))
		}
		lines = append(lines, line+".")
	}
	for _, w := range r.WorstCases {
		lines = append(lines, fmt.Sprintf("Worst case of %s at ε %.4g/255: top-1 %s %%.", strings.Join(w.Attacks, ", "), 255*w.Epsilon, text(w.Top1, 1, true)))
	}
	if r.MeanFlips != nil {
		lines = append(lines, fmt.Sprintf("Sequences: %s %% of frames flip the answer; top-5 distance %s.", text(r.MeanFlips, 2, false), text(r.MeanT5D, 2, false)))
	}
	if f := r.Flips; f != nil {
		lines = append(lines, fmt.Sprintf("Of what %s has: flips %s %%, top-5 distance %s %% (means over %d sequences).", f.Reference, text(&f.MFR, 1, false), text(&f.MT5D, 1, false), len(f.By)))
	}
	if t := r.Temperature; t != nil {
		sure := "too sure: its scores should be softer"
		if t.All < 1 {
			sure = "not sure enough: its scores should be sharper"
		}
		lines = append(lines, fmt.Sprintf("Temperature %.3f: the model is %s. With it, cross-fitted on halves, NLL %.3f and ECE %.3f.", t.All, sure, t.NLL, t.ECE))
		if n := len(t.Coverage); n > 1 {
			c := t.Coverage[n-2]
			lines = append(lines, fmt.Sprintf("Abstaining below a confidence of %.3f at that temperature promises %.0f %% of answers; held-out halves have %s %%, of which %s %% are wrong.", c.MinConfidence, c.Promised, text(&c.HeldOut, 1, true), text(c.Wrong, 1, true)))
		}
	}
	return append(lines, r.Notes...)
}

// WriteSummary writes the sentences at the top, for a terminal.
func WriteSummary(w io.Writer, r *robust.Report) error {
	for _, line := range headline(r) {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// against is the comparison with another run.
func against(r *robust.Report) (head []string, rows [][]string) {
	head = []string{"cell", "top-1 less the other's", "only the other right", "only this right", "p"}
	for _, c := range r.Against {
		rows = append(rows, []string{
			c.Cell, fmt.Sprintf("%+.1f (%.1f–%.1f)", c.Difference, c.Interval[0], c.Interval[1]), strconv.Itoa(c.OnlyFirst), strconv.Itoa(c.OnlySecond), fmt.Sprintf("%.3g", c.P),
		})
	}
	return head, rows
}

// shown are the measures that some cell has.
func shown(r *robust.Report) (at []int) {
	for i, m := range measures {
		for j := range r.Results {
			if m.of(&r.Results[j]) != nil {
				at = append(at, i)
				break
			}
		}
	}
	return at
}

func rowName(x *robust.Result) string {
	name := strings.ReplaceAll(x.Name, "_", " ")
	switch {
	case x.Level != "":
		name += ", " + x.Level
	case x.Severity > 0:
		name += ", " + strconv.Itoa(x.Severity)
	}
	return name
}

// cells is the table of results for people.
func cells(r *robust.Report) (head []string, rows [][]string) {
	at := shown(r)
	head = []string{"cell"}
	for _, i := range at {
		head = append(head, measures[i].title)
	}
	for j := range r.Results {
		x := &r.Results[j]
		row := []string{rowName(x)}
		for _, i := range at {
			row = append(row, text(measures[i].of(x), measures[i].decimals, i == 0 || measures[i].title == successTitle))
		}
		rows = append(rows, row)
	}
	return head, rows
}

// byCorruption is the table over severities.
func byCorruption(r *robust.Report) (head []string, rows [][]string) {
	head = []string{"corruption", "error %", "CE", "relative CE"}
	for _, c := range r.Corruptions {
		rows = append(rows, []string{strings.ReplaceAll(c.Name, "_", " "), text(&c.Error, 1, true), text(c.CE, 1, true), text(c.RelativeCE, 1, true)})
	}
	return head, rows
}

func detections(r *robust.Report) (head []string, rows [][]string) {
	head = []string{"score", "AUROC", "AUPR", "FPR95", "known", "outliers"}
	for _, d := range r.Detections {
		rows = append(rows, []string{d.Score, fmt.Sprintf("%.4f", d.AUROC), fmt.Sprintf("%.4f", d.AUPR), fmt.Sprintf("%.4f", d.FPR95), strconv.Itoa(d.Known), strconv.Itoa(d.Outliers)})
	}
	return head, rows
}

func writeMarkdown(w io.Writer, r *robust.Report) error {
	var b strings.Builder
	escape := strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;")
	table := func(head []string, rows [][]string) {
		line := func(row []string) {
			b.WriteString("|")
			for _, cell := range row {
				b.WriteString(" " + escape.Replace(cell) + " |")
			}
			b.WriteString("\n")
		}
		line(head)
		b.WriteString("|" + strings.Repeat(" --- |", len(head)) + "\n")
		for _, row := range rows {
			line(row)
		}
		b.WriteString("\n")
	}
	b.WriteString("# Robustness of " + escape.Replace(r.Target.Model) + "\n\n")
	for _, line := range headline(r) {
		b.WriteString("- " + escape.Replace(line) + "\n")
	}
	b.WriteString("\n")
	if len(r.Corruptions) > 0 {
		b.WriteString("## By corruption\n\n")
		table(byCorruption(r))
	}
	b.WriteString("## By cell\n\n")
	table(cells(r))
	if len(r.Detections) > 0 {
		b.WriteString("## Outliers\n\n")
		table(detections(r))
	}
	if len(r.Against) > 0 {
		b.WriteString("## Against another run\n\n")
		table(against(r))
	}
	if len(r.Errors) > 0 {
		b.WriteString("## Errors\n\n")
		table(failures(r))
	}
	b.WriteString("## Protocol\n\n")
	for _, line := range protocol(r) {
		b.WriteString("- " + escape.Replace(line) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func failures(r *robust.Report) (head []string, rows [][]string) {
	for _, e := range r.Errors {
		rows = append(rows, []string{e.Photo, e.Cell, e.Error})
	}
	return []string{"photo", "cell", "error"}, rows
}

// protocol is how the numbers came about, in lines.
func protocol(r *robust.Report) []string {
	p := r.Protocol
	lines := []string{
		"protocol " + r.Hash + ", version " + strconv.Itoa(p.Version),
		"photos " + r.Data.Digest + " (names and labels)",
		fmt.Sprintf("mode %s, flavour %s, seed %d", p.Mode, p.Flavour, p.Seed),
	}
	if t := p.Input; t != nil {
		lines = append(lines, fmt.Sprintf("model input %d×%d: fit %s, resize %d×%d, %s", t.Size[0], t.Size[1], t.Fit, t.Resize[0], t.Resize[1], t.Interpolation))
	}
	if p.Classes != nil {
		lines = append(lines, fmt.Sprintf("answers restricted to %d classes", len(p.Classes)))
	}
	if p.Drift != "" {
		lines = append(lines, "drift of focus maps by "+p.Drift)
	}
	if r.Target.Sum != "" {
		lines = append(lines, "weights "+r.Target.Sum)
	}
	lines = append(lines, p.Notes...)
	return append(lines, r.Target.Notes...)
}
