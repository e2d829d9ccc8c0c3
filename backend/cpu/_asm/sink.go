package main

import "fmt"

// sink is where a function's results go: rows of float32 or of bf16, which
// only AVX-512 code writes.
type sink bool

// begin starts a function of the name's kind.
func (bf16 sink) begin(f *file, s isa, name, params string, bytes int) *fn {
	if bf16 {
		name += "BF16"
	}
	fmt.Fprintf(&f.decl, "\n// %s%s is kernels.%[1]s.\n//\n", name, s.name)
	return f.begin(s, name+s.name, params, bytes)
}

// step is how far a whole vector moves the cursor of the results.
func (bf16 sink) step(w *fn, reg string) cursor {
	if bf16 {
		return cursor{reg, w.size / 2}
	}
	return cursor{reg, w.size}
}

// round makes bf16 of a register, in its lower half.
func (w *fn) round(x string) string {
	low := "Y" + x[1:]
	w.evex(0xf3, 0x72, low, "Z0", x) // VCVTNEPS2BF16
	return low
}

// put stores a whole vector. It spoils x.
func (bf16 sink) put(w *fn, x, address string) {
	if bf16 {
		x = w.round(x)
	}
	w.i("VMOVUPS %s, %s", x, address)
}

// putTail stores the lanes of the tail, and in bf16 a zero behind an odd
// number of values. It spoils x.
func (bf16 sink) putTail(t tail, x, address string) {
	if !bf16 {
		t.store(x, address)
		return
	}
	t.clear(x)
	t.i("VMOVDQU16 %s, K4, %s", t.round(x), address)
}
