package models

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// legacy is a checkpoint as PyTorch wrote it before 1.6: five pickles one after
// the other (a magic number, the protocol, the writer's machine, what is saved,
// the keys of storages), and then each storage, its number of elements before
// it.
//
// https://github.com/pytorch/pytorch/blob/main/torch/serialization.py, _legacy_save
type legacy struct {
	top      any
	storages map[string]*io.SectionReader // by key
}

// The first two pickles hold these.
var legacyMagic = []byte{0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19}

const legacyProtocol = 1001

// openLegacy reads a file of the format, up to its storages. It returns nil
// for a file of another.
func openLegacy(file io.ReaderAt, size int64) (*legacy, error) {
	start := make([]byte, min(size, 40))
	if _, err := file.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(start) == 0 || start[0] != opProto || !bytes.Contains(start, legacyMagic) {
		return nil, nil
	}
	head := make([]byte, min(size, maxPickle))
	if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	// All pickles together have the operations of one.
	u := &unpickler{rest: string(head)}
	var values [5]any
	for i := range values {
		u.stack, u.marks, u.memo = nil, nil, map[uint32]any{}
		var err error
		if values[i], err = u.run(); err != nil {
			return nil, fmt.Errorf("pickle %d of 5: %w", i+1, err)
		}
	}
	if values[1] != legacyProtocol {
		return nil, fmt.Errorf("a checkpoint of a format before %d", legacyProtocol)
	}
	if machine, ok := values[2].(*dict); ok {
		for _, e := range machine.entries {
			if e.name == "little_endian" && e.value != true {
				return nil, errors.New("a big-endian machine wrote it, want little-endian")
			}
		}
	}
	keys, ok := values[4].(*list)
	if !ok {
		return nil, fmt.Errorf("%s in place of the keys of storages", kindOf(values[4]))
	}
	l := &legacy{values[3], map[string]*io.SectionReader{}}
	at := int64(len(head) - len(u.rest))
	for _, k := range keys.items {
		key, ok := k.(string)
		s, known := u.storages[key]
		if !ok || !known || l.storages[key] != nil {
			return nil, fmt.Errorf("a storage of the key %.80q, which no tensor looks at or an other has", key)
		}
		var n [8]byte
		if _, err := file.ReadAt(n[:], at); err != nil {
			return nil, fmt.Errorf("storage %.80q: %w", key, errTruncated)
		}
		at += 8
		if count := binary.LittleEndian.Uint64(n[:]); count != uint64(s.count) {
			return nil, fmt.Errorf("storage %.80q of %d elements, want %d", key, count, s.count)
		}
		length := s.count * dtypeSizes[s.dtype]
		if length > size-at {
			return nil, fmt.Errorf("storage %.80q of %d bytes where the file has %d: %w", key, length, size-at, errTruncated)
		}
		l.storages[key] = io.NewSectionReader(file, at, length)
		at += length
	}
	return l, nil
}

func (l *legacy) storage(key string) (*io.SectionReader, error) {
	if l.storages[key] == nil {
		return nil, fmt.Errorf("no storage %.80q", key)
	}
	return l.storages[key], nil
}
