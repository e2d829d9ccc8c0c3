package op

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Object hands the members of a JSON object to each, one by one; a name that
// stands twice is refused.
func Object(data []byte, each func(name string, v json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("%w: JSON: want an object", ErrSyntax)
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: JSON: %v", ErrSyntax, err)
		}
		name, _ := t.(string)
		if seen[name] {
			return fmt.Errorf("%w: JSON: member %s twice", ErrSyntax, Clip(name))
		}
		seen[name] = true
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("%w: JSON: %s: %v", ErrSyntax, Clip(name), err)
		}
		if err := each(name, v); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("%w: JSON: %v", ErrSyntax, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: JSON: more than one value", ErrSyntax)
	}
	return nil
}
