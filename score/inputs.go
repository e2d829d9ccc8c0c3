package score

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"

	lib "github.com/vitserve/vitserve"
)

// unit is what is given to a shard whole: a photo, or a tar file.
type unit struct {
	name string // where it lies
	key  string // of its row; of a tar file, what its photos' keys begin with
	err  error  // why it cannot be read, if that is known already
}

func (u unit) isTar() bool { return extension(u.name) == ".tar" }

// extension is that of a name in small letters, without that of gzip.
func extension(name string) string {
	name = strings.ToLower(pathOf(name))
	return path.Ext(strings.TrimSuffix(name, ".gz"))
}

// isManifest tells names of files that name photos.
func isManifest(name string) bool {
	switch extension(name) {
	case ".txt", ".csv", ".tsv", ".parquet":
		return true
	}
	return false
}

// braces are those of WebDataset: shard-{000000..000999}.tar.
var braces = regexp.MustCompile(`\{(\d+)\.\.(\d+)\}`)

// expand takes out the first braces of a name.
func expand(name string) ([]string, error) {
	at := braces.FindStringSubmatchIndex(name)
	if at == nil {
		return []string{name}, nil
	}
	from, to := name[at[2]:at[3]], name[at[4]:at[5]]
	a, err := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if err := errors.Join(err, err2); err != nil || b < a || b-a >= 10_000_000 {
		return nil, never("%s: want {FIRST..LAST}, at most ten million", name)
	}
	var all []string
	for i := a; i <= b; i++ {
		digits := strconv.Itoa(i)
		if pad := len(from) - len(digits); pad > 0 && len(from) > 1 {
			digits = strings.Repeat("0", pad) + digits
		}
		all = append(all, name[:at[0]]+digits+name[at[1]:])
	}
	return all, nil
}

// units lists what the inputs name, in their order. An error ends it.
func (j *Job) units(ctx context.Context) iter.Seq2[unit, error] {
	return func(yield func(unit, error) bool) {
		for _, input := range j.Inputs {
			names, err := expand(input)
			if err != nil {
				yield(unit{}, err)
				return
			}
			for _, name := range names {
				more, err := j.list(ctx, name, func(u unit) bool { return yield(u, nil) })
				if err != nil {
					yield(unit{}, err)
				}
				if err != nil || !more {
					return
				}
			}
		}
	}
}

// list lists what one input names; more says whether yield wants more.
func (j *Job) list(ctx context.Context, name string, yield func(unit) bool) (more bool, err error) {
	store, err := j.Stores.of(name)
	if err != nil {
		return false, err
	}
	more = true
	one := func(u unit) bool { more = yield(u); return more }
	switch {
	case isManifest(name):
		err := j.manifest(ctx, name, one)
		if errors.Is(err, fs.ErrNotExist) {
			err = never("there is no such manifest: %w", err)
		}
		return more, err
	case store != nil && strings.HasSuffix(pathOf(name), "/"):
		err := store.List(ctx, name, func(found string) bool {
			return !namesPicture(found) && extension(found) != ".tar" || one(unit{name: found, key: found})
		})
		return more, err
	case store != nil:
		return one(unit{name: name, key: name}), nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return false, never("%s: %w", name, err)
	}
	if !info.IsDir() {
		return one(unit{name: name, key: name}), nil
	}
	found, _ := lib.FolderWhole(name)
	for _, s := range found {
		if s.Err() != nil {
			return false, never("%s: %w", s.Name, s.Err())
		}
		if !one(unit{name: s.Name, key: s.Name}) {
			break
		}
	}
	return more, nil
}

// namesPicture tells by its name whether a file of a bucket is meant.
func namesPicture(name string) bool {
	switch extension(name) {
	case ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".jxl":
		return true
	}
	return false
}

// open opens a file wherever it lies.
func (j *Job) open(ctx context.Context, name string) (io.ReadCloser, error) {
	store, err := j.Stores.of(name)
	if err != nil {
		return nil, err
	}
	if store == nil {
		return os.Open(name)
	}
	return store.Open(ctx, name)
}
