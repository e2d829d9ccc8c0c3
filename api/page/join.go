package page

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// Modules keep to a few forms, so that joining them is leaving lines out: an
// import is one line of names from a module beside it, an export stands before
// what it exports, and no two modules have a name of the same at their top.
// Tests hold them to that.
var (
	importLine = regexp.MustCompile(`(?m)^import \{ ([A-Za-z, ]+) \} from "\./([a-z]+\.js)";\n`)
	exportWord = regexp.MustCompile(`(?m)^export `)
)

// join returns the module of a folder with all that it imports before it, as
// one module that does the same.
func join(files fs.FS, folder, name string) ([]byte, error) {
	var all strings.Builder
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		if seen[name] {
			return nil
		}
		seen[name] = true
		text, err := fs.ReadFile(files, path.Join(folder, name))
		if err != nil {
			return fmt.Errorf("page: join: %w", err)
		}
		for _, m := range importLine.FindAllSubmatch(text, -1) {
			if err := add(string(m[2])); err != nil {
				return err
			}
		}
		text = exportWord.ReplaceAll(importLine.ReplaceAll(text, nil), nil)
		fmt.Fprintf(&all, "// %s\n%s", name, text)
		return nil
	}
	if err := add(name); err != nil {
		return nil, err
	}
	return []byte(all.String()), nil
}
