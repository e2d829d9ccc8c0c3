package fence

import (
	"testing"
	"unsafe"
)

// TestFence: the bytes can be written and those beside them cannot be read.
func TestFence(t *testing.T) {
	var sink byte
	for _, n := range []int{1, 100, 4096, 5000} {
		for _, atEnd := range []bool{true, false} {
			b := Bytes(t, n, atEnd)
			if got := Touches(func() { b[0], b[n-1] = 1, 2 }); got != nil {
				t.Errorf("%d bytes: %v", n, got)
			}
			beside := n
			if !atEnd {
				beside = -1
			}
			if Touches(func() { sink = *(*byte)(unsafe.Add(unsafe.Pointer(&b[0]), beside)) }) == nil {
				t.Errorf("byte %d of %d can be read: %d", beside, n, sink)
			}
		}
	}
}
