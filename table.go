package vitserve

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// Names that the columns of a table may have, in letters of any case, those
// that go before others first.
var (
	fileColumns  = []string{"file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "img", "picture", "photo"}
	labelColumns = []string{"label", "labels", "class", "class_name", "category", "target", "synset", "wnid", "class_id", "label_id"}
)

// CSV lists the pictures of a table: its first line names the columns, of
// which file (or filename, path, image) is the picture, from the folder of the
// table, and label (or class, category, target, synset), if it is there, is its
// class. Columns are parted by commas, semicolons or tabs, as the first line
// has them; a byte order mark is passed over.
func CSV(name string) iter.Seq[Source] {
	return lines(name, func(file io.Reader, yield func(Source) bool) error {
		b := bufio.NewReaderSize(file, 4<<10)
		if mark, _ := b.Peek(3); string(mark) == "\xef\xbb\xbf" {
			_, _ = b.Discard(len(mark))
		}
		r := csv.NewReader(b)
		r.ReuseRecord, r.Comma = true, separator(b)
		head, err := r.Read()
		if err != nil {
			return err
		}
		at, label := column(head, fileColumns), column(head, labelColumns)
		if at < 0 {
			return fmt.Errorf("columns %q, want file among them, and label", head)
		}
		for {
			row, err := r.Read()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			s := File(beside(name, row[at]))
			s.Label = ""
			if label >= 0 {
				s.Label = row[label]
			}
			if !yield(s) {
				return nil
			}
		}
	})
}

// separator is what parts the columns of the line that follows.
func separator(b *bufio.Reader) rune {
	start, _ := b.Peek(4 << 10)
	line, _, _ := bytes.Cut(start, []byte("\n"))
	best := ','
	for _, c := range []rune{';', '\t'} {
		if bytes.Count(line, []byte(string(c))) > bytes.Count(line, []byte(string(best))) {
			best = c
		}
	}
	return best
}

// column finds the first of names that a head has; -1: none.
func column(head, names []string) int {
	for _, name := range names {
		if i := slices.IndexFunc(head, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) }); i >= 0 {
			return i
		}
	}
	return -1
}
