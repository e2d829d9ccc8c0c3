package cli

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/internal/words"
)

// formats are what classify writes.
var formats = []string{"table", "json", "csv", "tsv"}

// tableFlags choose the form of what classify writes, and where to.
type tableFlags struct {
	format string
	json   bool
	output string
	sort   string
}

func (f *tableFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", formats[0], "what is written: "+strings.Join(formats, ", ")+"; a row of csv and tsv is a label")
	flags.BoolVar(&f.json, "json", false, "write a JSON object a line for each picture, as --format json")
	flags.StringVarP(&f.output, "output", "o", "", "write to this file in place of the terminal")
	flags.StringVar(&f.sort, "sort-into", "", "copy each picture into a folder of its best label below this one")
}

// check says what of the flags is impossible.
func (f *tableFlags) check(cmd *cobra.Command, top int) error {
	switch {
	case !slices.Contains(formats, f.format):
		return usageError{fmt.Errorf("--format %s, %s", f.format, words.Among(f.format, formats...))}
	case f.json && cmd.Flags().Changed("format") && f.format != "json":
		return usageError{fmt.Errorf("--json with --format %s, want one of them", f.format)}
	}
	if f.json {
		f.format = "json"
	}
	return nil
}

// writer begins to write answers. Of a table, top is how many labels there are
// of a picture.
func (f *tableFlags) writer(stdout io.Writer, top int) (*answers, error) {
	a := &answers{top: top}
	to := stdout
	if f.output != "" {
		file, err := os.Create(f.output)
		if err != nil {
			return nil, fmt.Errorf("--output: %w", err)
		}
		a.file, to = file, file
	}
	a.out = bufio.NewWriter(to)
	if f.sort != "" {
		a.sorted = &sorter{dir: f.sort}
	}
	switch f.format {
	case "json":
		a.write = func(x answer) error { return writeJSON(a.out, x) }
	case "csv", "tsv":
		rows := csv.NewWriter(a.out)
		if f.format == "tsv" {
			rows.Comma = '\t'
		}
		a.write = func(x answer) error { return writeRows(rows, x) }
		return a, errors.Join(rows.Write([]string{"image", "rank", "label", "class", "score", "error"}))
	default:
		a.write = func(x answer) error { return showTable(a.out, x, top) }
	}
	return a, nil
}

// answers are being written.
type answers struct {
	top    int
	out    *bufio.Writer
	file   *os.File // nil: the terminal
	sorted *sorter  // nil: nothing is sorted
	write  func(answer) error
}

// show writes the answer to a picture, and sorts the picture. What cannot be
// sorted is wrong with the picture, and not with the run.
func (a *answers) show(x answer) (wrong, err error) {
	if a.sorted != nil && x.Error == "" {
		wrong = a.sorted.put(x)
	}
	return wrong, errors.Join(a.write(x), a.out.Flush())
}

// close ends the file.
func (a *answers) close() error {
	err := a.out.Flush()
	if a.file != nil {
		err = endRows(a.file, err)
	}
	return err
}

// writeRows writes a row for each label, or one without a label.
func writeRows(w *csv.Writer, a answer) error {
	row := func(rank, label, class, score string) error {
		return w.Write([]string{a.Image, rank, label, class, score, a.Error})
	}
	err := error(nil)
	if len(a.Predictions) == 0 {
		err = row("", "", "", "")
	}
	for i, p := range a.Predictions {
		err = errors.Join(err, row(strconv.Itoa(i+1), p.Label, strconv.Itoa(p.Index), strconv.FormatFloat(p.Score, 'g', 6, 64)))
	}
	w.Flush()
	return errors.Join(err, w.Error())
}
