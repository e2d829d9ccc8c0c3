package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vitserve/vitserve/internal/chart"
	"github.com/vitserve/vitserve/robust"
)

func writeHTML(w io.Writer, r *robust.Report) error {
	p := chart.NewPage(w, "Robustness of "+r.Target.Model)
	for _, line := range headline(r) {
		p.Text(line)
	}
	corruptionsHTML(p, r)
	galleryHTML(p, r)
	curvesHTML(p, r)
	calibrationHTML(p, r)
	if len(r.Detections) > 0 {
		p.Heading(2, "Outliers")
		p.Text("How well each score tells photos of other things from those that the model knows: AUROC 1 is always, 0.5 not at all; FPR95 is the share of known photos that is taken for outliers where 95 % of these are found.")
		p.Table(detections(r))
	}
	p.Heading(2, "By cell")
	p.Table(cells(r))
	if len(r.Against) > 0 {
		p.Heading(2, "Against another run")
		p.Table(against(r))
	}
	if len(r.Errors) > 0 {
		p.Heading(2, "Errors")
		p.Table(failures(r))
	}
	p.Heading(2, "Protocol")
	for _, line := range protocol(r) {
		p.Text(line)
	}
	return p.Close()
}

// corruptionsHTML shows errors by corruption and severity.
func corruptionsHTML(p *chart.Page, r *robust.Report) {
	if len(r.Corruptions) == 0 {
		return
	}
	p.Heading(2, "Corruptions")
	g := chart.Grid{Title: "Top-1 in percent by corruption and severity", Range: [2]float64{0, 100}, HigherIsBest: true}
	var severities []int
	for _, c := range r.Corruptions {
		for _, s := range c.Severities {
			if !slices.Contains(severities, s) {
				severities = append(severities, s)
			}
		}
	}
	slices.Sort(severities)
	for _, s := range severities {
		g.Cols = append(g.Cols, strconv.Itoa(s))
	}
	for _, c := range r.Corruptions {
		g.Rows = append(g.Rows, strings.ReplaceAll(c.Name, "_", " "))
		var row []float64
		for _, s := range severities {
			row = append(row, valueOf(find(r, c.Name, s), func(x *robust.Result) *robust.Value { return x.Top1 }))
		}
		g.Values = append(g.Values, row)
	}
	p.Grid(g)
	p.Table(byCorruption(r))
}

func find(r *robust.Report, name string, severity int) *robust.Result {
	for i := range r.Results {
		if x := &r.Results[i]; x.Name == name && x.Severity == severity {
			return x
		}
	}
	return nil
}

func valueOf(x *robust.Result, of func(*robust.Result) *robust.Value) float64 {
	if x == nil {
		return math.NaN()
	}
	if v := of(x); v != nil {
		return v.Value
	}
	return math.NaN()
}

// curves are what is drawn over severities.
var curves = []struct {
	title, y string
	of       func(*robust.Result) *robust.Value
}{
	{"Top-1", "percent", func(r *robust.Result) *robust.Value { return r.Top1 }},
	{"Answers as the clean one", "percent", func(r *robust.Result) *robust.Value { return r.Consistency }},
	{"Success of the attack", "percent of photos that were right", func(r *robust.Result) *robust.Value { return r.Success }},
	{"Calibration error", "ECE, 15 bins", func(r *robust.Result) *robust.Value { return r.ECE }},
	{"Attention drift: cosine of the focus maps", "1: the same map", func(r *robust.Result) *robust.Value { return r.DriftCosine }},
	{"Attention drift: the fifth with the highest focus", "intersection over union", func(r *robust.Result) *robust.Value { return r.DriftIoU }},
}

// curvesHTML draws a line for each name that has several levels, by suite.
func curvesHTML(p *chart.Page, r *robust.Report) {
	var suites []string
	names := map[string][]string{}
	levels := map[string]int{}
	for i := range r.Results {
		x := &r.Results[i]
		if x.Severity == 0 {
			continue
		}
		if names[x.Suite] == nil {
			suites = append(suites, x.Suite)
		}
		if levels[x.Name]++; levels[x.Name] == 2 { // a point is no curve
			names[x.Suite] = append(names[x.Suite], x.Name)
		} else if names[x.Suite] == nil {
			names[x.Suite] = []string{}
		}
	}
	for _, suite := range suites {
		const most = 24 // lines that a chart names and tells apart
		for part := range slices.Chunk(names[suite], most) {
			p.Heading(2, strings.Join(headings(suite, part), ": "))
			for _, c := range curves {
				if l := lines(r, part, c.of); len(l) > 0 {
					p.Lines(chart.Lines{Title: c.title, X: "severity", Y: c.y, Lines: l})
				}
			}
		}
	}
}

