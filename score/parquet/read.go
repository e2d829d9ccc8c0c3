package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Bounds of what is read.
const (
	maxFooter = 256 << 20
	maxPage   = 128 << 20 // bytes, before and after compression
	maxValues = 16 << 20  // of a page
)

// Metadata returns the words that a file's writer has put into its footer.
func Metadata(r io.ReaderAt, size int64) (map[string]string, error) {
	meta, err := footer(r, size)
	if err != nil {
		return nil, err
	}
	said := map[string]string{}
	for _, kv := range meta.KeyValueMetadata {
		said[kv.Key] = kv.Value
	}
	return said, nil
}

func footer(r io.ReaderAt, size int64) (meta *format.FileMetaData, err error) {
	const tail = 8
	if size < int64(len(magic))+tail {
		return nil, fmt.Errorf("parquet: %d bytes, which is too short", size)
	}
	var end [tail]byte
	if _, err := r.ReadAt(end[:], size-tail); err != nil {
		return nil, err
	}
	if !bytes.Equal(end[4:], magic) {
		return nil, fmt.Errorf("parquet: the file ends in %q, want %q", end[4:], magic)
	}
	n := int64(binary.LittleEndian.Uint32(end[:]))
	if n > size-tail-int64(len(magic)) || n > maxFooter {
		return nil, fmt.Errorf("parquet: a footer of %d bytes in a file of %d", n, size)
	}
	b := make([]byte, n)
	if _, err := r.ReadAt(b, size-tail-n); err != nil {
		return nil, err
	}
	defer func() { // of a library that has not met everything
		if recover() != nil {
			meta, err = nil, errors.New("parquet: a footer that is none")
		}
	}()
	meta = new(format.FileMetaData)
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), b, meta); err != nil {
		return nil, fmt.Errorf("parquet: footer: %w", err)
	}
	return meta, nil
}

