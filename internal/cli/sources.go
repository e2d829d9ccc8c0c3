package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	lib "github.com/vitserve/vitserve"
)

// findSources lists the pictures that args name, in their order: files,
// folders with what lies under them by name, and - for stdin. stderr is told
// how many entries of a folder are passed over because they are no files.
func findSources(args []string, stdin io.Reader, stderr io.Writer) ([]lib.Source, error) {
	all, _, err := findAll(args, stdin, stderr)
	return all, err
}

// findAll is findSources with the number of what was passed over.
func findAll(args []string, stdin io.Reader, stderr io.Writer) (all []lib.Source, passed int, err error) {
	for i, arg := range args {
		if arg == "-" {
			if slices.Contains(args[:i], "-") {
				return nil, 0, usageError{errors.New("- (standard input) given twice")}
			}
			s := lib.Reader(stdin)
			s.Name = "-"
			all = append(all, s)
			continue
		}
		info, err := os.Stat(arg)
		if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(arg, "*?[") {
			// A shell that does not match patterns itself, as on Windows.
			matched, wrong := filepath.Glob(arg)
			if wrong != nil || len(matched) == 0 {
				all = append(all, lib.Failed(arg, errors.New("no file matches this")))
				continue
			}
			more, left, err := findAll(matched, stdin, stderr)
			if err != nil {
				return nil, 0, err
			}
			all, passed = append(all, more...), passed+left
			continue
		}
		if err != nil || !info.IsDir() {
			all = slices.AppendSeq(all, lib.Files(arg))
			continue
		}
		found, left := lib.FolderWhole(arg)
		for _, why := range slices.Sorted(maps.Keys(left)) {
			fmt.Fprintf(stderr, "note: %s: %d passed over %s\n", printable(arg), left[why], why)
			passed += left[why]
		}
		all = append(all, found...)
	}
	return all, passed, nil
}
