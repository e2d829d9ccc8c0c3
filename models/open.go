package models

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models/hub"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// Open opens a model by the name of an embedded one, by folder, by file, or by
// the name of a repository of the Hugging Face hub that package hub has pulled,
// ORG/NAME or ORG/NAME@REVISION. The empty name is the default model. Names go
// before each other in this order; "./name" is always a path.
func Open(name string, o Options) (*Checkpoint, error) {
	if name == "" {
		name = embedded[0].name
	}
	c := &Checkpoint{}
	dir, err := c.find(name)
	if err == nil {
		err = c.load(dir, &loader{options: o})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("models: open %s: %w", name, err), c.Close())
	}
	return c, nil
}

// find opens the weight files of a model and returns the folder of its
// configuration.
func (c *Checkpoint) find(name string) (fs.FS, error) {
	for _, e := range embedded {
		if e.name == name {
			return c.findEmbedded(e)
		}
	}
	info, err := os.Stat(name)
	if repo, revision, _ := strings.Cut(name, "@"); errors.Is(err, fs.ErrNotExist) && hub.IsName(repo) {
		dir, err := findPulled(repo, revision)
		if err != nil {
			return nil, err
		}
		beside, err := c.find(dir)
		c.Name = path.Base(repo)
		return beside, err
	}
	if errors.Is(err, fs.ErrNotExist) && looksLikePath(name) {
		what := "folder"
		if filepath.Ext(name) != "" && !strings.HasSuffix(name, "/") {
			what = "file"
		}
		return nil, fmt.Errorf("%w: no such %s: %s; %s, or one inside the program: %s", ErrNotFound, what, name, accepted, strings.Join(Embedded(), ", "))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: neither an embedded model (%s), nor a path, nor ORG/NAME%s; %s", ErrNotFound, strings.Join(Embedded(), ", "), meant(name), accepted)
	}
	if err != nil {
		return nil, err
	}
	at, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	c.Source = at
	weights, dir := at, filepath.Dir(at)
	called := ""
	if info.IsDir() {
		snapshot, name, ok, err := hub.Snapshot(at)
		if err != nil {
			return nil, err
		}
		if ok {
			at, called = snapshot, name
		}
		dir = at
		if weights, err = weightsIn(dir); err != nil {
			return nil, err
		}
	}
	c.Name = filepath.Base(dir)
	if base := filepath.Base(weights); !info.IsDir() && base != "model.safetensors" && base != indexFile {
		c.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	if called != "" {
		c.Name = called
	}
	if err := refuseFormat(weights); err != nil {
		return nil, err
	}
	beside := os.DirFS(dir)
	if strings.HasSuffix(weights, ".safetensors.index.json") {
		c.files, err = openShards(beside, dir, filepath.Base(weights))
		return beside, err
	}
	f, err := openFile(weights)
	if err != nil {
		return nil, err
	}
	c.files = []*file{f}
	return beside, nil
}

// looksLikePath reports whether a name can only be meant as a path.
func looksLikePath(name string) bool {
	return filepath.IsAbs(name) || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~") || strings.ContainsRune(name, os.PathSeparator) && !hub.IsName(name) ||
		filepath.Ext(name) == ".safetensors"
}

// meant names the embedded model whose name is near, if one is.
func meant(name string) string {
	if near := words.Nearest(name, Embedded()...); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// findPulled returns the folder of a repository in the hub's cache.
func findPulled(repo, revision string) (string, error) {
	client, err := hub.FromEnv()
	if err != nil {
		return "", err
	}
	dir, err := client.Cached(repo, revision)
	if errors.Is(err, hub.ErrNotFound) {
		return "", fmt.Errorf("%w: neither a path nor in the hub's cache (%w); fetch it with: vitserve pull %s", ErrNotFound, err, repo)
	}
	return dir, err
}

// weightsIn returns the weight file of a folder.
func weightsIn(dir string) (string, error) {
	for _, name := range []string{"model.safetensors", indexFile} {
		usual := filepath.Join(dir, name)
		if _, err := os.Stat(usual); err == nil {
			return usual, nil
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var found, others, names []string
	for _, e := range list {
		names = append(names, strconv.Quote(e.Name()))
		switch path := filepath.Join(dir, e.Name()); {
		case e.IsDir():
		case filepath.Ext(path) == ".safetensors":
			found = append(found, path)
		case refuseFormat(path) != nil:
			others = append(others, path)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("several weight files, name one: %s", strings.Join(found, ", "))
	case len(others) > 0:
		return "", refuseFormat(others[0])
	}
	const shown = 5
	what := "is empty"
	if len(names) > shown {
		names = append(names[:shown], fmt.Sprintf("%d more", len(names)-shown))
	}
	if len(names) > 0 {
		what = "holds " + strings.Join(names, ", ")
	}
	return "", fmt.Errorf("%w: no .safetensors file in the folder, which %s; %s", ErrNotFound, what, accepted)
}

// refuseFormat refuses weight files that are not read here, with advice.
func refuseFormat(path string) error {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".bin", ".pth", ".pt", ".ckpt", ".pkl":
		return fmt.Errorf("%s is a PyTorch pickle, which is a program and is not run here; convert it once: vitserve convert %[1]s", path)
	case ".onnx":
		return fmt.Errorf("%s is an ONNX graph, which has no layout to read weights by; use the safetensors file it was exported from", path)
	case ".h5", ".msgpack", ".npz", ".gguf", ".tflite":
		return fmt.Errorf("%s: %s files are not read; use the safetensors file of the same model", path, ext)
	}
	return nil
}

// load reads the checkpoint whose weight files are open.
func (c *Checkpoint) load(dir fs.FS, l *loader) error {
	c.revision = sync.OnceValue(c.sum)
	var err error
	if l.config, err = readConfig(dir); err != nil {
		return err
	}
	if l.config != nil {
		c.Arch = l.config.arch()
	}
	if l.processor, err = readProcessor(dir); err != nil {
		return err
	}
	var clip openCLIPConfig
	found, err := readJSON(dir, openCLIPFile, &clip)
	if err != nil {
		return err
	}
	if found {
		l.openCLIP = &clip
		if l.config == nil {
			l.config = clip.trunkConfig()
		}
	}
	return guard(c.files, func() error { return c.read(l) })
}

// read recognises the layout, reads every tensor, and settles everything that
// tensors do not tell.
func (c *Checkpoint) read(l *loader) error {
	var err error
	if l.Reader, err = newReader(c.files...); err != nil {
		return err
	}
	if err := l.config.refused(); err != nil {
		return err
	}
	layout, err := l.layoutOf()
	if err != nil {
		return err
	}
	c.Layout, l.anySize, l.rule = layout.name, layout.anySize, layout.positions
	// A file that does not fit its layout fails in both ways; the tensors
	// say more, but for those that were not asked for because of the failure.
	failed := layout.read(l)
	var tensors *TensorError
	if err := l.Err(); errors.As(err, &tensors) && (failed == nil || len(tensors.Missing)+len(tensors.Misshapen) > 0) {
		return errors.Join(l.otherFamily(), err, failed)
	}
	if failed != nil {
		return failed
	}
	if c.Transform, err = l.transform(); err != nil {
		return err
	}
	c.Transform.Gray = l.gray
	if c.Labels, c.ClassIDs, err = l.labels(); err != nil {
		return err
	}
	// Before the positions are resampled, for it bounds the tokens.
	if err := l.cfg.Validate(); err != nil {
		return err
	}
	if c.Weights, err = l.weights(l.rule, c.Transform); err != nil {
		return err
	}
	c.Scoring, err = l.scoring()
	if err != nil {
		return err
	}
	c.Config, c.Decisions, c.Skipped = l.cfg, l.decisions, l.skipped
	if l.note != "" {
		c.Note = l.note
	}
	return nil
}

// weights folds what was read, with positions for the input size.
func (l *loader) weights(rule patch.PosRule, t patch.Transform) (*vit.Weights, error) {
	if err := l.sharesHeads(); err != nil {
		return nil, err
	}
	w := l.raw.fold(t.Normalisation())
	for _, v := range slices.Concat(w.PatchProj.Float32s(), w.PatchBias.Float32s()) {
		if v-v != 0 {
			return nil, fmt.Errorf("std %v makes the patch projection infinite", t.Std)
		}
	}
	rows, cols := l.cfg.Grid()
	if grid := [2]int{rows, cols}; w.Pos != nil && grid != l.posGrid {
		w.Pos = patch.ResamplePos(w.Pos, l.posGrid, grid, rule)
		l.decide("positions resampled", sizeText(grid), "the input size, by the rule of %s", rule)
	}
	l.turnPatches(w)
	return w, l.placeTables(w)
}

// arch returns the architecture that the configuration names.
func (c *config) arch() string {
	if c.Architecture == "" && len(c.Architectures) > 0 {
		return c.Architectures[0]
	}
	return c.Architecture
}

// sum returns the revision, see Revision.
func (c *Checkpoint) sum() string {
	all := sha256.New()
	var sum string
	for _, f := range c.files {
		var err error
		if sum, err = f.sum(); err != nil {
			return ""
		}
		all.Write([]byte(sum))
	}
	if len(c.files) == 1 {
		return sum
	}
	return hex.EncodeToString(all.Sum(nil))
}
