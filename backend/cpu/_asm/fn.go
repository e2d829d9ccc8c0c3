package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

// isa is a vector instruction set.
type isa struct {
	name string
	reg  string // letter of the registers
	size int    // bytes of a register
	regs int
}

var (
	avx512 = isa{"AVX512", "Z", 64, 32}
	avx2   = isa{"AVX2", "Y", 32, 16}
)

func (s isa) wide() bool     { return s.size == 64 }
func (s isa) v(i int) string { return fmt.Sprintf("%s%d", s.reg, i) }

// fn is a function being written. Constants that its body names are put into
// registers from the highest down (AVX-512, which has enough of them) or
// used from memory (AVX2), except those that are pinned.
type fn struct {
	isa
	f      *file
	name   string
	params string
	bytes  int // of the arguments
	frame  int // bytes of the stack
	body   bytes.Buffer
	consts []string
	used   int // registers from the lowest up
	pinned map[string]string

	tables     map[string][2]string // their registers
	tableLoads string
}

// begin starts a function with parameters in Go's syntax that fill a number of bytes.
func (f *file) begin(s isa, name, params string, bytes int) *fn {
	return &fn{isa: s, f: f, name: name, params: params, bytes: bytes, pinned: map[string]string{}, tables: map[string][2]string{}}
}

// i writes instructions, one a line, with the arguments put in.
func (w *fn) i(lines string, args ...any) {
	if len(args) > 0 {
		lines = fmt.Sprintf(lines, args...)
	}
	for _, l := range strings.Split(strings.TrimSpace(lines), "\n") {
		l = strings.TrimSpace(l)
		if strings.HasSuffix(l, ":") {
			w.body.WriteString(l + "\n")
		} else if l != "" {
			w.body.WriteString("\t" + l + "\n")
		}
	}
}

// evex writes an instruction of AVX512_BF16, which Go's assembler does not
// know: EVEX.512.prefix.0F38.W0 op /r with registers in Intel's order. For an
// instruction of two operands src1 is Z0.
func (w *fn) evex(prefix, op int, dst, src1, src2 string) {
	number := func(reg string) (n int) {
		fmt.Sscanf(reg[1:], "%d", &n)
		return n
	}
	d, v, m := number(dst), number(src1), number(src2)
	not := func(x, bit int) int { return ^(x >> bit) & 1 }
	bytes := [...]int{
		0x62,
		not(d, 3)<<7 | not(m, 4)<<6 | not(m, 3)<<5 | not(d, 4)<<4 | 2,
		(^v&15)<<3 | 1<<2 | map[int]int{0x66: 1, 0xf3: 2, 0xf2: 3}[prefix],
		2<<5 | not(v, 4)<<3,
		op,
		0xc0 | (d&7)<<3 | m&7,
	}
	var line []string
	for _, b := range bytes {
		line = append(line, fmt.Sprintf("BYTE $0x%02x", b))
	}
	w.i(strings.Join(line, "; "))
}

// pin returns a register that holds a constant during the whole function.
func (w *fn) pin(name string) string {
	if r, ok := w.pinned[name]; ok {
		return r
	}
	r := w.isa.v(w.regs - 1 - len(w.consts))
	w.consts = append(w.consts, name)
	w.pinned[name] = r
	w.f.constant(name)
	return r
}

// v returns a register for what the body computes.
func (w *fn) v(i int) string {
	w.used = max(w.used, i+1)
	return w.isa.v(i)
}

// reserve returns a register for the whole function.
func (w *fn) reserve() string {
	w.consts = append(w.consts, "")
	return w.isa.v(w.regs - len(w.consts))
}

// k returns an operand for a constant: a register or memory.
func (w *fn) k(name string) string {
	if r, ok := w.pinned[name]; ok {
		return r
	}
	if w.wide() {
		return w.pin(name)
	}
	w.f.constant(name)
	return name + "<>(SB)"
}

// lookup replaces an index, of which five bits count, by the element of a
// table of 32.
func (w *fn) lookup(t *table, index string) {
	w.f.table32(t)
	if w.tables[t.name] == [2]string{} {
		low, high := w.reserve(), w.reserve()
		w.tables[t.name] = [2]string{low, high}
		w.tableLoads += fmt.Sprintf("\tVMOVUPS %s<>(SB), %s\n\tVMOVUPS %s<>+64(SB), %s\n", t.name, low, t.name, high)
	}
	w.i("VPERMI2PS %s, %s, %s", w.tables[t.name][1], w.tables[t.name][0], index)
}

