package score

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/vitserve/vitserve/score/parquet"
)

// Formats are the names of the formats of parts, which their names end in.
func Formats() []string { return []string{"jsonl", "csv", "parquet"} }

// table writes rows.
type table interface {
	write(*Row) error
	close() error // writes what is left
}

// newTable begins a part in the job's format.
func (j *Job) newTable(w io.Writer) (table, error) {
	switch j.Format {
	case "csv":
		t := &csvTable{columns: j.columns(), w: csv.NewWriter(w)}
		for _, c := range t.columns {
			t.cells = append(t.cells, c.name)
		}
		return t, t.w.Write(t.cells)
	case "parquet":
		t := &parquetTable{columns: j.columns()}
		var columns []parquet.Column
		for _, c := range t.columns {
			columns = append(columns, parquet.Column{Name: c.name, Kind: c.kind})
		}
		t.w = parquet.NewWriter(w, columns)
		t.values = make([]any, len(columns))
		return t, nil
	}
	b := bufio.NewWriterSize(w, 64<<10)
	t := &jsonTable{w: b, e: json.NewEncoder(b)}
	t.e.SetEscapeHTML(false)
	return t, nil
}

// jsonTable is an object a line.
type jsonTable struct {
	w *bufio.Writer
	e *json.Encoder
}

func (t *jsonTable) write(r *Row) error { return t.e.Encode(r) }
func (t *jsonTable) close() error       { return t.w.Flush() }

// csvTable has a first line that names the columns.
type csvTable struct {
	columns []column
	cells   []string
	w       *csv.Writer
}

func (t *csvTable) write(r *Row) (err error) {
	for i, c := range t.columns {
		if t.cells[i], err = text(c.of(r)); err != nil {
			return err
		}
	}
	return t.w.Write(t.cells)
}

func (t *csvTable) close() error {
	t.w.Flush()
	return t.w.Error()
}

// parquetTable is Parquet. How many rows there are, and how many of them have
// an error, is also among the file's own words.
type parquetTable struct {
	columns      []column
	values       []any
	rows, failed int64
	w            *parquet.Writer
}

// Names of the counts in a Parquet file.
const (
	rowsName   = "vitserve.rows"
	failedName = "vitserve.failed"
)

func (t *parquetTable) write(r *Row) error {
	t.rows++
	if r.Error != "" {
		t.failed++
	}
	for i, c := range t.columns {
		t.values[i] = c.of(r)
		if top, ok := t.values[i].([]Prediction); ok {
			list := make([]parquet.Prediction, len(top))
			for k, p := range top {
				list[k] = parquet.Prediction(p)
			}
			t.values[i] = list
		}
	}
	return t.w.Write(t.values)
}

func (t *parquetTable) close() error {
	return t.w.Close(map[string]string{rowsName: strconv.FormatInt(t.rows, 10), failedName: strconv.FormatInt(t.failed, 10)})
}

// count reads how many rows a part has, and how many of them have an error. A
// part that does not end as it should is an error.
func count(format string, r io.ReaderAt, size int64) (rows, failed int64, err error) {
	switch format {
	case "csv":
		return countCSV(io.NewSectionReader(r, 0, size))
	case "parquet":
		said, err := parquet.Metadata(r, size)
		if err != nil {
			return 0, 0, err
		}
		rows, err = strconv.ParseInt(said[rowsName], 10, 64)
		if err == nil {
			failed, err = strconv.ParseInt(said[failedName], 10, 64)
		}
		if err != nil {
			err = fmt.Errorf("no counts in the file: %w", err)
		}
		return rows, failed, err
	}
	lines := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				return rows, failed, errors.New("the last line does not end")
			}
			return rows, failed, nil
		}
		if err != nil {
			return rows, failed, err
		}
		rows++
		if !bytes.Contains(line, []byte(`"error":`)) {
			continue
		}
		var told struct {
			Error string `json:"error"`
		}
		if err := json.Unmarshal(line, &told); err != nil {
			return rows, failed, fmt.Errorf("line %d: %w", rows, err)
		}
		if told.Error != "" {
			failed++
		}
	}
}

func countCSV(r io.Reader) (rows, failed int64, err error) {
	c := csv.NewReader(bufio.NewReaderSize(r, 64<<10))
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return 0, 0, err
	}
	at := -1
	for i, name := range head {
		if name == "error" {
			at = i
		}
	}
	if at < 0 {
		return 0, 0, fmt.Errorf("columns %q, want error among them", head)
	}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return rows, failed, nil
		}
		if err != nil {
			return rows, failed, err
		}
		rows++
		if row[at] != "" {
			failed++
		}
	}
}
