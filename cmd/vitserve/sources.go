package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	lib "github.com/vitserve/vitserve"
)

// findSources lists the pictures that args name, in their order: files,
// folders with what lies under them by name, and - for stdin. stderr is told
// how many entries of a folder are passed over because they are no files.
func findSources(args []string, stdin io.Reader, stderr io.Writer) ([]lib.Source, error) {
	var all []lib.Source
	for i, arg := range args {
		if arg == "-" {
			if slices.Contains(args[:i], "-") {
				return nil, usageError{errors.New("- (standard input) given twice")}
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
		found, passed := lib.Folder(arg)
		if passed > 0 {
			fmt.Fprintf(stderr, "note: %s: %d passed over that are no files: pipes, sockets or devices\n", printable(arg), passed)
		}
		all = append(all, found...)
	}
	return all, nil
}
