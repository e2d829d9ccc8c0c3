package models

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// pack puts a header and data together as a file does.
func pack(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestHeader(t *testing.T) {
	one := `"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`
	two := `"b":{"dtype":"F16","shape":[2],"data_offsets":[24,28]}`
	for _, c := range []struct {
		name, header string
		data         int
		err          string // "": accepted
	}{
		{"one", `{` + one + `}`, 24, ""},
		{"two, unordered", `{` + two + `,` + one + `}`, 28, ""},
		{"none", `{}`, 0, ""},
		{"padded", `{` + one + `}     `, 24, ""},
		{"metadata", `{"__metadata__":{"format":"pt"},` + one + `}`, 24, ""},
		{"scalar", `{"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}`, 8, ""},
		{"empty tensor", `{"e":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},` + one + `}`, 24, ""},

		{"duplicate", `{` + one + `,` + one + `}`, 24, `"a" twice`},
		{"duplicate by escape", `{` + one + `,"\u0061":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 24, `"a" twice`},
		{"duplicate metadata", `{"__metadata__":{},"__metadata__":{}}`, 0, `twice`},
		{"duplicate metadata key", `{"__metadata__":{"x":"1","x":"2"}}`, 0, `metadata "x" twice`},
		{"duplicate field", `{"a":{"dtype":"F32","dtype":"F32","shape":[6],"data_offsets":[0,24]}}`, 24, `"dtype" twice`},
		{"overlap", `{` + one + `,"b":{"dtype":"F32","shape":[1],"data_offsets":[20,24]}}`, 24, "overlap"},
		{"same bytes", `{` + one + `,"b":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}`, 24, "overlap"},
		{"gap before", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, "gap of 4 bytes"},
		{"gap between", `{` + one + `,"b":{"dtype":"F32","shape":[1],"data_offsets":[28,32]}}`, 32, "gap of 4 bytes"},
		{"bytes behind", `{` + one + `}`, 25, "1 bytes of data after"},
		{"truncated data", `{` + one + `}`, 23, "truncated"},
		{"wild offset", `{"a":{"dtype":"F32","shape":[6],"data_offsets":[9223372036854775780,9223372036854775804]}}`, 24, "truncated"},
		{"offset over 63 bits", `{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,18446744073709551615]}}`, 24, "63 bits"},
		{"offsets reversed", `{"a":{"dtype":"F32","shape":[6],"data_offsets":[24,0]}}`, 24, "begin and an end"},
		{"one offset", `{"a":{"dtype":"F32","shape":[6],"data_offsets":[24]}}`, 24, "begin and an end"},
		{"three offsets", `{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24,24]}}`, 24, "more than 2"},
		{"negative offset", `{"a":{"dtype":"F32","shape":[6],"data_offsets":[-24,0]}}`, 24, "whole number"},
		{"fraction", `{"a":{"dtype":"F32","shape":[6.0],"data_offsets":[0,24]}}`, 24, "whole number"},
		{"exponent", `{"a":{"dtype":"F32","shape":[6e0],"data_offsets":[0,24]}}`, 24, "whole number"},
		{"negative shape", `{"a":{"dtype":"F32","shape":[-2,-3],"data_offsets":[0,24]}}`, 24, "whole number"},
		{"shape overflows", `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0, "larger than any file"},
		{"shape and bytes disagree", `{"a":{"dtype":"F32","shape":[5],"data_offsets":[0,24]}}`, 24, "takes 20 bytes"},
		{"rank", `{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,6],"data_offsets":[0,24]}}`, 24, "more than 8"},
		{"unknown dtype", `{"a":{"dtype":"F4","shape":[6],"data_offsets":[0,24]}}`, 24, `dtype "F4"`},
		{"unknown key", `{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24],"x":1}}`, 24, `key "x"`},
		{"missing key", `{"a":{"dtype":"F32","shape":[6]}}`, 24, "want dtype"},
		{"metadata not strings", `{"__metadata__":{"a":1}}`, 0, "want a string"},
		{"tensor no object", `{"a":[]}`, 0, "want {"},
		{"array at the top", `[]`, 0, "begin with {"},
		{"leading space", ` {}`, 0, "begin with {"},
		{"two values", `{}{}`, 0, "not valid JSON"},
		{"trailing comma", `{` + one + `,}`, 24, "not valid JSON"},
		{"not UTF-8", "{\"\xff\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", 24, "UTF-8"},
		{"deep", `{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, 0, "not valid JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := memoryFile("f", pack(c.header, c.data))
			if c.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.err)
			}
		})
	}
}

// TestHeaderLength: no length is believed further than the file is long.
func TestHeaderLength(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		err  string
	}{
		{"empty", nil, "0 bytes"},
		{"short", []byte("1234567"), "7 bytes"},
		{"no header", make([]byte, 8), "begin with {"},
		{"longer than the file", append(binary.LittleEndian.AppendUint64(nil, 11), "{}        "...), "truncated"},
		{"absurd", append(binary.LittleEndian.AppendUint64(nil, maxHeader+1), make([]byte, 100)...), "at most"},
		{"all ones", bytes.Repeat([]byte{0xff}, 100), "at most"},
		{"zip", append([]byte("PK\x03\x04\x00\x00\x08\x08"), make([]byte, 100)...), "vitserve convert"},
		{"legacy pickle", append([]byte("\x80\x02\x8a\nl\xfc\x9cF"), make([]byte, 100)...), "vitserve convert"},
		{"Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), "git lfs pull"},
		{"GGUF", []byte("GGUF\x03\x00\x00\x00\x00\x00\x00\x00"), "a GGUF file, not a safetensors file; a model is a .safetensors file"},
		{"ONNX", []byte("\x08\x08\x12\x07pytorch\x1a\x05"), "an ONNX graph"},
		{"JPEG", []byte("\xff\xd8\xff\xe0\x00\x10JFIF"), "a JPEG picture, not a model; a model is a .safetensors file"},
		{"PNG", []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), "a PNG picture"},
		{"WebP", []byte("RIFF\x00\x01\x00\x00WEBP"), "a WebP picture"},
		{"GIF", []byte("GIF89a\x01\x00\x01\x00"), "a GIF picture"},
		{"BMP", []byte("BM\x00\x10\x00\x00\x00\x00\x00\x00"), "a BMP picture"},
		{"TIFF", []byte("II*\x00\x08\x00\x00\x00"), "a TIFF picture"},
		{"NumPy", []byte("\x93NUMPY\x01\x00"), "a NumPy file"},
		{"TensorFlow Lite", []byte("\x1c\x00\x00\x00TFL3"), "a TensorFlow Lite file"},
		{"text", []byte("just some words"), "not a safetensors file; a model is a .safetensors file"},
		{"web page", []byte("<!DOCTYPE html><html><title>404</title>"), "web page"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := memoryFile("f", c.file)
			require.ErrorContains(t, err, c.err)
		})
	}
	// A header of 640 bytes begins as a pickle does.
	_, err := memoryFile("f", pack(`{}`+strings.Repeat(" ", 638), 0))
	require.NoError(t, err)
}

// TestTooManyTensors: what a tensor costs in memory is bounded by their number.
func TestTooManyTensors(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`)
	for i := range maxTensors {
		fmt.Fprintf(&b, `,"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
	}
	_, err := parseHeader([]byte(b.String()+"}"), 0)
	require.ErrorContains(t, err, "more than 20000 tensors")
}

func TestFloats(t *testing.T) {
	f32 := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, math.Float32bits(1.5)), math.Float32bits(-2))
	for _, c := range []struct {
		dtype dtype
		bytes []byte
		want  []float32
	}{
		{"F32", f32, []float32{1.5, -2}},
		{"F16", []byte{0x00, 0x3e, 0x01, 0x00, 0x00, 0x80}, []float32{1.5, 5.9604645e-08, 0}}, // the second is subnormal
		{"BF16", []byte{0xc0, 0x3f, 0x01, 0x00}, []float32{1.5, 9.18355e-41}},
		{"F64", binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), []float32{0.1}},
	} {
		got, err := floats(c.dtype, c.bytes)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%s", c.dtype)
	}
	// Shifted by one byte the values have to be copied.
	odd, err := floats("F32", append([]byte{0}, f32...)[1:])
	require.NoError(t, err)
	require.Equal(t, []float32{1.5, -2}, odd)

	for name, bits := range map[string]uint32{"NaN": 0x7fc00000, "+Inf": 0x7f800000, "-Inf": 0xff800000} {
		_, err = floats("F32", binary.LittleEndian.AppendUint32(f32[:4:4], bits))
		require.ErrorContains(t, err, "value 1 is "+name)
	}
	_, err = floats("F16", []byte{0x00, 0x7c})
	require.ErrorContains(t, err, "Inf")
	_, err = floats("I64", make([]byte, 8))
	require.ErrorContains(t, err, "dtype I64")
}

// TestZeroCopy: an aligned float32 tensor is the mapped memory itself.
func TestZeroCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, os.WriteFile(path, pack(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  `, 8), 0o600))
	f, err := openFile(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.close()) }()
	r, err := newReader(f)
	require.NoError(t, err)
	a := r.Get("a", 2)
	require.NoError(t, r.Err())
	if littleEndian {
		require.Equal(t, a.Uintptr(), uintptr(unsafe.Pointer(unsafe.SliceData(f.bytes(f.head.entries[0])))))
	}
}

func TestOpenFileRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := openFile(dir)
	require.ErrorContains(t, err, "not a regular file")
	_, err = openFile(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	path := filepath.Join(dir, "cut.safetensors")
	require.NoError(t, os.WriteFile(path, pack(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 7), 0o600))
	_, err = openFile(path)
	require.ErrorContains(t, err, "truncated")
	require.ErrorContains(t, err, path)
}
