//go:build cgo && linux

package kernels

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"strings"
)

//go:embed *.h *.cl
var files embed.FS

// ptx is what scripts/gpu/ptx.py made of the source.
//
//go:embed vit.ptx.gz
var ptx []byte

// Source returns the kernels in one piece, for OpenCL.
func Source() []byte {
	var b bytes.Buffer
	include(&b, "vit.cl")
	return b.Bytes()
}

// include writes a file with those that it includes in their places.
func include(b *bytes.Buffer, name string) {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("kernels: %v", err))
	}
	for line := range strings.Lines(string(text)) {
		file, ok := strings.CutPrefix(strings.TrimSpace(line), `#include "`)
		switch file = strings.TrimSuffix(file, `"`); {
		case ok && file == "standin.h": // the host's alone
		case ok:
			include(b, file)
		default:
			b.WriteString(line)
		}
	}
}

// PTX returns the kernels as NVIDIA's driver takes them.
func PTX() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(ptx))
	if err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	return io.ReadAll(r)
}
