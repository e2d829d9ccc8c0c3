package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/patch"
)

// corpora compares the decoders on the files of folders.
type corpora struct {
	ref    *worker
	counts map[string]*corpus // by Pillow's name of the format
	other  map[string]int     // files of formats that are not decoded, by name
	files  int
	said   []string // what is not equal, a line a file
}

// corpus is the files of a format.
type corpus struct {
	quiet, warned   int // that Pillow reads without a warning, with one
	equal, near     int // the same pixels, within the bound
	apart           int // beyond it
	surplus         int // files that Pillow refuses and patch reads
	both            int // that neither reads
	large           int
	quietly, loudly int // refused by patch, of the two kinds that Pillow reads
	reasons         map[string]int
}

// decoded are the formats of package patch by Pillow's names; MPO is a JPEG.
var decoded = map[string]string{"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "DIB": "dib", "ICO": "ico", "TIFF": "tiff", "WEBP": "webp"}

// compareFolders reads every file of folders with both, and prints a table.
func compareFolders(ctx context.Context, folders []string, ref *worker) error {
	c := &corpora{ref: ref, counts: map[string]*corpus{}, other: map[string]int{}}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			c.compare(path, data)
			return nil
		})
		if err != nil {
			return err
		}
	}
	fmt.Print(c.table())
	return nil
}

// compare judges one file.
func (c *corpora) compare(path string, data []byte) {
	ref := c.ref.decodeAny(data)
	if ref.format == "none" || ref.format == "" {
		return // no picture to Pillow
	}
	c.files++
	if decoded[ref.format] == "" {
		if ref.err == "" {
			c.other[ref.format]++
		}
		return
	}
	n := c.counts[decoded[ref.format]]
	if n == nil {
		n = &corpus{reasons: map[string]int{}}
		c.counts[decoded[ref.format]] = n
	}
	ours := decodeUpright(data)
	note := func(format string, args ...any) {
		c.said = append(c.said, fmt.Sprintf("%s: ", path)+fmt.Sprintf(format, args...))
	}
	switch {
	case ours.err == tooLarge || strings.Contains(ref.err, tooLarge):
		n.large++
	case ref.err != "" && ours.err != "":
		n.both++
	case ref.err != "":
		n.surplus++
	default:
		n.read(ours, ref, decoded[ref.format], note)
	}
}

// read counts a file that Pillow reads.
func (n *corpus) read(ours, ref verdict, format string, note func(format string, args ...any)) {
	warns, refused := &n.quiet, &n.quietly
	if ref.warnings > 0 {
		warns, refused = &n.warned, &n.loudly
	}
	*warns++
	bound := newReport(format, "").bound
	switch {
	case ours.err != "":
		*refused++
		n.reasons[format+": "+numbers.ReplaceAllString(strings.TrimPrefix(ours.err, "decode "+format+": "), "#")]++
		note("refused, %d warnings of Pillow: %s", ref.warnings, ours.err)
	case ours.width != ref.width || ours.height != ref.height:
		n.apart++
		note("%d×%d pixels, Pillow has %d×%d", ours.width, ours.height, ref.width, ref.height)
	default:
		switch mean, most := apart(ours.rgb, ref.rgb); {
		case most == 0:
			n.equal++
		case mean <= bound.mean && most <= bound.most:
			n.near++
		default:
			n.apart++
			note("differs by %.2f grey levels, at most %d", mean, most)
		}
	}
}

// decodeUpright is the verdict of package patch with its default limits.
func decodeUpright(data []byte) verdict {
	return judged(data, patch.Options{})
}

// table is the totals in Markdown, and what is not equal.
func (c *corpora) table() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d files that Pillow knows.\n\n| | read by Pillow | of them with a warning | the same pixels | within the bound | not | refused | of them with a warning of Pillow | read here only | by neither | too large |\n|---|---|---|---|---|---|---|---|---|---|---|\n", c.files)
	var all corpus
	row := func(name string, n *corpus) {
		fmt.Fprintf(&s, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d |\n", name, n.quiet+n.warned, n.warned, n.equal, n.near, n.apart, n.quietly+n.loudly, n.loudly, n.surplus, n.both, n.large)
	}
	reasons := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(c.counts)) {
		n := c.counts[name]
		row(name, n)
		all.quiet += n.quiet
		all.warned += n.warned
		all.equal += n.equal
		all.near += n.near
		all.apart += n.apart
		all.quietly += n.quietly
		all.loudly += n.loudly
		all.surplus += n.surplus
		all.both += n.both
		all.large += n.large
		for k, v := range n.reasons {
			reasons[k] += v
		}
	}
	row("all", &all)
	list := func(title string, of map[string]int) {
		fmt.Fprintf(&s, "\n%s\n\n", title)
		for _, k := range slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(of[b]-of[a], strings.Compare(a, b)) }) {
			fmt.Fprintf(&s, "%6d × %s\n", of[k], k)
		}
	}
	list("Refused:", reasons)
	list("Formats that are not decoded, read by Pillow:", c.other)
	fmt.Fprintf(&s, "\n%s\n", strings.Join(c.said, "\n"))
	return s.String()
}
