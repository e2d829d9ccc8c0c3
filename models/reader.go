package models

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"unsafe"

	"github.com/x448/float16"
	"gorgonia.org/tensor"
)

// prefixes are what wrappers put before the names of a model's tensors, in any
// order: DistributedDataParallel, torch.compile, training scripts, timm's wrapper in transformers,
// DINO's student and teacher, and the base models of transformers, whose
// heads stand beside them without it.
var prefixes = []string{"module.", "_orig_mod.", "model.", "timm_model.", "backbone.", "vit.", "deit.", "dinov2.", "dinov2_with_registers.", "beit.", "data2vec_vision.", "clip.", "vision_model.", "vision_encoder.", "radio_model."}

// Reader gives out the tensors of a checkpoint by name and keeps book, so
// that one error at the end names everything that was wrong.
type Reader struct {
	tensors map[string]stored // by name without prefixes
	used    map[string]bool
	names   map[string]string // by those that the file has
	skipped []string
	err     TensorError
}

// stored is a tensor and where it lies.
type stored struct {
	entry
	file *file
}

// TensorError says how the tensors of a checkpoint differ from what its
// layout needs.
type TensorError struct {
	Missing   []string `json:"missing"`   // names and shapes
	Misshapen []string `json:"misshapen"` // "name: want (…), found (…)"; also values that are not numbers
	Unused    []string `json:"unused"`    // names
}

// Error names every tensor.
func (e *TensorError) Error() string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"missing", e.Missing}, {"misshapen", e.Misshapen}, {"unused", e.Unused}} {
		if len(p.names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s: %s", len(p.names), p.what, strings.Join(p.names, ", ")))
		}
	}
	return "tensors do not fit the layout: " + strings.Join(parts, "; ")
}

// newReader indexes the tensors of files by their names without prefixes.
func newReader(files ...*file) (*Reader, error) {
	r := &Reader{tensors: map[string]stored{}, used: map[string]bool{}}
	for _, f := range files {
		for _, e := range f.head.entries {
			name := bare(e.name)
			if other, twice := r.tensors[name]; twice {
				return nil, fmt.Errorf("tensors %q and %q have one name, %q, without their prefixes", other.name, e.name, name)
			}
			r.tensors[name] = stored{e, f}
		}
	}
	if err := r.unwrap(); err != nil {
		return nil, err
	}
	if err := r.unchunk(); err != nil {
		return nil, err
	}
	r.names = make(map[string]string, len(r.tensors))
	for name, s := range r.tensors {
		r.names[s.name] = name
	}
	return r, nil
}

// unchunk takes away the numbers of the chunks that DINOv2 is trained in:
// blocks.1.7.norm1 is block 7, in the second of them (BlockChunk in
// dinov2/models/vision_transformer.py).
func (r *Reader) unchunk() error {
	for name, s := range r.tensors {
		rest, ok := strings.CutPrefix(name, "blocks.")
		chunk, rest, _ := strings.Cut(rest, ".")
		block, _, _ := strings.Cut(rest, ".")
		if !ok || parseIndex(chunk) < 0 || parseIndex(block) < 0 {
			continue
		}
		if other, twice := r.tensors["blocks."+rest]; twice {
			return fmt.Errorf("tensors %q and %q are of one block, without their chunks", other.name, s.name)
		}
		delete(r.tensors, name)
		r.tensors["blocks."+rest] = s
	}
	return nil
}

// unwrap takes away what a training script of somebody's own, such as one for
// Lightning, has put before every name of the model: whatever stands before a
// layout's anchor. Tensors without it are somebody else's and stay.
func (r *Reader) unwrap() error {
	var found []string
	for _, y := range layouts {
		if r.Has(y.anchor) {
			return nil
		}
		for name := range r.tensors {
			if wrapper, ok := strings.CutSuffix(name, "."+y.anchor); ok {
				found = append(found, wrapper+".")
			}
		}
	}
	slices.Sort(found)
	found = slices.Compact(found) // layouts share anchors
	switch len(found) {
	case 0:
		return nil
	case 1:
	default:
		return fmt.Errorf("the file holds several models, under %s: save one of them by itself", strings.Join(found, " and "))
	}
	for name, s := range r.tensors {
		rest, ok := strings.CutPrefix(name, found[0])
		if !ok {
			continue
		}
		if other, twice := r.tensors[bare(rest)]; twice {
			return fmt.Errorf("tensors %q and %q have one name, %q, without their prefixes", other.name, s.name, bare(rest))
		}
		delete(r.tensors, name)
		r.tensors[bare(rest)] = s
	}
	return nil
}

// beside are tensors that training leaves in a file beside a model: the count
// of averaged weights (torch's AveragedModel), indices of positions, and the
// decoder of masked image modelling.
var beside = []string{"n_averaged", "embeddings.position_ids", "decoder."}

// bare returns a tensor's name without prefixes.
func bare(name string) string {
	for again := true; again; {
		again = false
		for _, p := range prefixes {
			if rest, ok := strings.CutPrefix(name, p); ok && rest != "" {
				name, again = rest, true
			}
		}
	}
	return name
}

// Has reports whether there is a tensor of that name.
func (r *Reader) Has(name string) bool {
	_, ok := r.tensors[name]
	return ok
}

