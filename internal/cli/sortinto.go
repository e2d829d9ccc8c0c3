package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// unsorted is the folder of pictures that no label reaches the score of.
const unsorted = "no label"

// sorter copies pictures into folders by their best label.
type sorter struct{ dir string }

// put copies the picture of an answer. Nothing is overwritten: a picture that
// is there already, by name and content, is left, and one of the same name
// and another content gets a number.
func (s *sorter) put(a answer) error {
	if a.Image == "-" {
		return errors.New("--sort-into: a picture of standard input has no name")
	}
	label := unsorted
	if len(a.Predictions) > 0 {
		label = folderName(a.Predictions[0].Label)
	}
	dir := filepath.Join(s.dir, label)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--sort-into %s, want a folder that can be written: %w", s.dir, err)
	}
	data, err := os.ReadFile(a.Image)
	if err != nil {
		return fmt.Errorf("--sort-into: %w", err)
	}
	if _, err := putBeside(filepath.Join(dir, filepath.Base(a.Image)), data); err != nil {
		return fmt.Errorf("--sort-into: %w", err)
	}
	return nil
}

// putBeside writes data to a file of this name, or of the first name with a
// number behind it that no file has: "a.jpg", "a-2.jpg". A file with the same
// content is left. It returns the name.
func putBeside(name string, data []byte) (string, error) {
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for n := 1; ; n++ {
		at := name
		if n > 1 {
			at = fmt.Sprintf("%s-%d%s", stem, n, ext)
		}
		f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			if there, err := os.ReadFile(at); err == nil && bytes.Equal(there, data) {
				return at, nil
			}
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = f.Write(data)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", errors.Join(err, os.Remove(at))
		}
		return at, nil
	}
}

// longestName is of a file's or folder's name, in bytes, that every system has
// room for, with a number and an ending behind it.
const longestName = 120

// folderName is a label as the name of a folder, on every system: of several
// names the first, without what separates paths or is reserved.
func folderName(label string) string {
	label, _, _ = strings.Cut(label, ",")
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, label)
	name = strings.Trim(name, ". ")
	for len(name) > longestName {
		r := []rune(name)
		name = strings.TrimRight(string(r[:len(r)-1]), ". ")
	}
	switch upper := strings.ToUpper(strings.SplitN(name, ".", 2)[0]); {
	case name == "":
		return "_"
	case upper == "CON", upper == "PRN", upper == "AUX", upper == "NUL",
		len(upper) == 4 && (strings.HasPrefix(upper, "COM") || strings.HasPrefix(upper, "LPT")) && upper[3] >= '1' && upper[3] <= '9':
		return "_" + name // devices of Windows
	}
	return name
}
