package models

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"
)

// maxPickle bounds the pickle of a checkpoint, which names the tensors and
// holds none of their values: a ViT-L's takes 60 kB.
const maxPickle = 32 << 20

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
func unpickle(data []byte) (value any, err error) {
	if err := checkPickle(data); err != nil {
		return nil, fmt.Errorf("pickle: %w", err)
	}
	// The reader trusts its input not to use a list as a key and the like.
	defer func() {
		if r := recover(); r != nil {
			value, err = nil, fmt.Errorf("pickle: %v", r)
		}
	}()
	u := pickle.NewUnpickler(bytes.NewReader(data))
	u.FindClass = findClass
	u.PersistentLoad = findStorage
	u.GetExtension = func(code int) (any, error) { return nil, fmt.Errorf("extension %d", code) }
	if value, err = u.Load(); err != nil {
		return nil, fmt.Errorf("pickle: %w", err)
	}
	return value, nil
}

// findClass gives names a meaning.
func findClass(module, name string) (any, error) {
	switch module + "." + name {
	case "torch._utils._rebuild_tensor_v2":
		return call(rebuildTensor), nil
	case "torch._utils._rebuild_parameter":
		return call(func(args []any) (any, error) {
			if len(args) == 0 {
				return nil, errors.New("a parameter without its tensor")
			}
			return args[0], nil
		}), nil
	// These stand beside weights and are not looked at.
	case "argparse.Namespace", "torch.Size", "torch.device":
		return bystander{}, nil
	}
	if dtype := storageDtypes[name]; dtype != "" && module == "torch" {
		return dtype, nil
	}
	return nil, fmt.Errorf("it names %s.%s, which no state dict needs; it was not run", module, name)
}

// call is a function that a pickle may call.
type call func(args []any) (any, error)

// Call implements types.Callable.
func (c call) Call(args ...any) (any, error) { return c(args) }

// bystander is a class whose instances say nothing to us.
type bystander struct{}

// Call implements types.Callable, PyNew types.PyNewable and PySetState
// types.PyStateSettable.
func (b bystander) Call(...any) (any, error)  { return b, nil }
func (b bystander) PyNew(...any) (any, error) { return b, nil }
func (bystander) PySetState(any) error        { return nil }

// findStorage reads ("storage", class, key, location, count).
func findStorage(id any) (any, error) {
	t, ok := id.(*types.Tuple)
	if !ok || t.Len() != 5 || t.Get(0) != "storage" {
		return nil, errors.New("a persistent id that is no storage")
	}
	dtype, ok1 := t.Get(1).(dtype)
	key, ok2 := t.Get(2).(string)
	count, ok3 := t.Get(4).(int)
	if !ok1 || !ok2 || !ok3 || count < 0 || int64(count) > math.MaxInt64/dtypeSizes[dtype] {
		return nil, errors.New("a storage that is none")
	}
	return storage{dtype, key, int64(count)}, nil
}

// rebuildTensor reads (storage, offset, shape, stride, requires_grad, hooks…).
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, errors.New("a tensor of too few parts")
	}
	s, ok1 := args[0].(storage)
	offset, ok2 := args[1].(int)
	shape, ok3 := whole(args[2])
	stride, ok4 := whole(args[3])
	if !ok1 || !ok2 || !ok3 || !ok4 || offset < 0 || len(shape) != len(stride) || len(shape) > maxRank {
		return nil, errors.New("a tensor that is none")
	}
	t := strided{s, int64(offset), shape, stride}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

// whole reads a tuple of non-negative numbers.
func whole(v any) ([]int64, bool) {
	t, ok := v.(*types.Tuple)
	if !ok {
		return nil, false
	}
	out := make([]int64, t.Len())
	for i := range out {
		n, ok := t.Get(i).(int)
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

// pickleArgs are the bytes that follow an opcode: a fixed number, or with a
// negative sign the bytes of a length that is followed by so many. Opcodes
// that are not there have none. Those of lines of text belong to protocol 0,
// which no checkpoint of PyTorch uses, except GLOBAL.
//
// https://github.com/python/cpython/blob/main/Lib/pickletools.py
var pickleArgs = map[byte]int{
	0x80: 1, 'K': 1, 'M': 2, 'J': 4, 'G': 8, 'q': 1, 'r': 4, 'h': 1, 'j': 4, 0x82: 1, 0x83: 2, 0x84: 4,
	'U': -1, 'T': -4, 'X': -4, 0x8c: -1, 0x8d: -8, 'C': -1, 'B': -4, 0x8e: -8, 0x96: -8, 0x8a: -1, 0x8b: -4,
}

// checkPickle walks the opcodes and proves that every length they tell is
// within the data: the reader allocates what it is told.
func checkPickle(data []byte) error {
	for rest := data; len(rest) > 0; {
		op := rest[0]
		rest = rest[1:]
		var n uint64
		switch args := pickleArgs[op]; {
		case op == '.':
			return nil
		case op == 'c':
			for range 2 {
				i := bytes.IndexByte(rest, '\n')
				if i < 0 {
					return errors.New("truncated")
				}
				rest = rest[i+1:]
			}
		case op == 0x95: // FRAME: a length, and the opcodes of the frame
			if len(rest) < 8 || binary.LittleEndian.Uint64(rest) > uint64(len(rest)-8) {
				return errors.New("truncated frame")
			}
			n = 8
		case bytes.IndexByte([]byte("FILSVPgpi"), op) >= 0:
			return fmt.Errorf("opcode %q of protocol 0", op)
		case args < 0:
			if len(rest) < -args {
				return errors.New("truncated")
			}
			var length [8]byte
			copy(length[:], rest[:-args])
			rest = rest[-args:]
			n = binary.LittleEndian.Uint64(length[:])
		default:
			n = uint64(args)
		}
		if n > uint64(len(rest)) {
			return errors.New("truncated")
		}
		rest = rest[n:]
	}
	return errors.New("truncated")
}
