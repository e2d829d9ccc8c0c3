//go:build purego || !amd64

package cpu

func impls() []impl { return []impl{{kernels: &portable}} }
