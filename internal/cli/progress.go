package cli

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// isLively reports whether w is a terminal that obeys what moves its cursor and
// changes its colours.
func isLively(w io.Writer) bool { return isTerminal(w) && os.Getenv("TERM") != "dumb" }

// progress is a bar on a terminal, or nothing.
type progress struct{ bar *progressbar.ProgressBar }

// newProgress counts to total on stderr. There is no bar where stderr is not
// a terminal that can take it away again, where stdout is one and shows the results themselves, or where
// there is little to wait for.
func newProgress(stdout, stderr io.Writer, total int, what string) progress {
	if total < 2 || !isLively(stderr) || isTerminal(stdout) {
		return progress{}
	}
	return progress{progressbar.NewOptions(total,
		progressbar.OptionSetWriter(stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

// newCounter counts where nobody knows to what.
func newCounter(stdout, stderr io.Writer, what string) progress {
	if !isTerminal(stderr) || isTerminal(stdout) {
		return progress{}
	}
	return progress{progressbar.NewOptions(-1,
		progressbar.OptionSetWriter(stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

// add counts one. A terminal that cannot be written to is no reason to stop.
func (p progress) add() {
	if p.bar != nil {
		_ = p.bar.Add(1)
	}
}

// clear takes the bar away, so that a line can be written in its place.
func (p progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
