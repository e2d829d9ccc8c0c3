package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCorpora: files fall into the columns of the table where they belong.
func TestCorpora(t *testing.T) {
	n := &corpus{reasons: map[string]int{}}
	var said []string
	note := func(string, ...any) { said = append(said, "") }
	good := verdict{width: 2, height: 1, rgb: []byte{1, 2, 3, 4, 5, 6}}
	near := verdict{width: 2, height: 1, rgb: []byte{1, 2, 3, 4, 5, 7}}
	off := verdict{width: 2, height: 1, rgb: []byte{1, 2, 3, 4, 5, 9}}
	turned := verdict{width: 1, height: 2, rgb: good.rgb}
	warned := verdict{width: 2, height: 1, rgb: good.rgb, warnings: 2}
	for _, v := range []verdict{good, near, off, turned, {err: "decode tiff: chunk of 12 bytes"}, {err: "decode tiff: chunk of 13 bytes"}} {
		n.read(v, good, "tiff", note)
	}
	n.read(good, warned, "tiff", note)
	n.read(verdict{err: "decode tiff: chunk of 14 bytes"}, warned, "tiff", note)
	require.Equal(t, corpus{quiet: 6, warned: 2, equal: 2, near: 1, apart: 2, quietly: 2, loudly: 1, reasons: map[string]int{"tiff: chunk of # bytes": 3}}, *n)
	require.Len(t, said, 5)
	c := &corpora{counts: map[string]*corpus{"tiff": n}, other: map[string]int{"ICO": 3}, files: 11}
	require.Contains(t, c.table(), "| all | 8 | 2 | 2 | 1 | 2 | 3 | 1 | 0 | 0 | 0 |")
	require.Contains(t, c.table(), "3 × tiff: chunk of # bytes")
}
