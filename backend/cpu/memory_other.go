//go:build !linux

package cpu

import "unsafe"

// beyond is memory behind a block that only gemmArgs.next points to: a strip's
// share of a wide panel may lie behind the end of a narrow one that follows.
// It is fetched and not read, but a pointer into memory that is nobody's is
// one that the garbage collector does not take.
const beyond = 1 << 20

// mapMemory returns zeroed memory aligned to a line; the garbage collector
// takes it back.
func mapMemory(bytes int) (data []byte, unmap func(), err error) {
	whole := make([]byte, bytes+line+beyond)
	skip := -uintptr(unsafe.Pointer(&whole[0])) % line
	return whole[skip:][:bytes:bytes], func() {}, nil
}
