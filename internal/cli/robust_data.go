package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/robust"
)

// robustData are the photos of a run.
type robustData struct {
	f      *robustFlags
	args   []string
	cells  []robust.Cell
	stderr io.Writer

	sources []lib.Source // of folders and files; shards and tables are listed as they are read
	names   []string     // of sources, from their folder
	files   *releasedFiles
}

// list finds what can be listed at once.
func (d *robustData) list() error {
	if d.f.released {
		var err error
		d.files, err = findReleased(d.args, d.f.clean, d.cells)
		return err
	}
	if slices.ContainsFunc(d.args, streamed) {
		if d.f.truth != "" {
			return usageError{errors.New("--truth goes with folders and files: shards, tables and lists name the classes themselves")}
		}
		return nil
	}
	sources, _, err := findAll(d.args, strings.NewReader(""), d.stderr)
	if err != nil {
		return err
	}
	e := evalFlags{truth: d.f.truth}
	if err := e.label(sources); err != nil {
		return err
	}
	d.sources = sources
	for _, s := range sources {
		d.names = append(d.names, relative(d.args, s.Name))
	}
	return nil
}

// streamed reports whether an argument's photos are listed as they are read.
func streamed(arg string) bool {
	return slices.Contains([]string{".tar", ".csv", ".txt"}, strings.ToLower(filepath.Ext(arg)))
}

// relative is a file's name from the argument that it was found under.
func relative(args []string, name string) string {
	for _, arg := range args {
		if rest, err := filepath.Rel(arg, name); err == nil && rest != "." && !strings.HasPrefix(rest, "..") {
			return filepath.ToSlash(rest)
		}
	}
	return filepath.Base(name)
}

// photos lists them; it may be called again.
func (d *robustData) photos() iter.Seq[robust.Photo] {
	if d.files != nil {
		return d.files.photos()
	}
	return func(yield func(robust.Photo) bool) {
		i := 0
		sources := slices.Values(d.sources)
		if d.sources == nil {
			sources = lib.Sources(d.args...)
		}
		for s := range sources {
			p := photoOf(s, relative(d.args, s.Name))
			if d.sources != nil {
				p.Name = d.names[i]
			}
			i++
			if !yield(p) {
				return
			}
		}
	}
}

func photoOf(s lib.Source, name string) robust.Photo {
	return robust.Photo{Name: name, Label: s.Label, Read: func(ctx context.Context, _ robust.Cell) ([]byte, error) { return s.Read(ctx) }}
}

// folderPhotos lists the photos of a folder, or of what lib.Sources takes.
func folderPhotos(name string) iter.Seq[robust.Photo] {
	return func(yield func(robust.Photo) bool) {
		for s := range lib.Sources(name) {
			p := photoOf(s, relative([]string{name}, s.Name))
			p.Label = "" // they are of no class that counts
			if !yield(p) {
				return
			}
		}
	}
}

// total is how many photos there are; 0: nobody knows yet.
func (d *robustData) total(o *robust.Options) int {
	n := len(d.sources)
	if d.files != nil {
		n = len(d.files.keys)
	}
	if o.Limit > 0 {
		n = min(n, o.Limit)
	}
	return n
}

// wordnet is the form of ImageNet's folders.
var wordnet = regexp.MustCompile(`^n\d{8}$`)

// classes are those that answers are restricted to; nil: all.
func (d *robustData) classes(m *robust.Matcher) ([]int, error) {
	var labels []string
	switch d.f.subset {
	case "all":
		return nil, nil
	case "auto":
		// A set of fewer folders than ImageNet has names its own classes, as
		// ImageNet-A and -R do.
		seen := map[string]bool{}
		for p := range d.listed() {
			if !wordnet.MatchString(p) {
				return nil, nil
			}
			if !seen[p] {
				seen[p] = true
				labels = append(labels, p)
			}
		}
		if len(labels) < 2 {
			return nil, nil
		}
	default:
		list, err := os.ReadDir(d.f.subset)
		if err != nil {
			return nil, fmt.Errorf("--class-subset: %w", err)
		}
		for _, e := range list {
			if !strings.HasPrefix(e.Name(), ".") {
				labels = append(labels, e.Name())
			}
		}
	}
	classes, unknown, err := m.Subset(labels)
	if err != nil {
		return nil, err
	}
	if unknown > 0 {
		fmt.Fprintf(d.stderr, "note: %d of %d folders are no class of the model\n", unknown, len(labels))
	}
	if len(classes) == 0 {
		if d.f.subset == "auto" {
			return nil, nil
		}
		return nil, fmt.Errorf("--class-subset %s: none of its %d folders is a class of the model", d.f.subset, len(labels))
	}
	if len(classes) == m.Classes() {
		return nil, nil
	}
	return classes, nil
}

// listed are the labels of what can be listed without reading it.
func (d *robustData) listed() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, s := range d.sources {
			if !yield(s.Label) {
				return
			}
		}
		if d.files != nil {
			for _, k := range d.files.keys {
				if !yield(filepath.Base(filepath.Dir(k))) {
					return
				}
			}
		}
	}
}

// releasedFiles are corrupted files as ImageNet-C has them.
type releasedFiles struct {
	folders map[string]string // of each cell
	keys    []string          // CLASS/FILE
}

// findReleased finds the folders of cells, NAME/SEVERITY or GROUP/NAME/SEVERITY.
func findReleased(roots []string, clean string, cells []robust.Cell) (*releasedFiles, error) {
	r := &releasedFiles{folders: map[string]string{}}
	seen := map[string]bool{}
	for _, c := range cells {
		var at []string
		if c.Severity == 0 && clean != "" {
			at = []string{clean}
		}
		for _, root := range roots {
			if c.Severity > 0 {
				one := filepath.Join(root, filepath.FromSlash(c.Key()))
				deep, err := filepath.Glob(filepath.Join(root, "*", filepath.FromSlash(c.Key())))
				if err != nil {
					return nil, err
				}
				at = append(append(at, one), deep...)
			}
		}
		for _, folder := range at {
			if info, err := os.Stat(folder); err != nil || !info.IsDir() {
				continue
			}
			r.folders[c.Key()] = folder
			if c.Severity == 0 {
				break // the clean files may be more
			}
			found, _ := lib.FolderWhole(folder)
			for _, s := range found {
				if s.Err() != nil {
					continue
				}
				key, err := filepath.Rel(folder, s.Name)
				if err != nil {
					return nil, err
				}
				if !seen[key] {
					seen[key] = true
					r.keys = append(r.keys, key)
				}
			}
			break
		}
	}
	if len(r.keys) == 0 {
		return nil, fmt.Errorf("no corrupted files under %s: want NAME/SEVERITY/CLASS/FILE, such as fog/3/n01440764/a.JPEG", strings.Join(roots, ", "))
	}
	slices.Sort(r.keys)
	return r, nil
}

func (r *releasedFiles) photos() iter.Seq[robust.Photo] {
	return func(yield func(robust.Photo) bool) {
		for _, key := range r.keys {
			read := func(_ context.Context, c robust.Cell) ([]byte, error) {
				folder, ok := r.folders[c.Key()]
				if !ok {
					return nil, nil
				}
				data, err := os.ReadFile(filepath.Join(folder, key))
				var path *fs.PathError
				if errors.As(err, &path) {
					err = path.Err
				}
				return data, err
			}
			if !yield(robust.Photo{Name: filepath.ToSlash(key), Label: filepath.Base(filepath.Dir(key)), Read: read}) {
				return
			}
		}
	}
}