// Read yields the rows of a file, of each the columns that choose picks out of
// the names of all flat ones: as text, "" where there is nothing. An index of
// -1 is a column of nothing. The row is overwritten by the next one.
func Read(r io.ReaderAt, size int64, choose func(names []string) ([]int, error), yield func(row []string) bool) error {
	meta, err := footer(r, size)
	if err != nil {
		return err
	}
	flat, err := flatColumns(meta.Schema)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range flat {
		names = append(names, c.name)
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	row := make([]string, len(chosen))
	for g, group := range meta.RowGroups {
		readers := make([]*chunk, len(chosen))
		for i, at := range chosen {
			if at < 0 {
				continue
			}
			if readers[i], err = flat[at].open(r, size, group); err != nil {
				return fmt.Errorf("parquet: row group %d: column %s: %w", g, flat[at].name, err)
			}
		}
		for range group.NumRows {
			for i, c := range readers {
				if c == nil {
					continue
				}
				if row[i], err = c.next(); err != nil {
					return fmt.Errorf("parquet: row group %d: column %s: %w", g, flat[chosen[i]].name, err)
				}
			}
			if !yield(row) {
				return nil
			}
		}
	}
	return nil
}

// flatColumn is a column that is no list and in no group.
type flatColumn struct {
	name     string
	at       int // among the leaves
	kind     format.Type
	optional bool
}

func flatColumns(schema []format.SchemaElement) (flat []flatColumn, err error) {
	if len(schema) == 0 {
		return nil, errors.New("parquet: no schema")
	}
	leaf := 0
	inside := []int32{schema[0].NumChildren.V} // children left, by depth
	for _, e := range schema[1:] {
		for len(inside) > 0 && inside[len(inside)-1] <= 0 {
			inside = inside[:len(inside)-1]
		}
		if len(inside) == 0 || len(inside) > 100 {
			return nil, errors.New("parquet: a schema that is no tree")
		}
		inside[len(inside)-1]--
		if e.NumChildren.V > 0 {
			inside = append(inside, e.NumChildren.V)
			continue
		}
		known := e.Type.Valid && (e.Type.V == format.ByteArray || e.Type.V == format.Int32 || e.Type.V == format.Int64)
		if len(inside) == 1 && known && e.RepetitionType.V != format.Repeated {
			flat = append(flat, flatColumn{name: e.Name, at: leaf, kind: e.Type.V, optional: e.RepetitionType.V == format.Optional})
		}
		leaf++
	}
	return flat, nil
}

// open begins a column of a row group.
func (c flatColumn) open(r io.ReaderAt, size int64, g format.RowGroup) (*chunk, error) {
	if c.at >= len(g.Columns) {
		return nil, fmt.Errorf("not among %d columns", len(g.Columns))
	}
	m := g.Columns[c.at].MetaData
	from := m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < from {
		from = d
	}
	if from < 0 || m.TotalCompressedSize < 0 || from > size || m.TotalCompressedSize > size-from {
		return nil, fmt.Errorf("%d bytes at %d of a file of %d", m.TotalCompressedSize, from, size)
	}
	if m.Type != c.kind {
		return nil, fmt.Errorf("holds %v, the schema says %v", m.Type, c.kind)
	}
	return &chunk{column: c, codec: m.Codec, r: newCounted(io.NewSectionReader(r, from, m.TotalCompressedSize))}, nil
}

// chunk reads the pages of a column of a row group.
type chunk struct {
	column flatColumn
	codec  format.CompressionCodec
	r      *counted
	dict   []string
	values []string // of the page, those that are there
	defs   []byte   // of the page; nil: all are there
	left   int      // in the page, missing ones too
	done   int      // of values
}

// next is the next value.
func (c *chunk) next() (string, error) {
	for c.left == 0 {
		if err := c.page(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
	c.left--
	if c.defs != nil {
		def := c.defs[0]
		if c.defs = c.defs[1:]; def == 0 {
			return "", nil
		}
	}
	if c.done >= len(c.values) {
		return "", fmt.Errorf("a page of %d values, want more", len(c.values))
	}
	c.done++
	return c.values[c.done-1], nil
}

// page reads a page.
func (c *chunk) page() error {
	head, err := c.header()
	if err != nil {
		return err
	}
	if head.CompressedPageSize < 0 || head.UncompressedPageSize < 0 || head.CompressedPageSize > maxPage || head.UncompressedPageSize > maxPage {
		return fmt.Errorf("a page of %d bytes, unpacked %d, at most %d are read", head.CompressedPageSize, head.UncompressedPageSize, maxPage)
	}
	if int64(head.CompressedPageSize) > c.r.left() {
		return fmt.Errorf("a page of %d bytes where %d are left", head.CompressedPageSize, c.r.left())
	}
	data := make([]byte, head.CompressedPageSize)
	if _, err := io.ReadFull(c.r, data); err != nil {
		return err
	}
	size := int(head.UncompressedPageSize)
	switch {
	case head.Type == format.DictionaryPage && head.DictionaryPageHeader.Valid:
		if data, err = unpack(c.codec, data, size); err != nil {
			return err
		}
		c.dict, err = plainValues(c.column.kind, data, int(head.DictionaryPageHeader.V.NumValues))
		return err
	case head.Type == format.DataPage && head.DataPageHeader.Valid:
		h := head.DataPageHeader.V
		if data, err = unpack(c.codec, data, size); err != nil {
			return err
		}
		var levels []byte
		if c.column.optional {
			if h.DefinitionLevelEncoding != format.RLE {
				return fmt.Errorf("definition levels are %v, want RLE", h.DefinitionLevelEncoding)
			}
			if len(data) < 4 || int64(binary.LittleEndian.Uint32(data)) > int64(len(data)-4) {
				return io.ErrUnexpectedEOF
			}
			n := 4 + int(binary.LittleEndian.Uint32(data))
			levels, data = data[4:n], data[n:]
		}
		return c.fill(int(h.NumValues), levels, h.Encoding, data)
	case head.Type == format.DataPageV2 && head.DataPageHeaderV2.Valid:
		h := head.DataPageHeaderV2.V
		reps, defs := int64(h.RepetitionLevelsByteLength), int64(h.DefinitionLevelsByteLength)
		if reps < 0 || defs < 0 || reps+defs > int64(len(data)) || reps+defs > int64(size) {
			return fmt.Errorf("levels of %d and %d bytes in a page of %d", reps, defs, len(data))
		}
		levels := data[reps : reps+defs]
		data = data[reps+defs:]
		if !h.IsCompressed.Valid || h.IsCompressed.V {
			if data, err = unpack(c.codec, data, size-int(reps+defs)); err != nil {
				return err
			}
		}
		return c.fill(int(h.NumValues), levels, h.Encoding, data)
	}
	return nil // an index page, or one of a kind to come
}

// header reads a page's header.
func (c *chunk) header() (head *format.PageHeader, err error) {
	defer func() { // of a library that has not met everything
		if recover() != nil {
			head, err = nil, errors.New("a page header that is none")
		}
	}()
	if c.r.left() <= 0 {
		return nil, io.EOF
	}
	head = new(format.PageHeader)
	err = thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(c.r)).Decode(head)
	return head, err
}

// fill takes a page's levels and values.
func (c *chunk) fill(n int, levels []byte, encoding format.Encoding, data []byte) (err error) {
	if n < 0 || n > maxValues {
		return fmt.Errorf("a page of %d values, at most %d are read", n, maxValues)
	}
	c.left, c.defs, c.done = n, nil, 0
	there := n
	if c.column.optional {
		defs, err := hybrid(levels, 1, n)
		if err != nil {
			return fmt.Errorf("definition levels: %w", err)
		}
		c.defs = make([]byte, n)
		there = 0
		for i, d := range defs {
			c.defs[i] = byte(d)
			there += int(d)
		}
	}
	switch encoding {
	case format.Plain:
		c.values, err = plainValues(c.column.kind, data, there)
	case plainDictionary, format.RLEDictionary:
		c.values, err = c.looked(data, there)
	default:
		c.values, err = deltaValues(c.column.kind, encoding, data, there)
	}
	return err
}

// plainDictionary is what older writers call format.RLEDictionary.
const plainDictionary format.Encoding = 2

// looked are n values by their place in the dictionary.
func (c *chunk) looked(data []byte, n int) ([]string, error) {
	if n == 0 {
		return nil, nil
	}
	if len(data) == 0 || data[0] > 32 {
		return nil, errors.New("indices without their width")
	}
	at, err := hybrid(data[1:], uint(data[0]), n)
	if err != nil {
		return nil, fmt.Errorf("indices: %w", err)
	}
	values := make([]string, n)
	for i, k := range at {
		if int64(k) >= int64(len(c.dict)) {
			return nil, fmt.Errorf("value %d of a dictionary of %d", k, len(c.dict))
		}
		values[i] = c.dict[k]
	}
	return values, nil
}

// hybrid reads n numbers of width bits, which are runs or packed.
func hybrid(b []byte, width uint, n int) ([]uint32, error) {
	out := make([]uint32, 0, min(n, 8*len(b)+1024))
	size := int(width+7) / 8
	for len(out) < n {
		head, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, io.ErrUnexpectedEOF
		}
		b = b[k:]
		if head&1 == 0 {
			if len(b) < size {
				return nil, io.ErrUnexpectedEOF
			}
			var v uint32
			for i, x := range b[:size] {
				v |= uint32(x) << (8 * i)
			}
			b = b[size:]
			out = append(out, slices.Repeat([]uint32{v}, int(min(head>>1, uint64(n-len(out)))))...)
			continue
		}
		for i := uint64(0); i < 8*(head>>1) && len(out) < n; i++ {
			bit := i * uint64(width)
			if (bit+uint64(width)+7)/8 > uint64(len(b)) {
				return nil, io.ErrUnexpectedEOF
			}
			var v uint64
			for k := uint64(0); k < 5 && bit/8+k < uint64(len(b)); k++ {
				v |= uint64(b[bit/8+k]) << (8 * k)
			}
			out = append(out, uint32(v>>(bit%8)&(1<<width-1)))
		}
		b = b[min(uint64(len(b)), (head>>1)*uint64(width)):]
	}
	return out, nil
}

// plainValues are n values one behind the other.
func plainValues(kind format.Type, b []byte, n int) ([]string, error) {
	if n < 0 || n > len(b)/4 {
		return nil, fmt.Errorf("%d values in %d bytes", n, len(b))
	}
	values := make([]string, n)
	for i := range values {
		size := 4
		switch kind {
		case format.Int64:
			size = 8
		case format.ByteArray:
			if len(b) < 4 {
				return nil, io.ErrUnexpectedEOF
			}
			size = int(binary.LittleEndian.Uint32(b))
			b = b[4:]
		}
		if size < 0 || len(b) < size {
			return nil, io.ErrUnexpectedEOF
		}
		switch kind {
		case format.Int32:
			values[i] = strconv.Itoa(int(int32(binary.LittleEndian.Uint32(b))))
		case format.Int64:
			values[i] = strconv.FormatInt(int64(binary.LittleEndian.Uint64(b)), 10)
		default:
			values[i] = strings.Clone(string(b[:size]))
		}
		b = b[size:]
	}
	return values, nil
}
