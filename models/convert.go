package models

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Converted says what Convert wrote.
type Converted struct {
	Tensors int      // written
	Bytes   int64    // of the new file
	Key     string   // under which the checkpoint held its weights: "model", "teacher"; "": at the top
	Skipped []string // names beside the tensors that are none
}

// stateKeys are where training scripts put the weights of a checkpoint that
// holds more, the ones to be used first. The first four are timm's, in its
// order: moving averages go before what they are averages of
// (timm/models/_helpers.py, load_state_dict). Then comes DINO's teacher.
var stateKeys = []string{"state_dict_ema", "model_ema", "state_dict", "model", "teacher", "model_state_dict", "module", "net"}

// Convert writes the tensors of a checkpoint that PyTorch saved (.pth, .pt,
// .bin; a zip file, or the format of PyTorch before 1.6) as a safetensors file.
// Nothing that the checkpoint holds is executed. dst must not exist; it
// appears when it is whole.
func Convert(dst, src string) (*Converted, error) {
	c, err := convert(dst, src)
	if err != nil {
		return nil, fmt.Errorf("models: convert %s: %w", src, err)
	}
	return c, nil
}

func convert(dst, src string) (*Converted, error) {
	info, err := os.Stat(src)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	in, err := os.Open(src)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	a, err := openArchive(in, info.Size())
	if err != nil {
		return nil, err
	}
	tensors, c, err := a.stateDict()
	if err != nil {
		return nil, err
	}
	header, names, size, err := headerOf(tensors)
	if err != nil {
		return nil, err
	}
	// Tensors may share a storage, but a few bytes must not become many.
	if size > 4*info.Size() {
		return nil, fmt.Errorf("tensors of %d bytes in a file of %d", size, info.Size())
	}
	c.Tensors, c.Bytes = len(names), int64(len(header))+size
	return c, writeWhole(dst, func(w io.Writer) error {
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, name := range names {
			if err := a.copy(w, tensors[name]); err != nil {
				return fmt.Errorf("tensor %q: %w", name, err)
			}
		}
		return nil
	})
}

// writeWhole writes a file beside dst and gives it that name when it is done.
func writeWhole(dst string, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(dst); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s exists already", dst), err)
	}
	f, err := os.CreateTemp(filepath.Dir(dst), ".convert-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(write(w), w.Flush(), f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), dst)
}

// archive is a checkpoint: a zip file with data.pkl, which describes tensors,
// and data/KEY, which are the storages they look at; or a file of the format
// before.
type archive struct {
	file    io.ReaderAt
	size    int64
	records map[string]*zip.File // by path below the archive's one folder
	old     *legacy              // in place of records
}

func openArchive(file io.ReaderAt, size int64) (*archive, error) {
	old, err := openLegacy(file, size)
	if old != nil || err != nil {
		return &archive{file: file, size: size, old: old}, err
	}
	z, err := zip.NewReader(file, size)
	if errors.Is(err, zip.ErrFormat) {
		return nil, errors.New("not a zip file as PyTorch writes it, nor of its format before 1.6")
	}
	if err != nil {
		return nil, err
	}
	a := &archive{file: file, size: size, records: map[string]*zip.File{}}
	for _, f := range z.File {
		if _, name, ok := strings.Cut(f.Name, "/"); ok {
			if a.records[name] != nil {
				return nil, fmt.Errorf("record %q twice", f.Name)
			}
			a.records[name] = f
		}
	}
	if a.records["constants.pkl"] != nil {
		return nil, errors.New("a TorchScript program, not a checkpoint")
	}
	if f := a.records["byteorder"]; f != nil {
		order, err := a.read(f, 16)
		if err != nil {
			return nil, err
		}
		if string(order) != "little" {
			return nil, fmt.Errorf("byte order %q, want little", order)
		}
	}
	return a, nil
}

// section returns the bytes of a record, which PyTorch stores uncompressed.
func (a *archive) section(f *zip.File) (*io.SectionReader, error) {
	if f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 {
		return nil, fmt.Errorf("record %q is compressed", f.Name)
	}
	at, err := f.DataOffset()
	if err != nil {
		return nil, err
	}
	// Sizes are the directory's word.
	if at > a.size || f.UncompressedSize64 > uint64(a.size-at) {
		return nil, fmt.Errorf("record %q of %d bytes in a file of %d", f.Name, f.UncompressedSize64, a.size)
	}
	return io.NewSectionReader(a.file, at, int64(f.UncompressedSize64)), nil
}

// read returns a record of at most limit bytes.
func (a *archive) read(f *zip.File, limit int64) ([]byte, error) {
	if f.UncompressedSize64 > uint64(limit) {
		return nil, fmt.Errorf("record %q of %d bytes, want at most %d", f.Name, f.UncompressedSize64, limit)
	}
	s, err := a.section(f)
	if err != nil {
		return nil, err
	}
	data := make([]byte, s.Size())
	_, err = io.ReadFull(s, data)
	return data, err
}

