package main

import (
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// report gathers verdicts.
type report struct {
	format, out string
	bound       bound
	files       int
	from        map[string]int
	same        struct{ pictures, errors, large int }
	differ      map[string]int // by reason
	worst       int
	findings    int
	causes      map[string]*cause
}

// bound is how far pixels may be apart, in grey levels.
type bound struct {
	mean float64
	most int
}

// cause is a group of findings: what both said, without numbers.
type cause struct {
	count int
	ours  string
	ref   string
	kept  [][]byte // the shortest
}

const keep = 4

func newReport(format, out string) *report {
	r := &report{format: format, out: out, from: map[string]int{}, differ: map[string]int{}, causes: map[string]*cause{}}
	switch format {
	case "jpeg":
		r.bound = bound{0.1, 4}
	case "tiff": // YCbCr
		r.bound = bound{1, 1}
	}
	return r
}

// judge compares the verdicts about a file and says whether one of the two
// reads it.
func (r *report) judge(file []byte, from string, ours, ref verdict) (readable bool) {
	r.files++
	r.from[from]++
	readable = ours.err == "" || ref.err == ""
	kind := ""
	switch {
	case ours.err == tooLarge || strings.Contains(ref.err, tooLarge):
		r.same.large++
		return false
	case ours.err != "" && ref.err != "" && !strings.HasPrefix(ours.err, "PANIC"):
		r.same.errors++
		return false
	case ours.err != "" || ref.err != "":
		kind = "verdict"
	case ours.width != ref.width || ours.height != ref.height:
		kind = "size"
		ours.err, ref.err = fmt.Sprintf("%d×%d", ours.width, ours.height), fmt.Sprintf("%d×%d", ref.width, ref.height)
	default:
		mean, most := apart(ours.rgb, ref.rgb)
		if mean <= r.bound.mean && most <= r.bound.most {
			r.same.pictures++
			r.worst = max(r.worst, most)
			return true
		}
		kind = "pixels"
		ref.err = fmt.Sprintf("mean %.2f, max %d of %d×%d", mean, most, ref.width, ref.height)
	}
	r.differs(finding{kind, file, ours.err, ref.err})
	return readable
}

// differs counts a difference for its reason or as a finding.
func (r *report) differs(f finding) {
	for _, reason := range reasons(r.format) {
		if reason.is(f) {
			r.differ[reason.name]++
			return
		}
	}
	r.findings++
	key := f.kind + "\n" + numbers.ReplaceAllString(f.ours, "#") + "\n" + numbers.ReplaceAllString(f.ref, "#")
	if f.kind == "pixels" {
		key = f.kind + " " + traits(r.format, f.file)
	}
	c := r.causes[key]
	if c == nil {
		c = &cause{ours: f.ours, ref: f.ref}
		r.causes[key] = c
	}
	c.count++
	c.kept = append(c.kept, f.file)
	slices.SortStableFunc(c.kept, func(a, b []byte) int { return len(a) - len(b) })
	c.kept = c.kept[:min(len(c.kept), keep)]
}

var numbers = regexp.MustCompile(`0x[0-9a-f]+|[0-9]+`)

// apart is the mean and the largest distance of samples.
func apart(a, b []byte) (mean float64, most int) {
	sum := 0
	for i := range a {
		d := max(int(a[i])-int(b[i]), int(b[i])-int(a[i]))
		sum += d
		most = max(most, d)
	}
	return float64(sum) / float64(max(1, len(a))), most
}

// traits tell findings in pixels apart.
func traits(format string, file []byte) string {
	if format != "jpeg" {
		return ""
	}
	var out []string
	scans := 0
	for _, p := range split(file) {
		switch {
		case isFrame(p):
			out = append(out, fmt.Sprintf("SOF%d with %d components", p.marker-0xc0, p.body[5]))
		case p.marker == 0xdd:
			out = append(out, "restarts")
		case p.marker == 0xee:
			out = append(out, "Adobe")
		case isScan(p):
			scans++
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

// line is the state of things.
func (r *report) line() string {
	return fmt.Sprintf("%d files %v: %d same pictures (at most %d apart), %d both refused, %d too large, %d listed reasons, %d findings of %d causes",
		r.files, r.from, r.same.pictures, r.worst, r.same.errors, r.same.large, sum(r.differ), r.findings, len(r.causes))
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// table is the totals, in Markdown.
func (r *report) table(took time.Duration) string {
	var s strings.Builder
	fmt.Fprintf(&s, "\n%s, %v:\n\n| files | |\n|---|---|\n", r.format, took.Round(time.Second))
	row := func(what string, n int) { fmt.Fprintf(&s, "| %s | %d |\n", what, n) }
	for _, from := range slices.Sorted(maps.Keys(r.from)) {
		row("made: "+from, r.from[from])
	}
	row(fmt.Sprintf("both read, the same pixels (at most %d apart)", r.worst), r.same.pictures)
	row("both refused", r.same.errors)
	row("declared too large, not compared", r.same.large)
	for _, reason := range reasons(r.format) {
		row("differ: "+reason.name, r.differ[reason.name])
	}
	row("differ for no listed reason", r.findings)
	return s.String()
}

// write writes findings: a folder a cause, and an index, most frequent first.
func (r *report) write() error {
	if len(r.causes) == 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(r.causes), func(a, b string) int { return r.causes[b].count - r.causes[a].count })
	var index strings.Builder
	fmt.Fprintf(&index, "%s\n\n", r.line())
	for _, key := range keys {
		c := r.causes[key]
		h := fnv.New32a()
		_, _ = h.Write([]byte(key)) // to memory
		dir := filepath.Join(r.out, fmt.Sprintf("%s-%08x", r.format, h.Sum32()))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		kind, _, _ := strings.Cut(key, "\n")
		fmt.Fprintf(&index, "%6d × %s: %s\n         patch:  %s\n         Pillow: %s\n", c.count, filepath.Base(dir), kind, said(c.ours), said(c.ref))
		for i, file := range c.kept {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.%s", i, r.format)), file, 0o644); err != nil {
				return err
			}
		}
		verdicts := fmt.Sprintf("patch:  %s\nPillow: %s\n", said(c.ours), said(c.ref))
		if err := os.WriteFile(filepath.Join(dir, "verdicts.txt"), []byte(verdicts), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(r.out, r.format+".txt"), []byte(index.String()), 0o644)
}

func said(text string) string {
	if text == "" {
		return "a picture"
	}
	return text
}
