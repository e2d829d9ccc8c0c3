package parquet

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strconv"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

// unpack takes a page out of its compression. It must have the size it says.
func unpack(codec format.CompressionCodec, b []byte, size int) (out []byte, err error) {
	switch codec {
	case format.Uncompressed:
		out = b
	case format.Snappy:
		n, err := snappy.DecodedLen(b)
		if err != nil || n != size {
			return nil, fmt.Errorf("snappy: %d bytes, want %d", n, size)
		}
		if out, err = snappy.Decode(nil, b); err != nil {
			return nil, err
		}
	case format.Gzip:
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		if out, err = io.ReadAll(io.LimitReader(z, int64(size)+1)); err != nil {
			return nil, err
		}
	case format.Zstd:
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxPage))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		if out, err = io.ReadAll(io.LimitReader(z, int64(size)+1)); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("compression %v, want none, SNAPPY, GZIP or ZSTD", codec)
	}
	if len(out) != size {
		return nil, fmt.Errorf("a page of %d bytes, want %d", len(out), size)
	}
	return out, nil
}

// deltaValues are n values by their differences.
func deltaValues(kind format.Type, encoding format.Encoding, b []byte, n int) (values []string, err error) {
	defer func() { // of a library that has not met everything
		if recover() != nil {
			values, err = nil, fmt.Errorf("%v that is none", encoding)
		}
	}()
	if n == 0 {
		return nil, nil
	}
	var all []byte
	var at []uint32
	switch {
	case kind == format.ByteArray && encoding == format.DeltaLengthByteArray:
		all, at, err = new(delta.LengthByteArrayEncoding).DecodeByteArray(nil, b, nil)
	case kind == format.ByteArray && encoding == format.DeltaByteArray:
		all, at, err = new(delta.ByteArrayEncoding).DecodeByteArray(nil, b, nil)
	case kind == format.Int32 && encoding == format.DeltaBinaryPacked:
		v, err := new(delta.BinaryPackedEncoding).DecodeInt32(nil, b)
		for _, x := range v {
			values = append(values, strconv.Itoa(int(x)))
		}
		return exactly(values, n, err)
	case kind == format.Int64 && encoding == format.DeltaBinaryPacked:
		v, err := new(delta.BinaryPackedEncoding).DecodeInt64(nil, b)
		for _, x := range v {
			values = append(values, strconv.FormatInt(x, 10))
		}
		return exactly(values, n, err)
	default:
		return nil, fmt.Errorf("%v of %v is not read", encoding, kind)
	}
	if err != nil {
		return nil, err
	}
	for i := range max(len(at)-1, 0) {
		values = append(values, string(all[at[i]:at[i+1]]))
	}
	return exactly(values, n, nil)
}

func exactly(values []string, n int, err error) ([]string, error) {
	if err == nil && len(values) != n {
		err = fmt.Errorf("%d values, want %d", len(values), n)
	}
	return values, err
}

// counted reads bytes and knows how many are left.
type counted struct {
	r      *io.SectionReader
	buffer []byte
	read   int64
}

func newCounted(r *io.SectionReader) *counted { return &counted{r: r} }

func (c *counted) left() int64 { return c.r.Size() - c.read }

// Read is of io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	if len(c.buffer) == 0 {
		if len(p) > 4<<10 {
			n, err := c.r.Read(p)
			c.read += int64(n)
			return n, err
		}
		buffer := make([]byte, 4<<10)
		n, err := c.r.Read(buffer)
		if n == 0 {
			return 0, err
		}
		c.buffer = buffer[:n]
	}
	n := copy(p, c.buffer)
	c.buffer = c.buffer[n:]
	c.read += int64(n)
	return n, nil
}

// ReadByte is of io.ByteReader.
func (c *counted) ReadByte() (byte, error) {
	if len(c.buffer) > 0 {
		b := c.buffer[0]
		c.buffer = c.buffer[1:]
		c.read++
		return b, nil
	}
	var one [1]byte
	if _, err := io.ReadFull(c, one[:]); err != nil {
		return 0, err
	}
	return one[0], nil
}
