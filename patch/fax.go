package patch

import (
	"context"
	"errors"
)

// fax reads rows of ITU-T T.4 and T.6, and goes on behind what is wrong with
// them as libtiff does (tif_fax3.c): a row that is too long or too short is cut
// or filled, an unknown code ends it, and the next one begins where the bits
// say so.
type fax struct {
	ctx    context.Context
	tables *faxTables
	kind   int // group3, group4, faxRows or faxWords
	two    bool
	data   []byte
	odd    int // 1 if data begins at an odd byte of the file
	tile   bool
	at     int
	bits   uint32 // the next ones, at the lower end
	have   int
	width  int

	first, second []int // memory of runs

	runs  []int // of the row that is read, white and black in turn; n of them count
	n     int
	above []int // of the one before
	next  int   // of those that is looked at
	a0    int   // pixels of the row that are there
	run   int   // of the run that is being read
	b1    int   // the change above, right of a0
	eol   bool  // an end of line was met
	bare  bool  // rows have none
	rows  int   // that were whole
	over  bool  // no row follows
}

var (
	errFaxEnd  = errors.New("truncated fax: the code ends before the rows")
	errFaxRuns = errors.New("a fax's row of more runs than pixels")
)

// reset begins to read rows of so many pixels. Rows of group 3 are coded in two
// dimensions if the file says so. What runs of blocks before were stays, as
// libtiff has it.
func (f *fax) reset(ctx context.Context, data []byte, kind, width int, two bool) {
	n := (width + 32) / 32 * 32
	if two || kind == group4 {
		n *= 2
	}
	if f.width != width || f.first == nil {
		f.first, f.second = make([]int, n), make([]int, n)
	}
	*f = fax{ctx: ctx, tables: faxAll(), kind: kind, two: two, data: data, width: width, first: f.first, second: f.second, bare: f.bare}
	f.runs = f.first
	if two || kind == group4 {
		f.above = f.second
		f.above[0], f.above[1] = width, 0
	}
}

