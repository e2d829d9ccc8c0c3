package score

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/score/parquet"
)

// Names that the columns of a manifest may have, in letters of any case, those
// that go before others first.
var (
	fileColumns = []string{"file", "filename", "file_name", "filepath", "file_path", "path", "url", "uri", "image", "image_path", "image_url", "img", "picture", "photo"}
	keyColumns  = []string{"key", "id"}
)

// maxLine is the longest line of a manifest, in bytes.
const maxLine = 1 << 20

// manifest lists the photos that a file names. What makes it unreadable is
// hopeless, but for a place that does not answer.
func (j *Job) manifest(ctx context.Context, name string, yield func(unit) bool) error {
	r, err := j.open(ctx, name)
	if err != nil {
		return unreadable(name, err)
	}
	defer r.Close()
	base := folderOf(name)
	entry := func(file, key string) bool {
		u := unit{name: Join(base, file), key: key}
		if key == "" {
			u.key = file
		}
		if file == "" {
			u.err = errors.New("the manifest names no file")
		}
		return yield(u)
	}
	var in io.Reader = r
	if strings.HasSuffix(strings.ToLower(pathOf(name)), ".gz") {
		if extension(name) == ".parquet" {
			return never("%s: Parquet is compressed inside, want it without .gz", name)
		}
		z, err := gzip.NewReader(r)
		if err != nil {
			return unreadable(name, err)
		}
		in = z
	}
	switch extension(name) {
	case ".parquet":
		err = readParquet(in, entry)
	case ".txt":
		err = readText(in, entry)
	default:
		err = readCSV(in, entry)
	}
	return unreadable(name, err)
}

func unreadable(name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if u, is := errors.AsType[*Unreachable](err); is {
		return u
	}
	return never("manifest %s: %w", name, err)
}

// readText reads a name a line. Blank lines do not count.
func readText(r io.Reader, yield func(file, key string) bool) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for first := true; s.Scan(); first = false {
		line := strings.TrimRight(s.Text(), "\r")
		if first {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if line != "" && !yield(line, "") {
			return nil
		}
	}
	return s.Err()
}

// readCSV reads a table whose first line names its columns.
func readCSV(r io.Reader, yield func(file, key string) bool) error {
	b := bufio.NewReaderSize(r, 64<<10)
	if mark, _ := b.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = b.Discard(len(mark))
	}
	start, _ := b.Peek(4 << 10)
	line, _, _ := bytes.Cut(start, []byte("\n"))
	c := csv.NewReader(b)
	c.ReuseRecord = true
	for _, comma := range ";\t" {
		if bytes.Count(line, []byte(string(comma))) > bytes.Count(line, []byte(string(c.Comma))) {
			c.Comma = comma
		}
	}
	head, err := c.Read()
	if err != nil {
		return err
	}
	at, err := columnsOf(head)
	if err != nil {
		return err
	}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		key := ""
		if at[1] >= 0 {
			key = strings.Clone(row[at[1]])
		}
		if !yield(strings.Clone(row[at[0]]), key) {
			return nil
		}
	}
}

// columnsOf finds the file and the key; -1: no key.
func columnsOf(head []string) ([]int, error) {
	find := func(names []string) int {
		for _, name := range names {
			if i := slices.IndexFunc(head, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) }); i >= 0 {
				return i
			}
		}
		return -1
	}
	at := []int{find(fileColumns), find(keyColumns)}
	if at[0] < 0 {
		return nil, fmt.Errorf("columns %q, want file (or path, url, image) among them, and key if it is not the file", head)
	}
	return at, nil
}

// readParquet reads the columns of a table. From anywhere but the disk it is
// copied there first: Parquet is read from its end.
func readParquet(r io.Reader, yield func(file, key string) bool) error {
	f, ok := r.(*os.File)
	if !ok {
		var err error
		if f, err = os.CreateTemp("", "manifest-*.parquet"); err != nil {
			return &Unreachable{"temporary file", err}
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if _, err := io.Copy(f, r); err != nil {
			return err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return parquet.Read(f, info.Size(), columnsOf, func(row []string) bool { return yield(row[0], row[1]) })
}
