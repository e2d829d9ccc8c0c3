//go:build 386 || arm || mips || mipsle

package backend

// Sizes of tensors, captures and files pass 2³¹, and they are ints everywhere:
// a machine of 32 bits could hold no model worth serving, and its ints would
// wrap around in silence. So a build for one ends here.
var _ = vitserveNeedsAMachineOf64Bits
