package op

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// File64 is a picture as a text: its file in base64, with or without a data:
// URL's head, or its address.
type File64 struct {
	Data    []byte
	Address string
}

// Picture returns it to be asked about.
func (f File64) Picture() Picture { return Picture{Data: f.Data, URL: f.Address} }

// UnmarshalJSON implements json.Unmarshaler. What it reads is not copied
// where it has no escapes.
func (f *File64) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	if len(raw) < 2 || raw[0] != '"' {
		return fmt.Errorf("%s, want a text", Clip(string(raw[:min(len(raw), 65)])))
	}
	text := raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		text = []byte(s)
	}
	return f.UnmarshalText(text)
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *File64) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	text = bytes.TrimSpace(text)
	const longest = 64 // of a scheme
	scheme, rest, found := bytes.Cut(text[:min(len(text), longest)], []byte(":"))
	switch {
	case found && bytes.HasPrefix(rest, []byte("//")):
		f.Address = string(text)
		return nil
	case found && strings.EqualFold(string(scheme), "data"):
		var err error
		if text, err = dataURL(text); err != nil {
			return err
		}
	}
	var err error
	f.Data, err = base64Of(text)
	return err
}