// top is what the checkpoint pickles.
func (a *archive) top() (any, error) {
	if a.old != nil {
		return a.old.top, nil
	}
	f := a.records["data.pkl"]
	if f == nil {
		return nil, errors.New("no data.pkl: not a checkpoint of PyTorch")
	}
	data, err := a.read(f, maxPickle)
	if err != nil {
		return nil, err
	}
	return unpickle(data)
}

// stateDict finds the tensors that are the model's weights.
func (a *archive) stateDict() (map[string]strided, *Converted, error) {
	top, err := a.top()
	if err != nil {
		return nil, nil, err
	}
	// A script's own tensors may stand beside its model's dictionary.
	tensors, others := tensorsOf(top)
	key := ""
	for _, k := range stateKeys {
		if inner, rest := tensorsOf(others[k]); len(inner) > 0 {
			tensors, others, key = inner, rest, k
			break
		}
	}
	if len(tensors) == 0 {
		holds := strings.Join(slices.Sorted(maps.Keys(others)), ", ")
		return nil, nil, fmt.Errorf("no tensors at the top, nor under one of %s; it holds %.1000s", strings.Join(stateKeys, ", "), holds)
	}
	return tensors, &Converted{Key: key, Skipped: slices.Sorted(maps.Keys(others))}, nil
}

// tensorsOf divides a dictionary into tensors and others, by name.
func tensorsOf(v any) (map[string]strided, map[string]any) {
	tensors, others := map[string]strided{}, map[string]any{}
	if d, ok := v.(*dict); ok {
		for _, e := range d.entries {
			// A name may be set twice; the last time counts.
			if t, ok := e.value.(strided); ok {
				tensors[e.name] = t
				delete(others, e.name)
			} else {
				others[e.name] = e.value
				delete(tensors, e.name)
			}
		}
	}
	return tensors, others
}

// headerOf makes the head of a safetensors file, the order of its tensors and
// the size of their data.
func headerOf(tensors map[string]strided) (head []byte, names []string, size int64, err error) {
	type field struct {
		Dtype   string   `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	// Large elements first keeps every tensor on a multiple of its own.
	names = slices.SortedFunc(maps.Keys(tensors), func(a, b string) int {
		if d := dtypeSizes[tensors[b].storage.dtype] - dtypeSizes[tensors[a].storage.dtype]; d != 0 {
			return int(d)
		}
		return strings.Compare(a, b)
	})
	fields := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	for _, name := range names {
		if name == "__metadata__" {
			return nil, nil, 0, fmt.Errorf("a tensor named %q", name)
		}
		t := tensors[name]
		begin := size
		size += t.count() * dtypeSizes[t.storage.dtype]
		fields[name] = field{string(t.storage.dtype), append([]int64{}, t.shape...), [2]int64{begin, size}}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, nil, 0, err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), names, size, nil
}

// storage returns the bytes that a tensor looks at.
func (a *archive) storage(key string) (*io.SectionReader, error) {
	if a.old != nil {
		return a.old.storage(key)
	}
	f := a.records[path.Join("data", key)]
	if f == nil {
		return nil, fmt.Errorf("no record data/%s", key)
	}
	return a.section(f)
}

// copy writes the elements of a tensor in order.
func (a *archive) copy(w io.Writer, t strided) error {
	s, err := a.storage(t.storage.key)
	if err != nil {
		return err
	}
	size := dtypeSizes[t.storage.dtype]
	if s.Size() < t.storage.count*size {
		return fmt.Errorf("record data/%s of %d bytes, want %d", t.storage.key, s.Size(), t.storage.count*size)
	}
	if n := t.count(); t.contiguous() || n == 0 {
		copied, err := io.Copy(w, io.NewSectionReader(s, t.offset*size, n*size))
		if err == nil && copied != n*size {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	// What lies between the first element and the last is read at once, where
	// the elements are a good part of it: tensors of a few elements each must
	// not read a large storage again and again.
	first, last := t.offset, t.last()
	element := func(at int64) ([]byte, error) {
		one := make([]byte, size)
		_, err := s.ReadAt(one, at*size)
		return one, err
	}
	if last-first < sparse*t.count() {
		all := make([]byte, (last-first+1)*size)
		if _, err := s.ReadAt(all, first*size); err != nil {
			return err
		}
		element = func(at int64) ([]byte, error) { return all[(at-first)*size : (at-first+1)*size], nil }
	}
	index := make([]int64, len(t.shape))
	for {
		at := t.offset
		for i, n := range index {
			at += n * t.stride[i]
		}
		bytes, err := element(at)
		if err != nil {
			return err
		}
		if _, err := w.Write(bytes); err != nil {
			return err
		}
		i := len(index) - 1
		for ; i >= 0; i-- {
			if index[i]++; index[i] < t.shape[i] {
				break
			}
			index[i] = 0
		}
		if i < 0 {
			return nil
		}
	}
}

// sparse is how many elements of a storage may lie between two of a tensor
// that is read at once.
const sparse = 64
