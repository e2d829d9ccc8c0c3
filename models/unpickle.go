package models

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Limits of a pickle: it names the tensors of a checkpoint and holds none of
// their values. A ViT-L's takes 60 kB and 40 operations a tensor.
const (
	maxPickle    = 32 << 20 // bytes
	maxPickleOps = 1 << 20  // operations, each of which makes at most one value
)

// Values of a pickle, beside string, int, bool and nil: those that a state
// dict is made of, and one for all others.
type (
	tuple   []any
	list    struct{ items []any }
	dict    struct{ entries []setting } // in the order of their setting; the last of a name counts
	setting struct {
		name  string
		value any
	}
	bystander struct{} // a value, a class or an object of it that says nothing to us
)

// callee is a function or class that a pickle may call.
type callee func(u *unpickler, args tuple) (any, error)

// unpickler is the machine that pickles are programs of, as far as PyTorch
// uses it (protocol 2 and up). Its time and memory follow the operations,
// which are bounded: lengths are those of what is there, long numbers are not
// computed, and the elements of what is used again are not walked again.
//
// https://github.com/python/cpython/blob/main/Lib/pickletools.py
type unpickler struct {
	rest  string
	ops   int
	stack []any
	marks []int // heights of the stack
	memo  map[uint32]any

	storages map[string]storage // that were named, by key
}

// Operations, by the names of pickletools.
const (
	opMark, opStop, opPop, opPopMark, opDup                     = '(', '.', '0', '1', '2'
	opBinInt, opBinInt1, opBinInt2, opLong1, opLong4            = 'J', 'K', 'M', 0x8a, 0x8b
	opNone, opTrue, opFalse, opBinFloat                         = 'N', 0x88, 0x89, 'G'
	opShortBinString, opBinString, opBinUnicode                 = 'U', 'T', 'X'
	opShortBinUnicode, opBinUnicode8                            = 0x8c, 0x8d
	opShortBinBytes, opBinBytes, opBinBytes8, opByteArray8      = 'C', 'B', 0x8e, 0x96
	opEmptyTuple, opTuple, opTuple1, opTuple2, opTuple3         = ')', 't', 0x85, 0x86, 0x87
	opEmptyList, opList, opAppend, opAppends                    = ']', 'l', 'a', 'e'
	opEmptyDict, opDict, opSetItem, opSetItems                  = '}', 'd', 's', 'u'
	opEmptySet, opFrozenSet, opAddItems                         = 0x8f, 0x91, 0x90
	opBinGet, opLongBinGet, opBinPut, opLongBinPut, opMemo      = 'h', 'j', 'q', 'r', 0x94
	opGlobal, opStackGlobal, opReduce, opObj, opBuild           = 'c', 0x93, 'R', 'o', 'b'
	opNewObj, opNewObjEx, opBinPersID                           = 0x81, 0x92, 'Q'
	opProto, opFrame, opReadOnlyBuffer                          = 0x80, 0x95, 0x98
	textOps                                                     = "FILSVPgpi" // arguments are lines of text: protocol 0
	highestProtocol                                        byte = 5
)

var errTruncated = errors.New("truncated")

// run executes operations up to the end and returns the value that is left.
func (u *unpickler) run() (any, error) {
	for {
		op, err := u.byte()
		if err != nil {
			return nil, err
		}
		if op == opStop {
			return u.pop()
		}
		if err := u.spend(1); err != nil {
			return nil, err
		}
		if err := u.step(op); err != nil {
			return nil, err
		}
	}
}

// spend counts operations, and elements that are walked.
func (u *unpickler) spend(n int) error {
	if u.ops += n; u.ops > maxPickleOps {
		return fmt.Errorf("more than %d operations; the weights of a model take about 40 a tensor", maxPickleOps)
	}
	return nil
}

