package cli

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models/hub"
)

// printable returns what a stranger wrote, a file's name or a tensor's, so that
// a terminal shows it and obeys nothing in it: control characters, marks that
// turn the direction of writing, line ends and bytes that are no UTF-8 are
// written as Go writes them in a string.
func printable(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			out.WriteString(`\x` + strconv.FormatUint(0x100|uint64(s[0]), 16)[1:])
		case strconv.IsPrint(r):
			out.WriteString(s[:n])
		default:
			quoted := strconv.QuoteRune(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return out.String()
}

// printableError is printable for an error, which may have several lines. Of a
// disk that is full it says what to do.
func printableError(err error) string {
	text := words.Plain(err)
	if why := lacksRoom(err); why != "" && !errors.Is(err, hub.ErrDisk) {
		text += ": " + why + ": make room, or write elsewhere"
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = printable(l)
	}
	return strings.Join(lines, "\n")
}
