package models

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
)

// indexFile names the shards of a checkpoint that is stored in several files.
const indexFile = "model.safetensors.index.json"

// maxShards bounds the files of one checkpoint: each is a descriptor and a map.
const maxShards = 1000

// openShards opens the files that an index names and checks that they hold
// exactly the tensors it says.
func openShards(dir fs.FS, path, name string) (files []*file, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				err = errors.Join(err, f.close())
			}
			files = nil
		}
	}()
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if _, err := readJSON(dir, name, &index); err != nil {
		return nil, err
	}
	shards := map[string][]string{} // tensors by file
	for t, shard := range index.Map {
		// An index names files beside it and nothing else.
		if !filepath.IsLocal(shard) || filepath.Base(shard) != shard || filepath.Ext(shard) != ".safetensors" {
			return nil, fmt.Errorf("%s: tensor %q in file %q, want a .safetensors file of the same folder", name, t, shard)
		}
		shards[shard] = append(shards[shard], t)
	}
	if len(shards) == 0 || len(shards) > maxShards {
		return nil, fmt.Errorf("%s: %d files, want 1 to %d", name, len(shards), maxShards)
	}
	var names []string
	for shard := range shards {
		names = append(names, shard)
	}
	sort.Strings(names)
	for _, shard := range names {
		f, err := openFile(filepath.Join(path, shard))
		if err != nil {
			return files, fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, f)
		var found []string
		for _, e := range f.head.entries {
			found = append(found, e.name)
		}
		slices.Sort(found)
		said := shards[shard]
		slices.Sort(said)
		if !slices.Equal(found, said) {
			return files, fmt.Errorf("%s: %s holds other tensors than the index says: %s", name, shard, difference(said, found))
		}
	}
	return files, nil
}

// difference describes how two sorted lists differ.
func difference(said, found []string) string {
	text := ""
	for _, s := range said {
		if _, ok := slices.BinarySearch(found, s); !ok {
			text += " no " + s
		}
	}
	for _, f := range found {
		if _, ok := slices.BinarySearch(said, f); !ok {
			text += " also " + f
		}
	}
	return text[1:]
}