// row writes a row's bits, 1 for black. Of group 4 the rows behind the code's
// end are 0, but there must be one.
func (f *fax) row(dst []byte) error {
	if f.over {
		clear(dst)
		return nil
	}
	if err := f.ctx.Err(); err != nil {
		return err
	}
	f.n, f.next, f.a0, f.run = 0, 0, 0, 0
	var err error
	switch f.kind {
	case group4:
		f.b1 = f.change()
		err = f.twoDimensions()
		if err == nil && f.eol {
			err = errFaxEnd
		}
	case group3:
		if !f.bare {
			if err = f.sync(); errors.Is(err, errFaxEnd) { // perhaps there are none
				f.bare, f.at, f.bits, f.have, err = true, 0, 0, 0, nil
			}
		}
		if err != nil {
			break
		}
		one := uint32(1)
		if f.two {
			if one, err = f.look(1); err != nil {
				break
			}
			f.skip(1)
			f.b1 = f.change()
		}
		if one == 1 {
			err = f.oneDimension()
		} else {
			err = f.twoDimensions()
		}
	default:
		err = f.oneDimension()
		f.align()
	}
	if errors.Is(err, errFaxEnd) && f.kind == group4 {
		f.over = true
		if f.rows > 0 {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	f.fill(dst)
	f.rows++
	if f.above != nil {
		if f.n < len(f.runs) {
			f.put(0) // an imaginary change for the next row
		}
		f.runs, f.above = f.above, f.runs
	}
	return nil
}

// change takes the next run of the row above.
func (f *fax) change() int {
	if f.next >= len(f.above) {
		return 0
	}
	f.next++
	return f.above[f.next-1]
}

// put ends a run.
func (f *fax) put(n int) bool {
	if f.n >= len(f.runs) {
		return false
	}
	f.runs[f.n] = f.run + n
	f.n++
	f.a0 += n
	f.run = 0
	return true
}

// sync finds the end of line before a row: eleven zeros or more, and a one.
func (f *fax) sync() error {
	for !f.eol {
		v, err := f.look(11)
		if err != nil {
			return err
		}
		if v == 0 {
			break
		}
		f.skip(1)
		if f.at&0xfff == 0 && f.ctx.Err() != nil {
			return f.ctx.Err()
		}
	}
	for {
		v, err := f.look(8)
		if err != nil {
			return err
		}
		if v != 0 {
			break
		}
		f.skip(8)
		if f.at&0xfff == 0 && f.ctx.Err() != nil {
			return f.ctx.Err()
		}
	}
	for {
		v, _ := f.look(1) // one of the eight
		f.skip(1)
		if v == 1 {
			f.eol = false
			return nil
		}
	}
}

// align skips to the next byte or word.
func (f *fax) align() {
	switch f.kind {
	case faxRows:
		f.have -= f.have % 8
	case faxWords:
		f.have -= f.have % 16
		if f.have == 0 {
			f.at = min(f.at+(f.at+f.odd)%2, len(f.data))
		}
	}
}

// color reads the codes of a run; end is that no run follows in this row.
func (f *fax) color(black bool) (end bool, err error) {
	table, n := f.tables.white[:], faxWhiteBits
	if black {
		table, n = f.tables.black[:], faxBlackBits
	}
	for {
		c, err := f.code(table, n)
		if err != nil {
			return true, err
		}
		switch c.what {
		case faxRun:
			if !f.put(int(c.n)) {
				return true, errFaxRuns
			}
			return false, nil
		case faxMore:
			f.a0 += int(c.n)
			f.run += int(c.n)
		case faxEOL:
			f.eol = true
			return true, nil
		default:
			return true, nil
		}
	}
}

// oneDimension reads a row of runs.
func (f *fax) oneDimension() error {
	for black := false; ; black = !black {
		end, err := f.color(black)
		if err != nil {
			f.cleanUp()
			return err
		}
		if end || f.a0 >= f.width {
			break
		}
		if black && f.runs[f.n-1] == 0 && f.runs[f.n-2] == 0 {
			f.n -= 2
		}
	}
	return f.cleanUp()
}

// twoDimensions reads a row of differences from the one above (T.4, 4.2).
func (f *fax) twoDimensions() error {
	err := f.modes()
	if errors.Is(err, errFaxMode) {
		err = nil
	}
	if e := f.cleanUp(); err == nil {
		err = e
	}
	return err
}

// errFaxMode: what comes is no mode, and the row ends.
var errFaxMode = errors.New("no mode")

func (f *fax) modes() error {
	for f.a0 < f.width {
		if f.n >= len(f.runs) {
			return errFaxRuns
		}
		c, err := f.code(f.tables.mode[:], faxModeBits)
		if err != nil {
			return err
		}
		switch c.what {
		case faxPass:
			if !f.find() || f.next+1 >= len(f.above) {
				return errFaxRuns
			}
			f.b1 += f.change()
			f.run += f.b1 - f.a0
			f.a0 = f.b1
			f.b1 += f.change()
		case faxHorizontal:
			black := f.n&1 == 1
			for range 2 {
				end, err := f.horizontal(black)
				if err != nil {
					return err
				}
				if end {
					return errFaxMode
				}
				black = !black
			}
			if !f.find() {
				return errFaxRuns
			}
		case faxVertical:
			if !f.find() {
				return errFaxRuns
			}
			if f.b1+min(0, int(c.n)) < f.a0 {
				return errFaxMode
			}
			if !f.put(f.b1 - f.a0 + int(c.n)) {
				return errFaxRuns
			}
			if c.n < 0 {
				if f.next--; f.next < 0 {
					return errFaxRuns
				}
				f.b1 -= f.above[f.next]
				break
			}
			if f.next >= len(f.above) {
				return errFaxRuns
			}
			f.b1 += f.change()
		default: // an extension or an end of line
			f.runs[f.n] = f.width - f.a0
			f.n++
			if c.what == faxEOL {
				if _, err := f.look(4); err != nil {
					return err
				}
				f.skip(4)
				f.eol = true
			}
			return errFaxMode
		}
	}
	if f.run == 0 {
		return nil
	}
	if f.run+f.a0 < f.width { // the last change must follow
		v, err := f.look(1)
		if err != nil {
			return err
		}
		if v == 0 {
			return errFaxMode
		}
		f.skip(1)
	}
	if !f.put(0) {
		return errFaxRuns
	}
	return nil
}

// horizontal is color where no end of line may come.
func (f *fax) horizontal(black bool) (end bool, err error) {
	eol := f.eol
	end, err = f.color(black)
	f.eol = eol
	return end, err
}

// find moves to the change above that lies right of a0.
func (f *fax) find() bool {
	if f.n == 0 {
		return true
	}
	for f.b1 <= f.a0 && f.b1 < f.width {
		if f.next+1 >= len(f.above) {
			return false
		}
		f.b1 += f.above[f.next] + f.above[f.next+1]
		f.next += 2
	}
	return true
}

// cleanUp makes the row as long as it ought to be.
func (f *fax) cleanUp() error {
	ok := true
	if f.run != 0 {
		ok = f.put(0)
	}
	if f.a0 != f.width {
		for f.a0 > f.width && f.n > 0 {
			f.n--
			f.a0 -= f.runs[f.n]
		}
		if f.a0 < f.width {
			f.a0 = max(f.a0, 0)
			if f.n&1 == 1 {
				ok = f.put(0) && ok
			}
			ok = f.put(f.width-f.a0) && ok
		} else if f.a0 > f.width {
			ok = f.put(f.width) && ok
			ok = f.put(0) && ok
		}
	}
	if !ok {
		return errFaxRuns
	}
	return nil
}

// Read fills one row. Of a tile libtiff takes an error for the end.
func (f *fax) Read(p []byte) (int, error) {
	n := (f.width + 7) / 8
	err := f.row(p[:n])
	if f.tile && (errors.Is(err, errFaxEnd) || errors.Is(err, errFaxRuns)) {
		f.fill(p[:n])
		f.over, err = true, nil
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}
