package oip

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// text returns a string of JSON.
func text(b []byte) (s string, err error) {
	if len(b) == 0 || b[0] != '"' {
		return "", fmt.Errorf("%s, want a text", clip(b))
	}
	err = json.Unmarshal(b, &s)
	return s, err
}

// flat calls take with the elements of a tensor, flat and in row-major order or
// nested as its shape is: with numbers as they stand there, and with texts in
// their quotes. Their number is that of the shape.
func flat(b []byte, shape []int, take func(i int, v string) error) error {
	w := walk{s: string(bytes.TrimSpace(b)), take: take, want: 1}
	for _, d := range shape {
		w.want *= d
	}
	if w.s == "" || w.s[0] != '[' {
		return fmt.Errorf("%s, want an array", clip(b))
	}
	w.nested = strings.HasPrefix(strings.TrimLeft(w.s[1:], " \t\r\n"), "[")
	if !w.nested {
		shape = []int{w.want}
	}
	if err := w.level(shape); err != nil {
		return err
	}
	return nil
}

// walk is a tensor that is being read.
type walk struct {
	s      string // what is left of it
	take   func(i int, v string) error
	n      int // elements that have been read
	want   int
	nested bool
}

// level reads an array of the outermost dimension of shape.
func (w *walk) level(shape []int) error {
	if len(shape) == 0 || w.s[0] != '[' {
		return fmt.Errorf("element %d: nested otherwise than the shape is", w.n)
	}
	w.s = w.s[1:]
	for i := 0; ; i++ {
		w.s = strings.TrimLeft(w.s, ", \t\r\n")
		if w.s[0] == ']' {
			w.s = w.s[1:]
			if i != shape[0] {
				return w.short(i, shape[0])
			}
			return nil
		}
		if i == shape[0] {
			return w.short(i+1, shape[0])
		}
		if len(shape) > 1 {
			if err := w.level(shape[1:]); err != nil {
				return err
			}
			continue
		}
		if err := w.element(); err != nil {
			return err
		}
	}
}

func (w *walk) short(found, want int) error {
	if w.nested {
		return fmt.Errorf("after element %d an array of %d elements or more, the shape says %d", w.n, found, want)
	}
	if found > want {
		return fmt.Errorf("more than the %d elements of the shape", want)
	}
	return fmt.Errorf("%d elements, the shape says %d", found, want)
}

// element reads a number or a text.
func (w *walk) element() error {
	end := 0
	switch w.s[0] {
	case '[', '{':
		return fmt.Errorf("element %d: nested otherwise than the shape is", w.n)
	case '"':
		for end = 1; w.s[end] != '"'; end++ {
			if w.s[end] == '\\' {
				end++
			}
		}
		end++
	default:
		end = strings.IndexAny(w.s, ",] \t\r\n")
	}
	if err := w.take(w.n, w.s[:end]); err != nil {
		return fmt.Errorf("element %d: %w", w.n, err)
	}
	w.s = w.s[end:]
	w.n++
	return nil
}