// end writes the function out.
func (w *fn) end() {
	if w.used+len(w.consts) > w.regs {
		panic(fmt.Sprintf("%s: %d registers and %d constants", w.name, w.used, len(w.consts)))
	}
	w.f.asm.WriteString(w.doc())
	fmt.Fprintf(&w.f.asm, "TEXT ·%s(SB), NOSPLIT, $%d-%d\n", w.name, w.frame, w.bytes)
	for _, c := range w.consts {
		if _, ok := w.pinned[c]; !ok {
			continue
		}
		fmt.Fprintf(&w.f.asm, "\tVBROADCASTSS %s<>(SB), %s\n", c, w.pinned[c])
	}
	w.f.asm.WriteString(w.tableLoads)
	w.f.asm.Write(w.body.Bytes())
	w.f.asm.WriteString("\tVZEROUPPER\n\tRET\n\n")
	fmt.Fprintf(&w.f.decl, "//go:noescape\nfunc %s(%s)\n\n", w.name, w.params)
}

// vector returns a register with 16 words.
func (w *fn) vector(name string, word func(i int) int) string {
	if !w.f.known[name] {
		w.f.known[name] = true
		for i := range 16 {
			fmt.Fprintf(&w.f.data, "DATA %s<>+%d(SB)/4, $0x%08x\n", name, 4*i, word(i))
		}
		fmt.Fprintf(&w.f.data, "GLOBL %s<>(SB), RODATA|NOPTR, $64\n\n", name)
	}
	r := w.reserve()
	w.tableLoads += fmt.Sprintf("\tVMOVUPS %s<>(SB), %s\n", name, r)
	return r
}

// table32 puts a table into the data.
func (f *file) table32(t *table) {
	if f.known[t.name] {
		return
	}
	f.known[t.name] = true
	for i, x := range t.values {
		fmt.Fprintf(&f.data, "DATA %s<>+%d(SB)/4, $0x%08x\n", t.name, 4*i, math.Float32bits(x))
	}
	fmt.Fprintf(&f.data, "GLOBL %s<>(SB), RODATA|NOPTR, $128\n\n", t.name)
}

// constant puts a constant, as often as a YMM register holds it, into the data.
func (f *file) constant(name string) {
	if f.known[name] {
		return
	}
	f.known[name] = true
	bits, ok := words[name]
	if !ok {
		x, ok := constants[name]
		if !ok {
			panic("no constant " + name)
		}
		bits = math.Float32bits(float32(x))
	}
	for i := 0; i < 32; i += 4 {
		fmt.Fprintf(&f.data, "DATA %s<>+%d(SB)/4, $0x%08x\n", name, i, bits)
	}
	fmt.Fprintf(&f.data, "GLOBL %s<>(SB), RODATA|NOPTR, $32\n\n", name)
}

// lanes puts eight words of ones and eight of zeros into the data.
func (f *file) lanes() {
	if f.known["lanes"] {
		return
	}
	f.known["lanes"] = true
	for i := 0; i < 32; i += 8 {
		fmt.Fprintf(&f.data, "DATA lanes<>+%d(SB)/8, $-1\n", i)
	}
	f.data.WriteString("GLOBL lanes<>(SB), RODATA|NOPTR, $64\n\n")
}

// constants are explained where portable Go uses them, in portable_exp.go,
// and in tables.go.
var constants = map[string]float64{
	"zero": 0, "one": 1, "minusInf": math.Inf(-1), "log2e": math.Log2E,

	"exp2Lowest": -125.9,
	"exp2c1":     math.Ln2, "exp2c2": math.Pow(math.Ln2, 2) / 2, "exp2c3": math.Pow(math.Ln2, 3) / 6, "exp2c4": math.Pow(math.Ln2, 4) / 24,
	"exp2c5": math.Pow(math.Ln2, 5) / 120, "exp2c6": math.Pow(math.Ln2, 6) / 720,
	"exp2Linear": exp2Linear, "exp2Square": exp2Square,
	"integer": 1.5 * (1 << 23), "fraction": 1.5 * (1 << 23) / 32,

	"geluFar": 13, "halfLog2e": -0.5 * math.Log2E, "erfP": 0.3275911 / math.Sqrt2,
	"erfA1": -0.5 * 0.254829592, "erfA2": -0.5 * -0.284496736, "erfA3": -0.5 * 1.421413741,
	"erfA4": -0.5 * -1.453152027, "erfA5": -0.5 * 1.061405429,
	"phiFar": 31 * phiStep, "phiStep": phiStep, "phiPerStep": 1 / phiStep,
	"tanhLinear": 2 * math.Sqrt(2/math.Pi), "tanhCubic": 2 * 0.044715 * math.Sqrt(2/math.Pi),
	"quick": 1.702,

	"density": 1 / math.Sqrt(2*math.Pi), "tanhCubic3": 3 * 2 * 0.044715 * math.Sqrt(2/math.Pi), "gradFar": 64, "gradNear": -64,

	"u8Least": 1e-35, "u8Range": 127,
}

// words are constants that are not numbers.
var words = map[string]uint32{"signBit": 1 << 31, "notSign": 1<<31 - 1, "u8Zero": 128, "u8Zeros": 0x80808080}
