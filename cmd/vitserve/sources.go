package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

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
		if info, err := os.Stat(arg); err != nil || !info.IsDir() {
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
