package models

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// numeral reads a number. Floats, and whole numbers of more than 8 bytes, are
// not looked at.
func (u *unpickler) numeral(op byte) (any, error) {
	switch op {
	case opBinInt:
		n, err := u.number(4)
		return int(int32(n)), err
	case opBinInt1:
		n, err := u.number(1)
		return int(n), err
	case opBinInt2:
		n, err := u.number(2)
		return int(n), err
	case opBinFloat:
		_, err := u.number(8)
		return bystander{}, err
	}
	size := 1
	if op == opLong4 {
		size = 4
	}
	digits, err := u.bytes(size)
	if err != nil || len(digits) > 8 {
		return bystander{}, err
	}
	if digits == "" {
		return 0, nil
	}
	var b [8]byte
	copy(b[:], digits)
	bits := 64 - 8*len(digits)
	return int(int64(binary.LittleEndian.Uint64(b[:])<<bits) >> bits), nil // two's complement
}

// remember executes the operations of the memo, which has values by number.
func (u *unpickler) remember(op byte) error {
	number, err := uint64(len(u.memo)), error(nil)
	switch op {
	case opBinGet, opBinPut:
		number, err = u.number(1)
	case opLongBinGet, opLongBinPut:
		number, err = u.number(4)
	}
	if err != nil {
		return err
	}
	if op == opBinGet || op == opLongBinGet {
		v, ok := u.memo[uint32(number)]
		if !ok {
			return fmt.Errorf("value %d is used before it is there", number)
		}
		return u.push(v, nil)
	}
	v, err := u.top()
	if err == nil {
		u.memo[uint32(number)] = v
	}
	return err
}

// tuple makes a tuple of what is on the stack.
func (u *unpickler) tuple(op byte) (any, error) {
	switch op {
	case opEmptyTuple:
		return tuple(nil), nil
	case opTuple:
		items, err := u.popMark()
		return tuple(slices.Clone(items)), err
	}
	n := int(op) - opTuple1 + 1
	at := len(u.stack) - n
	if at < u.floor() {
		return nil, fmt.Errorf("a tuple of %d of an empty stack", n)
	}
	t := tuple(slices.Clone(u.stack[at:]))
	u.stack = u.stack[:at]
	return t, nil
}

// collect executes what fills lists, dictionaries and sets, of which sets are
// not looked at.
func (u *unpickler) collect(op byte) (err error) {
	var items []any
	switch op {
	case opAppend, opSetItem:
		n := 1
		if op == opSetItem {
			n = 2
		}
		at := len(u.stack) - n
		if at < u.floor() {
			return errors.New("an element of an empty stack")
		}
		items, u.stack = u.stack[at:], u.stack[:at]
	default:
		if items, err = u.popMark(); err != nil {
			return err
		}
	}
	switch op {
	case opList:
		return u.push(&list{slices.Clone(items)}, nil)
	case opFrozenSet:
		return u.push(bystander{}, nil)
	case opDict:
		d := &dict{}
		return u.push(d, d.set(items))
	}
	into, err := u.top()
	if err != nil {
		return err
	}
	switch into := into.(type) {
	case *list:
		if op == opAppend || op == opAppends {
			into.items = append(into.items, items...)
			return nil
		}
	case *dict:
		if op == opSetItem || op == opSetItems {
			return into.set(items)
		}
	case bystander:
		return nil
	}
	return fmt.Errorf("elements are put into %s by operation 0x%02x", kindOf(into), op)
}

// set puts keys and values, one after the other, into the dictionary. Only
// keys that are names are kept.
func (d *dict) set(items []any) error {
	if len(items)%2 != 0 {
		return errors.New("a key without its value")
	}
	for i := 0; i < len(items); i += 2 {
		switch key := items[i].(type) {
		case string:
			d.entries = append(d.entries, setting{key, items[i+1]})
		case *list, *dict, callee:
			return fmt.Errorf("%s as a key", kindOf(key))
		}
	}
	return nil
}

// object executes what makes objects of classes, and calls functions.
func (u *unpickler) object(op byte) error {
	switch op {
	case opGlobal:
		module, err := u.line()
		if err != nil {
			return err
		}
		name, err := u.line()
		if err != nil {
			return err
		}
		return u.push(findClass(module, name))
	case opStackGlobal:
		name, err := u.pop()
		if err != nil {
			return err
		}
		module, err := u.pop()
		if err != nil {
			return err
		}
		m, ok1 := module.(string)
		n, ok2 := name.(string)
		if !ok1 || !ok2 {
			return errors.New("a name that is no text")
		}
		return u.push(findClass(m, n))
	case opBinPersID:
		id, err := u.pop()
		if err != nil {
			return err
		}
		return u.push(u.findStorage(id))
	case opObj:
		items, err := u.popMark()
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return errors.New("an object without its class")
		}
		return u.push(u.call(items[0], tuple(slices.Clone(items[1:]))))
	case opReduce, opNewObj, opNewObjEx:
		if op == opNewObjEx {
			if _, err := u.pop(); err != nil { // arguments by name
				return err
			}
		}
		args, err := u.pop()
		if err != nil {
			return err
		}
		class, err := u.pop()
		if err != nil {
			return err
		}
		return u.push(u.call(class, args))
	case opBuild:
		if _, err := u.pop(); err != nil {
			return err
		}
		switch into, err := u.top(); into.(type) {
		case *dict, bystander:
			return err // attributes are not looked at
		default:
			return errors.Join(err, fmt.Errorf("attributes of %s", kindOf(into)))
		}
	}
	if strings.IndexByte(textOps, op) >= 0 {
		return fmt.Errorf("operation %q of protocol 0", op)
	}
	return fmt.Errorf("operation 0x%02x, which no checkpoint needs", op)
}

// call calls a function or class.
func (u *unpickler) call(what, args any) (any, error) {
	a, ok := args.(tuple)
	if !ok {
		return nil, fmt.Errorf("arguments that are %s, want a tuple", kindOf(args))
	}
	switch f := what.(type) {
	case callee:
		return f(u, a)
	case bystander:
		return f, nil
	}
	return nil, fmt.Errorf("a call of %s", kindOf(what))
}

// kindOf names what a value is, whatever it holds.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case string:
		return "a text"
	case int, bool:
		return "a number"
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dictionary"
	case callee:
		return "a function"
	case storage, dtype:
		return "a storage"
	case strided:
		return "a tensor"
	}
	return "an object"
}
