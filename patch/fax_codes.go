package patch

import (
	"strings"
	"sync"
)

// The codes of runs (ITU-T T.4, tables 2 and 3): of 0 to 63 pixels, of 64 to
// 1728 in steps of 64, and of 1792 to 2560 for both colours.
const (
	faxWhite = "00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 " +
		"101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011 00011010 " +
		"00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010 " +
		"00001011 01010010 01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 00110010 00110011 00110100 "
	faxWhiteLong = "11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011 011010100 " +
		"011010101 011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011 "
	faxBlack = "0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000 " +
		"0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111 00000011000 000011001010 000011001011 000011001100 000011001101 000001101000 000001101001 " +
		"000001101010 000001101011 000011010010 000011010011 000011010100 000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 000011011011 000001010100 000001010101 000001010110 000001010111 " +
		"000001100100 000001100101 000001010010 000001010011 000000100100 000000110111 000000111000 000000100111 000000101000 000001011000 000001011001 000000101011 000000101100 000001011010 000001100110 000001100111 "
	faxBlackLong = "0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 " +
		"0000001110100 0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 0000001011010 0000001011011 0000001100100 0000001100101 "
	faxLonger = "00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 000000010111 000000011100 000000011101 000000011110 000000011111"
)

// The codes of modes (ITU-T T.6, table 1), and what is no mode: zeros of an end
// of line, and the beginning of an extension.
const faxModes = "0001 001 1 011 000011 0000011 010 000010 0000010 0000001 0000000"

// faxCode is what the next bits are.
type faxCode struct {
	width uint8 // bits; 0: no code
	what  faxWhat
	n     int16 // pixels of a run; of a mode how far it is from the change above
}

type faxWhat uint8

// A run's code ends it or goes before another one.
const (
	faxNone faxWhat = iota
	faxRun
	faxMore
	faxEOL // eleven zeros, or seven where a mode is wanted
	faxPass
	faxHorizontal
	faxVertical
	faxExtension
)

const faxWhiteBits, faxBlackBits, faxModeBits = 12, 13, 7

// faxTables are the codes by the next bits.
type faxTables struct {
	white [1 << faxWhiteBits]faxCode
	black [1 << faxBlackBits]faxCode
	mode  [1 << faxModeBits]faxCode
}

var faxAll = sync.OnceValue(func() *faxTables {
	t := &faxTables{}
	runs := func(to []faxCode, bits int, short, long string) {
		for i, code := range strings.Fields(short) {
			enter(to, bits, code, faxRun, i)
		}
		for i, code := range strings.Fields(long + faxLonger) {
			enter(to, bits, code, faxMore, 64*(i+1))
		}
		enter(to, bits, "00000000000", faxEOL, 0)
	}
	runs(t.white[:], faxWhiteBits, faxWhite, faxWhiteLong)
	runs(t.black[:], faxBlackBits, faxBlack, faxBlackLong)
	kinds := []struct {
		what faxWhat
		n    int
	}{{faxPass, 0}, {faxHorizontal, 0}, {faxVertical, 0}, {faxVertical, 1}, {faxVertical, 2}, {faxVertical, 3}, {faxVertical, -1}, {faxVertical, -2}, {faxVertical, -3}, {faxExtension, 0}, {faxEOL, 0}}
	for i, code := range strings.Fields(faxModes) {
		enter(t.mode[:], faxModeBits, code, kinds[i].what, kinds[i].n)
	}
	return t
})

// enter writes a code to all entries that begin with its bits.
func enter(to []faxCode, bits int, code string, what faxWhat, n int) {
	at := 0
	for _, c := range code {
		at = 2*at + int(c-'0')
	}
	rest := bits - len(code)
	for i := range 1 << rest {
		to[at<<rest+i] = faxCode{uint8(len(code)), what, int16(n)}
	}
}
