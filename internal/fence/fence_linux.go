// Package fence gives tests memory beside pages that can be neither read nor
// written, so that a kernel which touches what is not its own is found out.
package fence

import (
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bytes returns n zeroed bytes, n at least 1, that end before such a page or
// begin behind one. They live until the test ends.
func Bytes(t testing.TB, n int, atEnd bool) []byte {
	t.Helper()
	page := unix.Getpagesize()
	inner := (n + page - 1) / page * page
	whole, err := unix.Mmap(-1, 0, inner+2*page, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(whole); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mprotect(whole[page:page+inner], unix.PROT_READ|unix.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	if atEnd {
		return whole[page+inner-n:][:n:n]
	}
	return whole[page:][:n:n]
}

// Of returns n zeroed values in such memory.
func Of[T any](t testing.TB, n int, atEnd bool) []T {
	t.Helper()
	b := Bytes(t, n*int(unsafe.Sizeof(*new(T))), atEnd)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// Touches calls a kernel and reports whether it touches memory behind a
// fence, or panics.
func Touches(call func()) (touched any) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // of this goroutine
	defer func() { touched = recover() }()
	call()
	return nil
}
