package models

import (
	"errors"
	"fmt"
	"math"
)

// storageDtypes are PyTorch's storage classes and their element types.
var storageDtypes = map[string]dtype{
	"FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "DoubleStorage": "F64",
	"LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
}

// storage is memory that tensors of a checkpoint look at: a record of the zip
// file, of which nothing is read here.
type storage struct {
	dtype dtype
	key   string // name of the record in data/
	count int64  // elements
}

// strided is a tensor of a checkpoint: a strided view of a storage.
type strided struct {
	storage       storage
	offset        int64 // in elements, as the strides are
	shape, stride []int64
}

// unpickle reads what a PyTorch checkpoint pickles. Nothing of it is
// executed: names of classes and functions stand for the few things below,
// and any other name is refused.
func unpickle(data []byte) (any, error) {
	u := &unpickler{rest: string(data), memo: map[uint32]any{}}
	value, err := u.run()
	if err != nil {
		return nil, fmt.Errorf("pickle: %w", err)
	}
	return value, nil
}

// orderedDict makes a dictionary of nothing or, as Python 2 does, of a list
// of pairs.
func orderedDict(u *unpickler, args tuple) (any, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := args[0].(*list)
	if !ok || len(args) > 1 {
		return nil, fmt.Errorf("a dictionary of %s, want a list of pairs", kindOf(args[0]))
	}
	if err := u.spend(len(pairs.items)); err != nil { // the list may be used again and again
		return nil, err
	}
	for _, p := range pairs.items {
		pair, ok := p.(tuple)
		if l, isList := p.(*list); isList {
			pair, ok = l.items, true
		}
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("a dictionary of %s, want pairs", kindOf(p))
		}
		if err := d.set(pair); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// findStorage reads ("storage", class, key, location, count), after which older
// files have what the storage is a view of, which is nothing.
func (u *unpickler) findStorage(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) < 5 || len(t) > 6 || t[0] != "storage" || len(t) == 6 && t[5] != nil {
		return nil, errors.New("a persistent id that is no storage")
	}
	dtype, ok1 := t[1].(dtype)
	key, ok2 := t[2].(string)
	count, ok3 := t[4].(int)
	if !ok1 || !ok2 || !ok3 || count < 0 || int64(count) > math.MaxInt64/dtypeSizes[dtype] {
		return nil, errors.New("a storage that is none")
	}
	s := storage{dtype, key, int64(count)}
	if before, known := u.storages[key]; known && before != s {
		return nil, fmt.Errorf("storage %.80q is of %d %s and of %d %s", key, before.count, before.dtype, s.count, s.dtype)
	}
	if u.storages == nil {
		u.storages = map[string]storage{}
	}
	u.storages[key] = s
	return s, nil
}

// rebuildTensor reads (storage, offset, shape, stride, requires_grad, hooks…).
func rebuildTensor(_ *unpickler, args tuple) (any, error) {
	if len(args) < 4 {
		return nil, errors.New("a tensor of too few parts")
	}
	s, ok1 := args[0].(storage)
	offset, ok2 := args[1].(int)
	shape, ok3 := whole(args[2])
	stride, ok4 := whole(args[3])
	if !ok1 || !ok2 || !ok3 || !ok4 || offset < 0 || len(shape) != len(stride) {
		return nil, errors.New("a tensor that is none")
	}
	t := strided{s, int64(offset), shape, stride}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

// whole reads a tuple of non-negative numbers, a shape.
func whole(v any) ([]int64, bool) {
	t, ok := v.(tuple)
	if !ok || len(t) > maxRank {
		return nil, false
	}
	out := make([]int64, len(t))
	for i, v := range t {
		n, ok := v.(int)
		if !ok || n < 0 {
			return nil, false
		}
		out[i] = int64(n)
	}
	return out, true
}

// check proves that every element lies within the storage, and that there are
// no more of them than it has.
func (t strided) check() error {
	last, count := t.offset, int64(1)
	for i, n := range t.shape {
		if n == 0 {
			return nil
		}
		if n > t.storage.count/count {
			return fmt.Errorf("a tensor of %v in a storage of %d", t.shape, t.storage.count)
		}
		count *= n
		if n > 1 && t.stride[i] > t.storage.count/(n-1) {
			return fmt.Errorf("a tensor of strides %v in a storage of %d", t.stride, t.storage.count)
		}
		last += (n - 1) * t.stride[i]
		if last >= t.storage.count {
			return fmt.Errorf("a tensor beyond the end of its storage of %d", t.storage.count)
		}
	}
	if last >= t.storage.count {
		return fmt.Errorf("a tensor beyond the end of its storage of %d", t.storage.count)
	}
	return nil
}

// last is the place of the last element in the storage; the tensor has one.
func (t strided) last() int64 {
	at := t.offset
	for i, n := range t.shape {
		at += (n - 1) * t.stride[i]
	}
	return at
}

// contiguous reports whether the elements lie in order.
func (t strided) contiguous() bool {
	want := int64(1)
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] != 1 && t.stride[i] != want {
			return false
		}
		want *= t.shape[i]
	}
	return true
}

// count returns the number of elements.
func (t strided) count() int64 {
	n := int64(1)
	for _, d := range t.shape {
		n *= d
	}
	return n
}