// step executes one operation.
func (u *unpickler) step(op byte) error {
	switch op {
	case opProto:
		v, err := u.byte()
		if err == nil && v > highestProtocol {
			err = fmt.Errorf("protocol %d, want at most %d", v, highestProtocol)
		}
		return err
	case opFrame:
		n, err := u.number(8)
		if err == nil && n > uint64(len(u.rest)) {
			err = errors.New("truncated frame")
		}
		return err
	case opReadOnlyBuffer:
		return nil
	case opMark:
		u.marks = append(u.marks, len(u.stack))
		return nil
	case opPop:
		if len(u.stack) == u.floor() {
			_, err := u.popMark()
			return err
		}
		_, err := u.pop()
		return err
	case opPopMark:
		_, err := u.popMark()
		return err
	case opDup:
		return u.push(u.top())
	case opBinGet, opLongBinGet, opBinPut, opLongBinPut, opMemo:
		return u.remember(op)
	case opNone:
		return u.push(nil, nil)
	case opTrue, opFalse:
		return u.push(op == opTrue, nil)
	case opBinInt, opBinInt1, opBinInt2, opLong1, opLong4, opBinFloat:
		return u.push(u.numeral(op))
	case opShortBinString, opShortBinUnicode:
		return u.push(u.text(1))
	case opBinString, opBinUnicode:
		return u.push(u.text(4))
	case opBinUnicode8:
		return u.push(u.text(8))
	case opShortBinBytes:
		return u.push(u.skip(1))
	case opBinBytes:
		return u.push(u.skip(4))
	case opBinBytes8, opByteArray8:
		return u.push(u.skip(8))
	case opEmptyTuple, opTuple, opTuple1, opTuple2, opTuple3:
		return u.push(u.tuple(op))
	case opEmptyList:
		return u.push(&list{}, nil)
	case opEmptyDict:
		return u.push(&dict{}, nil)
	case opEmptySet:
		return u.push(bystander{}, nil)
	case opList, opDict, opFrozenSet, opAppends, opSetItems, opAddItems, opAppend, opSetItem:
		return u.collect(op)
	}
	return u.object(op)
}

// floor is the height of the stack below which the last mark lets nobody.
func (u *unpickler) floor() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

// push puts a value on the stack, if its making did not fail.
func (u *unpickler) push(v any, err error) error {
	if err == nil {
		u.stack = append(u.stack, v)
	}
	return err
}

func (u *unpickler) top() (any, error) {
	if len(u.stack) == u.floor() {
		return nil, errors.New("a value of an empty stack is asked for")
	}
	return u.stack[len(u.stack)-1], nil
}

func (u *unpickler) pop() (any, error) {
	v, err := u.top()
	if err == nil {
		u.stack = u.stack[:len(u.stack)-1]
	}
	return v, err
}

// popMark takes everything from the last mark on. It is the stack's memory,
// which the next push writes over.
func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, errors.New("a mark is asked for that was not set")
	}
	at := u.floor()
	items := u.stack[at:]
	u.stack, u.marks = u.stack[:at], u.marks[:len(u.marks)-1]
	return items, nil
}

func (u *unpickler) byte() (byte, error) {
	n, err := u.number(1)
	return byte(n), err
}

// number reads a little-endian number of so many bytes, at most 8.
func (u *unpickler) number(size int) (uint64, error) {
	if len(u.rest) < size {
		return 0, errTruncated
	}
	var b [8]byte
	copy(b[:], u.rest[:size])
	u.rest = u.rest[size:]
	return binary.LittleEndian.Uint64(b[:]), nil
}

// bytes reads a length of so many bytes, and what is so long.
func (u *unpickler) bytes(size int) (string, error) {
	n, err := u.number(size)
	if err != nil {
		return "", err
	}
	if n > uint64(len(u.rest)) {
		return "", errTruncated
	}
	b := u.rest[:n]
	u.rest = u.rest[n:]
	return b, nil
}

func (u *unpickler) text(size int) (any, error) { return u.bytes(size) }

// skip passes over bytes that a state dict has no use for.
func (u *unpickler) skip(size int) (any, error) {
	_, err := u.bytes(size)
	return bystander{}, err
}

// line reads up to the end of a line.
func (u *unpickler) line() (string, error) {
	line, rest, ok := strings.Cut(u.rest, "\n")
	if !ok {
		return "", errTruncated
	}
	u.rest = rest
	return line, nil
}
