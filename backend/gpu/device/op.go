// Package device is all that vitserve wants of a GPU: memory, kernels and
// queues, by NVIDIA's driver or by OpenCL. Both are opened at run time, so
// that nothing is linked and nothing is shipped; it is the only package that
// uses cgo.
package device

// Kinds of an Op.
const (
	Launch = iota
	Write
	Read
)

// Mems is how many pieces of memory a kernel may take, Params how many bytes
// by value.
const (
	Mems   = 12
	Params = 512
)

// An Op is an operation of a Queue: a kernel with memory and bytes by value,
// or a copy between pinned memory, at the address Host, and byte At of Mem[0].
// Its layout is that of device_op.
type Op struct {
	Kind, Kernel   int32
	Grid           [3]uint32
	Threads        uint32
	Used, Bytes    uint32 // of Mem and Params
	Mem            [Mems]uint64
	Params         [Params]byte
	Host, At, Size uint64
}

// Mem is memory of a device. The zero Mem is none.
type Mem struct {
	Handle uint64
	Bytes  int
}
