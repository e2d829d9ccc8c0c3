package focus

import (
	"fmt"
	"strconv"
	"strings"
)

// Value is an option of some Options, as text. It is what flag packages call
// a value.
type Value interface {
	Set(text string) error // of the kind; what it may be of a model, Check says
	String() string
	Type() string // a word for usage texts
	Given() bool  // it is not at its default
}

type (
	whole int
	seed  uint64
	share float64
	word  string
	cell  []int
)

func (v *whole) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, strconv.IntSize)
	if err != nil {
		return fmt.Errorf("%.64q, want a whole number", text)
	}
	*v = whole(n)
	return nil
}

func (v *seed) Set(text string) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, 64)
	if err != nil {
		return fmt.Errorf("%.64q, want a whole number from 0", text)
	}
	*v = seed(n)
	return nil
}

func (v *share) Set(text string) error {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("%.64q, want a number", text)
	}
	*v = share(f)
	return nil
}

func (v *word) Set(text string) error { *v = word(text); return nil }

func (v *cell) Set(text string) error {
	c, err := ParseCell(text)
	if err != nil {
		return err
	}
	*v = c
	return nil
}

func (v *whole) String() string { return strconv.Itoa(int(*v)) }
func (v *seed) String() string  { return strconv.FormatUint(uint64(*v), 10) }
func (v *share) String() string { return strconv.FormatFloat(float64(*v), 'g', -1, 64) }
func (v *word) String() string  { return string(*v) }

func (v *cell) String() string {
	var parts []string
	for _, i := range *v {
		parts = append(parts, strconv.Itoa(i))
	}
	return strings.Join(parts, ",")
}

func (*whole) Type() string { return "int" }
func (*seed) Type() string  { return "uint" }
func (*share) Type() string { return "float" }
func (*word) Type() string  { return "string" }
func (*cell) Type() string  { return "string" }

func (v *whole) Given() bool { return *v != 0 }
func (v *seed) Given() bool  { return *v != 0 }
func (v *share) Given() bool { return *v != 0 }
func (v *word) Given() bool  { return *v != "" }
func (v *cell) Given() bool  { return len(*v) > 0 }

// ParseCell reads the row and the column of a patch: "3,4".
func ParseCell(text string) ([]int, error) {
	row, col, _ := strings.Cut(text, ",")
	r, errRow := strconv.ParseUint(row, 10, 31)
	c, errCol := strconv.ParseUint(col, 10, 31)
	if errRow != nil || errCol != nil {
		return nil, badOption("query", fmt.Sprintf("%.64q", text), "row,column such as 3,4")
	}
	return []int{int(r), int(c)}, nil
}
