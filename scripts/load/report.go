package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Marks in a document between which the table is written.
const (
	tableBegin = "<!-- %s: begin, written by scripts/load -->"
	tableEnd   = "<!-- %s: end -->"
)

// bound is a row of the table.
type bound struct {
	what, found, wanted string
	broken              bool
}

// hold adds a row; the run fails where ok is false.
func (b *bench) hold(ok bool, what, wanted, found string, args ...any) {
	row := bound{what: what, found: fmt.Sprintf(found, args...), wanted: wanted, broken: !ok}
	b.bounds = append(b.bounds, row)
	verdict := "holds"
	if row.broken {
		verdict = "BROKEN"
	}
	fmt.Printf("%s: %s (wanted: %s) %s\n", row.what, row.found, row.wanted, verdict)
}

// table is everything that was found, in Markdown.
func (b *bench) table(took time.Duration) string {
	var s strings.Builder
	fmt.Fprintf(&s, "- machine: %d cores of %s, %s/%s, which server and clients share; load average before %s\n",
		runtime.NumCPU(), processor(), runtime.GOOS, runtime.GOARCH, b.loadBefore)
	fmt.Fprintf(&s, "- commit: %s; %s; %s; %v in all\n", commit(), runtime.Version(), time.Now().UTC().Format(time.DateOnly), took.Round(time.Second))
	fmt.Fprintf(&s, "- pictures: %d of 640×480, %.0f kB on average\n- command: `%s`\n\n", len(b.photos), meanSize(b.photos)/1000, b.command)
	fmt.Fprintf(&s, "| what | found | wanted | |\n|---|---|---|---|\n")
	for _, r := range b.bounds {
		verdict := ""
		if r.broken {
			verdict = "**broken**"
		}
		fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", r.what, r.found, r.wanted, verdict)
	}
	return s.String()
}

// writeTable puts the table between the marks of a name in a document.
func writeTable(path, name, table string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	first, last := fmt.Sprintf(tableBegin, name), fmt.Sprintf(tableEnd, name)
	before, rest, ok := bytes.Cut(doc, []byte(first))
	_, after, ended := bytes.Cut(rest, []byte(last))
	if !ok || !ended {
		return fmt.Errorf("%s has no %q and %q after it", path, first, last)
	}
	return os.WriteFile(path, fmt.Appendf(nil, "%s%s\n\n%s\n%s%s", before, first, table, last, after), 0o644)
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "an unknown processor"
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(b))[0]
}

func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