func headings(suite string, names []string) []string {
	h := []string{"Curves", suite}
	if len(names) > 1 {
		h = append(h, strings.ReplaceAll(names[0], "_", " ")+" to "+strings.ReplaceAll(names[len(names)-1], "_", " "))
	}
	return h
}

// lines are a measure over the levels of names, with its band where the line is
// alone.
func lines(r *robust.Report, names []string, of func(*robust.Result) *robust.Value) (all []chart.Line) {
	for _, name := range names {
		l := chart.Line{Name: strings.ReplaceAll(name, "_", " ")}
		for i := range r.Results {
			x := &r.Results[i]
			v := of(x)
			if x.Name != name || v == nil {
				continue
			}
			l.X, l.Y = append(l.X, float64(x.Severity)), append(l.Y, v.Value)
			l.Low, l.High = append(l.Low, v.Low), append(l.High, v.High)
		}
		if len(names) > 3 {
			l.Low, l.High = nil, nil // that many bands hide each other
		}
		if len(l.X) > 0 {
			all = append(all, l)
		}
	}
	return all
}

// calibrationHTML shows the clean answers' reliability, and risk over coverage.
func calibrationHTML(p *chart.Page, r *robust.Report) {
	if len(r.Reliability) == 0 {
		return
	}
	p.Heading(2, "Calibration of the clean answers")
	bars := chart.Bars{Title: "Reliability: accuracy by confidence", Y: "share of right answers", YRange: [2]float64{0, 1}}
	ideal := chart.Line{Name: "calibrated", X: []float64{0, 1}, Y: []float64{0, 1}}
	model := chart.Line{Name: "model"}
	for _, b := range r.Reliability {
		bars.Labels = append(bars.Labels, fmt.Sprintf("%.2f–%.2f: %d", b.Low, b.High, b.Count))
		bars.Values = append(bars.Values, b.Accuracy)
		if b.Count > 0 {
			model.X, model.Y = append(model.X, b.Confidence), append(model.Y, b.Accuracy)
		}
	}
	p.Lines(chart.Lines{Title: "Reliability diagram", X: "confidence", Y: "accuracy", XRange: [2]float64{0, 1}, YRange: [2]float64{0, 1}, Lines: []chart.Line{model, ideal}})
	p.Bars(bars)
	if n := len(r.Risk); n > 0 {
		risk := chart.Line{Name: "model"}
		step := max(1, n/400)
		for i := step - 1; i < n; i += step {
			risk.X, risk.Y = append(risk.X, float64(i+1)/float64(n)), append(risk.Y, r.Risk[i])
		}
		p.Lines(chart.Lines{Title: "Risk over coverage", X: "share of photos answered, the surest first", Y: "share of wrong answers", XRange: [2]float64{0, 1}, Lines: []chart.Line{risk}})
	}
}

// galleryHTML shows photos before and after, with where the model looked.
func galleryHTML(p *chart.Page, r *robust.Report) {
	if len(r.Gallery) == 0 {
		return
	}
	p.Heading(2, "Gallery")
	last := ""
	for _, x := range r.Gallery {
		if x.Photo != last {
			last = x.Photo
			p.Heading(3, x.Photo)
			p.Picture(x.Clean, fmt.Sprintf("clean: %s, %.1f %%", x.CleanAnswer, 100*x.CleanScore))
			if x.CleanMap != nil {
				p.Picture(x.CleanMap, "where the model looked")
			}
		}
		p.Picture(x.Disturbed, fmt.Sprintf("%s: %s, %.1f %%", x.Cell, x.Answer, 100*x.AnswerScore))
		if x.DisturbedMap != nil {
			p.Picture(x.DisturbedMap, "where the model looked")
		}
	}
}
