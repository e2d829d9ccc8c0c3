package op

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Object and Array walk through JSON that json.Valid has found sound, and copy
// nothing of it: a picture or a tensor is as large as a request may be.

// Object calls each with the members of an object, of which there are at most
// most. Names that come twice are refused.
func Object(b []byte, most int, each func(name string, v []byte) error) error {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return fmt.Errorf("%s, want an object", Clip(string(b[:min(len(b), 65)])))
	}
	given := make(map[string]bool)
	for b = separated(b[1:]); b[0] != '}'; b = separated(b) {
		var name string
		raw, rest := next(b)
		if err := json.Unmarshal(raw, &name); err != nil {
			return err
		}
		if given[name] {
			return fmt.Errorf("member %s twice", Clip(name))
		}
		if given[name] = true; len(given) > most {
			return fmt.Errorf("more than %d members", most)
		}
		v, rest := next(bytes.TrimLeft(rest, ": \t\r\n"))
		if err := each(name, v); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// Array calls each with the elements of an array, of which there are at most
// most.
func Array(b []byte, most int, each func(v []byte) error) error {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '[' {
		return fmt.Errorf("%s, want an array", Clip(string(b[:min(len(b), 65)])))
	}
	n := 0
	for b = separated(b[1:]); b[0] != ']'; b = separated(b) {
		if n++; n > most {
			return fmt.Errorf("more than %d elements", most)
		}
		v, rest := next(b)
		if err := each(v); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// separated is b after what stands between elements.
func separated(b []byte) []byte { return bytes.TrimLeft(b, ", \t\r\n") }

// next returns the value that b begins with, and what follows it.
func next(b []byte) (v, rest []byte) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return b[:i+1], b[i+1:]
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return b[:i], b[i:]
			}
			if depth--; depth == 0 {
				return b[:i+1], b[i+1:]
			}
		case ',', ' ', '\t', '\r', '\n', ':':
			if depth == 0 {
				return b[:i], b[i:]
			}
		}
	}
	return b, nil
}
