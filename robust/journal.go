package robust

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
)

// A journal keeps the rows of a run. It begins with a line of JSON that says
// which run it is; of each photo a frame follows: the length of what comes, its
// CRC-32, a line of JSON about the photo, a Record for each cell and the logits
// of the clean photo. A frame is written at once, so that what a kill leaves
// behind is whole frames and at most one torn one, which is cut off.

// journalMagic begins a journal's first line.
const journalMagic = "vitserve-robust-journal-2 "

// largestFrame bounds what is believed of a length.
const largestFrame = 64 << 20

// Row is what a journal keeps of a photo.
type Row struct {
	Name   string            `json:"name"`
	Label  string            `json:"label,omitempty"`
	Class  int               `json:"class"`            // that the label means; -1: none
	Errors map[string]string `json:"errors,omitempty"` // by cell; of the photo itself by "photo"

	Records []Record  `json:"-"` // by cell
	Logits  []float32 `json:"-"` // (K) of the clean photo, or logarithms of its scores; nil: none
}

// journal is open for more rows.
type journal struct {
	file  *os.File
	cells int
}

// openJournal opens or begins the journal of a run; done is how many photos it
// has. One of another run is an error.
func openJournal(name, run string, cells int) (j *journal, done int, err error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, 0, fmt.Errorf("robust: journal: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	j = &journal{file, cells}
	whole, err := eachRow(file, cells, func(got string) error {
		if got != run {
			return fmt.Errorf("robust: journal %s is of another run (photos, model, suites, seed or protocol differ); delete it or choose another output", name)
		}
		return nil
	}, func(*Row) error { done++; return nil })
	if err != nil {
		return nil, 0, err
	}
	if whole == 0 {
		if err := file.Truncate(0); err != nil {
			return nil, 0, fmt.Errorf("robust: journal: %w", err)
		}
		if _, err := file.WriteAt([]byte(journalMagic+run+"\n"), 0); err != nil {
			return nil, 0, fmt.Errorf("robust: journal: %w", err)
		}
		whole = int64(len(journalMagic) + len(run) + 1)
	}
	if err := file.Truncate(whole); err != nil {
		return nil, 0, fmt.Errorf("robust: journal: %w", err)
	}
	if _, err := file.Seek(whole, io.SeekStart); err != nil {
		return nil, 0, fmt.Errorf("robust: journal: %w", err)
	}
	return j, done, nil
}

// add writes a row.
func (j *journal) add(r *Row) error {
	head, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("robust: journal: %w", err)
	}
	body := append(head, '\n')
	for i := range r.Records {
		body = r.Records[i].append(body)
	}
	for _, v := range r.Logits {
		body = binary.LittleEndian.AppendUint32(body, math.Float32bits(v))
	}
	frame := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	frame = binary.LittleEndian.AppendUint32(frame, crc32.ChecksumIEEE(body))
	if _, err := j.file.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("robust: journal: %w", err)
	}
	return nil
}

func (j *journal) close() error { return j.file.Close() }

// ReadRows calls f for each row of a journal whose runs have so many cells; head
// is given its first line before.
func ReadRows(name string, cells int, head func(run string) error, f func(*Row) error) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("robust: journal: %w", err)
	}
	defer file.Close()
	_, err = eachRow(file, cells, head, f)
	return err
}

// eachRow reads whole rows and returns where they end; 0: there is no whole
// first line. A row and its records are overwritten by the next.
func eachRow(file io.Reader, cells int, head func(run string) error, f func(*Row) error) (whole int64, err error) {
	r := bufio.NewReaderSize(file, 1<<16)
	line, err := r.ReadBytes('\n')
	if errors.Is(err, io.EOF) && (len(line) == 0 || bytes.HasPrefix([]byte(journalMagic), line) || bytes.HasPrefix(line, []byte(journalMagic))) {
		return 0, nil // nothing, or a kill during the first write
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("robust: journal: %w", err)
	}
	run, ok := bytes.CutPrefix(line, []byte(journalMagic))
	if !ok {
		return 0, fmt.Errorf("robust: journal: want a file that begins with %q, found %q", journalMagic, line[:min(len(line), len(journalMagic))])
	}
	if err := head(string(bytes.TrimSuffix(run, []byte("\n")))); err != nil {
		return 0, err
	}
	whole = int64(len(line))
	row := Row{Records: make([]Record, cells)}
	var body []byte
	for {
		var frame [8]byte
		if _, err := io.ReadFull(r, frame[:]); err != nil {
			return whole, nil
		}
		n := int(binary.LittleEndian.Uint32(frame[:]))
		if n > largestFrame || n < cells*recordSize+1 {
			return whole, nil // a torn write of a file system that leaves zeros
		}
		if cap(body) < n {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(r, body); err != nil || crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(frame[4:]) {
			return whole, nil
		}
		row.Errors, row.Logits = nil, row.Logits[:0]
		end := bytes.IndexByte(body, '\n')
		records := body[end+1:]
		if end < 0 || len(records) < cells*recordSize || len(records)%4 != 0 {
			return whole, fmt.Errorf("robust: journal: row of %d bytes, want a line and %d records", n, cells)
		}
		if err := json.Unmarshal(body[:end], &row); err != nil {
			return whole, fmt.Errorf("robust: journal: row: %w", err)
		}
		for rest := records[cells*recordSize:]; len(rest) > 0; rest = rest[4:] {
			row.Logits = append(row.Logits, math.Float32frombits(binary.LittleEndian.Uint32(rest)))
		}
		for i := range row.Records {
			row.Records[i].decode(records[i*recordSize:])
		}
		if err := f(&row); err != nil {
			return whole, err
		}
		whole += int64(8 + n)
	}
}
