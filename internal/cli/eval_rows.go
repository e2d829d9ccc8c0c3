package cli

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
)

// label gives sources the labels of --truth: by their path as far as a line
// gives it, or by their names where one line alone has that name. Without it
// they have the names of their folders.
func (f *evalFlags) label(sources []lib.Source) error {
	if f.truth == "" {
		return nil
	}
	byPath, byName := map[string]string{}, map[string]string{}
	shared := map[string]bool{} // names that several lines have
	for s := range lib.CSV(f.truth) {
		if s.Err() != nil {
			return fmt.Errorf("--truth %s: %w", f.truth, s.Err())
		}
		path, err := filepath.Rel(filepath.Dir(f.truth), s.Name)
		if err != nil {
			path = s.Name
		}
		path = filepath.ToSlash(filepath.Clean(path))
		if _, twice := byPath[path]; twice {
			return fmt.Errorf("--truth %s: two lines for %s", f.truth, printable(path))
		}
		byPath[path] = s.Label
		name := filepath.Base(path)
		_, twice := byName[name]
		shared[name] = shared[name] || twice
		byName[name] = s.Label
	}
	for i := range sources {
		sources[i].Label = ""
		whole, err := filepath.Abs(sources[i].Name)
		if err != nil {
			return err
		}
		rest, found := filepath.ToSlash(whole), false
		for rest != "" && !found {
			sources[i].Label, found = byPath[rest]
			_, rest, _ = strings.Cut(rest, "/")
		}
		if name := filepath.Base(whole); !found && !shared[name] {
			sources[i].Label = byName[name]
		}
	}
	return nil
}

// rows writes what became of each picture.
type rows struct {
	exam *lib.Exam
	ck   *models.Checkpoint
	file *os.File
	w    *bufio.Writer
	csv  *csv.Writer // nil: a JSON object a line
	err  error
}

// row is of one picture.
type row struct {
	File      string  `json:"file"`
	Label     string  `json:"label"`     // as it was given
	Class     int     `json:"class"`     // that it means
	Predicted int     `json:"predicted"` // the best class; -1: there is no answer
	Name      string  `json:"predicted_label"`
	Score     float64 `json:"score"`
	Rank      int     `json:"rank"` // of Class, from 1; 0: there is no answer
	Error     string  `json:"error,omitempty"`
}

// newRows creates the file; of no name nothing is written.
func newRows(name string, exam *lib.Exam, ck *models.Checkpoint) (*rows, error) {
	if name == "" {
		return &rows{}, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	r := &rows{exam: exam, ck: ck, file: file, w: bufio.NewWriter(file)}
	if filepath.Ext(name) == ".csv" {
		r.csv = csv.NewWriter(r.w)
		r.err = r.csv.Write([]string{"file", "label", "class", "predicted", "predicted_label", "score", "rank", "error"})
	}
	return r, nil
}

// add writes a row.
func (r *rows) add(x lib.Result) {
	if r.file == nil || r.err != nil {
		return
	}
	class, _, _ := r.exam.Truth(x.Source.Label)
	o := row{File: x.Source.Name, Label: x.Source.Label, Class: class, Predicted: -1}
	if x.Err != nil {
		o.Error = words.Plain(x.Err)
	} else {
		best := r.ck.Top(x.Logits, 1, 0)[0]
		o.Predicted, o.Name, o.Score, o.Rank = best.Index, best.Label, best.Score, r.exam.Rank(x.Logits, class)+1
	}
	if r.csv == nil {
		r.err = json.NewEncoder(r.w).Encode(o)
		return
	}
	r.err = r.csv.Write([]string{
		o.File, o.Label, strconv.Itoa(o.Class), strconv.Itoa(o.Predicted), o.Name, strconv.FormatFloat(o.Score, 'g', -1, 64), strconv.Itoa(o.Rank), o.Error,
	})
}

// close writes what is left. It may be called twice.
func (r *rows) close() error {
	if r.file == nil {
		return nil
	}
	if r.csv != nil {
		r.csv.Flush()
		r.err = errors.Join(r.err, r.csv.Error())
	}
	err := endRows(r.file, errors.Join(r.err, r.w.Flush()))
	r.file = nil
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	return nil
}
