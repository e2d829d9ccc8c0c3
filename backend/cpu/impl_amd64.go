//go:build !purego

package cpu

// impls are all implementations in this binary, the fastest first.
func impls() []impl { return []impl{{kernels: &portable}} }
