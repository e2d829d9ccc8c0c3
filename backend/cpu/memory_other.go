//go:build !linux

package cpu

import "unsafe"

// mapMemory returns zeroed memory aligned to a line; the garbage collector
// takes it back.
func mapMemory(bytes int) (data []byte, unmap func(), err error) {
	whole := make([]byte, bytes+line)
	skip := -uintptr(unsafe.Pointer(&whole[0])) % line
	return whole[skip:][:bytes:bytes], func() {}, nil
}