// HasUnder reports whether there is a tensor whose name begins so.
func (r *Reader) HasUnder(prefix string) bool {
	for name := range r.tensors {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Shape returns the shape of a tensor, or nil.
func (r *Reader) Shape(name string) tensor.Shape { return r.tensors[name].shape }

// Dim returns dimension i of a tensor of the given rank. Without such a
// tensor it is 1, which lets a layout go on and gather what else is wrong:
// asking for the tensor itself reports it.
func (r *Reader) Dim(name string, i, rank int) int {
	if s := r.tensors[name].shape; len(s) == rank && s[i] > 0 {
		return s[i]
	}
	return 1
}

// Depth counts the blocks whose tensors are named prefix, number, dot. It is
// one more than the highest number, unless no file could hold so many.
func (r *Reader) Depth(prefix string) int {
	depth := 0
	for name := range r.tensors {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		digits, _, ok := strings.Cut(rest, ".")
		if n := parseIndex(digits); ok && n >= 0 && n < len(r.tensors) {
			depth = max(depth, n+1)
		}
	}
	return depth
}

// parseIndex parses a number as layouts write them, or returns -1.
func parseIndex(s string) int {
	if s == "" || len(s) > 6 || s[0] == '0' && s != "0" {
		return -1
	}
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// Get returns the tensor of that name, which must have that shape; leading
// dimensions of 1 may be stored beyond it. Never nil: a tensor that is not
// there, or not so, is reported by Err and an empty one stands in for it. It
// may be a view of the file's read-only memory.
func (r *Reader) Get(name string, shape ...int) *tensor.Dense {
	s, ok := r.tensors[name]
	if !ok {
		r.err.Missing = append(r.err.Missing, fmt.Sprintf("%s %v", name, tensor.Shape(shape)))
		return standIn()
	}
	r.used[name] = true
	if !fits(s.shape, shape) {
		r.misshapen("%s: want %v, found %v", s.name, tensor.Shape(shape), tensor.Shape(s.shape))
		return standIn()
	}
	values, err := floats(s.dtype, s.file.bytes(s.entry))
	if err != nil {
		r.misshapen("%s: %v", s.name, err)
		return standIn()
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(values))
}

// GetRows is Get of a matrix whose only row may be stored as a vector.
func (r *Reader) GetRows(name string, rows, cols int) *tensor.Dense {
	if rows > 1 || len(r.Shape(name)) != 1 {
		return r.Get(name, rows, cols)
	}
	row := r.Get(name, cols)
	if row.Shape().TotalSize() != cols {
		return row // reported
	}
	return dense(row.Float32s(), 1, cols)
}

// Maybe is Get where the tensor is there, and nil where it is not.
func (r *Reader) Maybe(name string, shape ...int) *tensor.Dense {
	if !r.Has(name) {
		return nil
	}
	return r.Get(name, shape...)
}

// Skip counts tensors as used that the layout knows and does not need: those
// of the given name, or below it where the name ends in a dot.
func (r *Reader) Skip(names ...string) {
	for name, s := range r.tensors {
		for _, skip := range names {
			if name == skip || strings.HasSuffix(skip, ".") && strings.HasPrefix(name, skip) {
				r.used[name] = true
				r.skipped = append(r.skipped, s.name)
			}
		}
	}
	sort.Strings(r.skipped)
}

// skipIndices counts indices of relative positions as used, which old files
// hold and the grid tells.
func (r *Reader) skipIndices() {
	for name := range r.tensors {
		if strings.HasSuffix(name, ".relative_position_index") {
			r.Skip(name)
		}
	}
}

// Err returns a *TensorError that names every missing, misshapen and unused
// tensor, or nil if there are none.
func (r *Reader) Err() error {
	e := r.err
	e.Unused = nil
	for name, s := range r.tensors {
		if !r.used[name] {
			e.Unused = append(e.Unused, s.name)
		}
	}
	sort.Strings(e.Unused)
	if len(e.Missing)+len(e.Misshapen)+len(e.Unused) == 0 {
		return nil
	}
	return &e
}

func (r *Reader) misshapen(format string, args ...any) {
	r.err.Misshapen = append(r.err.Misshapen, fmt.Sprintf(format, args...))
}

// standIn takes the place of a tensor that is not there, until Err is asked.
func standIn() *tensor.Dense {
	return tensor.New(tensor.WithShape(1), tensor.WithBacking([]float32{0}))
}

// fits reports whether a stored shape is the wanted one, up to leading ones.
func fits(stored, want []int) bool {
	for len(stored) > len(want) && stored[0] == 1 {
		stored = stored[1:]
	}
	if len(stored) != len(want) {
		return false
	}
	for i, d := range stored {
		if d != want[i] || d == 0 {
			return false
		}
	}
	return true
}

// floats returns stored values as float32. Those of F32 are not copied where
// they lie on a multiple of four bytes on a little-endian machine.
func floats(t dtype, b []byte) ([]float32, error) {
	var v []float32
	switch t {
	case "F32":
		if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%4 == 0 && littleEndian {
			v = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
			break
		}
		v = make([]float32, len(b)/4)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	case "F16":
		v = make([]float32, len(b)/2)
		for i := range v {
			v[i] = float16.Frombits(binary.LittleEndian.Uint16(b[2*i:])).Float32()
		}
	case "BF16": // the upper half of a float32
		v = make([]float32, len(b)/2)
		for i := range v {
			v[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
		}
	case "F64":
		v = make([]float32, len(b)/8)
		for i := range v {
			v[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:])))
		}
	default:
		return nil, fmt.Errorf("dtype %s, want F32, F16, BF16 or F64", t)
	}
	for i, x := range v {
		// Infinities and NaN have every bit of the exponent set.
		if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
			return nil, fmt.Errorf("value %d is %v", i, x)
		}
	}
	return v, nil
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
