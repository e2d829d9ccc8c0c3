// Package parquet writes rows of scores, and reads the columns of a manifest,
// as Apache Parquet. The words of the format and its encodings are
// parquet-go's; its generic writer and reader are left out, which alone would
// take a fifth of the program's build (docs/decisions/0013-scale.md).
//
// https://github.com/apache/parquet-format
package parquet

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/plain"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Kind is what a column holds. All but Key may be null.
type Kind int

// Kinds.
const (
	Key         Kind = iota // string that is always there
	Text                    // string
	Int                     // int32
	Float                   // float32
	Floats                  // []float32
	Predictions             // []Prediction
)

// Prediction is an element of a column of Predictions.
type Prediction struct {
	Index int32
	Label string
	Score float32
}

// Column is a column to write.
type Column struct {
	Name string
	Kind Kind
}

// A row group ends where either is reached, so that writing takes little
// memory: a group's columns lie in memory until it is written.
const (
	groupRows  = 64 << 10
	groupBytes = 32 << 20
	pageBytes  = 1 << 20
)

var magic = []byte("PAR1")

// Writer writes a file, column by column in groups of rows.
type Writer struct {
	w       io.Writer
	at      int64
	columns []Column
	leaves  [][]*leaf // of each column
	pack    *zstd.Encoder
	rows    int64 // of the group
	meta    format.FileMetaData
	err     error
}

// leaf is a column of plain values with its levels.
type leaf struct {
	path           []string
	kind           format.Type
	maxDef, maxRep byte
	defs, reps     []byte // one a value
	values         []byte // PLAIN
	pages          []byte // finished, with their headers
	raw            int64  // bytes of the pages before compression
	count          int64  // values in the pages
	nulls          int64
}

// NewWriter begins a file.
func NewWriter(w io.Writer, columns []Column) *Writer {
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err) // of options, which are these
	}
	f := &Writer{w: w, columns: columns, pack: pack}
	f.meta.Version = 1
	f.meta.CreatedBy = "vitserve"
	f.element(format.SchemaElement{Name: "row", NumChildren: thrift.New(int32(len(columns)))})
	for _, c := range columns {
		f.leaves = append(f.leaves, f.schema(c))
	}
	f.write(magic)
	return f
}

func (f *Writer) element(e format.SchemaElement) { f.meta.Schema = append(f.meta.Schema, e) }

// text makes an element one of strings.
func text(e format.SchemaElement) format.SchemaElement {
	e.ConvertedType = thrift.New(deprecated.UTF8)
	e.LogicalType = format.LogicalType{Value: new(format.StringType)}
	return e
}

// schema adds the elements of a column and returns its leaves.
func (f *Writer) schema(c Column) []*leaf {
	one := func(repetition format.FieldRepetitionType, name string, kind format.Type) format.SchemaElement {
		e := format.SchemaElement{Type: thrift.New(kind), RepetitionType: thrift.New(repetition), Name: name}
		if kind == format.ByteArray {
			e = text(e)
		}
		return e
	}
	group := func(repetition format.FieldRepetitionType, name string, children int32) format.SchemaElement {
		return format.SchemaElement{RepetitionType: thrift.New(repetition), Name: name, NumChildren: thrift.New(children)}
	}
	list := func() {
		e := group(format.Optional, c.Name, 1)
		e.ConvertedType, e.LogicalType = thrift.New(deprecated.List), format.LogicalType{Value: new(format.ListType)}
		f.element(e)
		f.element(group(format.Repeated, "list", 1))
	}
	switch c.Kind {
	case Key:
		f.element(one(format.Required, c.Name, format.ByteArray))
		return []*leaf{{path: []string{c.Name}, kind: format.ByteArray}}
	case Floats:
		list()
		f.element(one(format.Required, "element", format.Float))
		return []*leaf{{path: []string{c.Name, "list", "element"}, kind: format.Float, maxDef: 2, maxRep: 1}}
	case Predictions:
		list()
		f.element(group(format.Required, "element", 3))
		var leaves []*leaf
		for _, m := range []struct {
			name string
			kind format.Type
		}{{"index", format.Int32}, {"label", format.ByteArray}, {"score", format.Float}} {
			f.element(one(format.Required, m.name, m.kind))
			leaves = append(leaves, &leaf{path: []string{c.Name, "list", "element", m.name}, kind: m.kind, maxDef: 2, maxRep: 1})
		}
		return leaves
	}
	kind := map[Kind]format.Type{Text: format.ByteArray, Int: format.Int32, Float: format.Float}[c.Kind]
	f.element(one(format.Optional, c.Name, kind))
	return []*leaf{{path: []string{c.Name}, kind: kind, maxDef: 1}}
}

// Write adds a row: a value a column, as its kind says, or nil.
func (f *Writer) Write(row []any) error {
	if f.err != nil {
		return f.err
	}
	if len(row) != len(f.columns) {
		panic(fmt.Sprintf("parquet: a row of %d values, want %d", len(row), len(f.columns)))
	}
	var held int
	for i, v := range row {
		l := f.leaves[i]
		switch v := v.(type) {
		case nil:
			if f.columns[i].Kind == Key {
				panic(fmt.Sprintf("parquet: column %s is null", f.columns[i].Name))
			}
			for _, l := range l {
				l.null(0)
			}
		case []float32:
			if len(v) == 0 {
				l[0].null(1)
			}
			for k, x := range v {
				l[0].levels(k)
				l[0].values = plain.AppendFloat(l[0].values, x)
			}
		case []Prediction:
			if len(v) == 0 {
				for _, l := range l {
					l.null(1)
				}
			}
			for k, p := range v {
				for _, l := range l {
					l.levels(k)
				}
				l[0].values = plain.AppendInt32(l[0].values, p.Index)
				l[1].values = plain.AppendByteArrayString(l[1].values, p.Label)
				l[2].values = plain.AppendFloat(l[2].values, p.Score)
			}
		default:
			l[0].levels(0)
			l[0].scalar(v)
		}
		for _, l := range l {
			if len(l.values)+len(l.defs)+len(l.reps) >= pageBytes {
				f.page(l)
			}
			held += len(l.pages)
		}
	}
	if f.rows++; f.rows == groupRows || held >= groupBytes {
		f.group()
	}
	return f.err
}

func (l *leaf) scalar(v any) {
	switch v := v.(type) {
	case string:
		l.values = plain.AppendByteArrayString(l.values, v)
	case int32:
		l.values = plain.AppendInt32(l.values, v)
	case float32:
		l.values = plain.AppendFloat(l.values, v)
	default:
		panic(fmt.Sprintf("parquet: a value of type %T", v))
	}
}

// levels are those of element k of a list, or of a value that is there.
func (l *leaf) levels(k int) {
	l.defs = append(l.defs, l.maxDef)
	if l.maxRep > 0 {
		l.reps = append(l.reps, byte(min(k, 1)))
	}
}

// null is a value that is not there: 0, or 1 where an empty list is.
func (l *leaf) null(def byte) {
	l.nulls++
	l.defs = append(l.defs, def)
	if l.maxRep > 0 {
		l.reps = append(l.reps, 0)
	}
}

// page ends the leaf's page.
func (f *Writer) page(l *leaf) {
	if len(l.defs) == 0 || f.err != nil {
		return
	}
	var raw []byte
	if l.maxRep > 0 {
		raw = appendLevels(raw, l.reps)
	}
	if l.maxDef > 0 {
		raw = appendLevels(raw, l.defs)
	}
	raw = append(raw, l.values...)
	packed := f.pack.EncodeAll(raw, nil)
	head, err := thrift.Marshal(new(thrift.CompactProtocol), &format.PageHeader{
		Type: format.DataPage, UncompressedPageSize: int32(len(raw)), CompressedPageSize: int32(len(packed)),
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues: int32(len(l.defs)), Encoding: format.Plain, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		}),
	})
	if err != nil {
		f.err = err
		return
	}
	l.pages = append(append(l.pages, head...), packed...)
	l.raw += int64(len(head) + len(raw))
	l.count += int64(len(l.defs))
	l.defs, l.reps, l.values = l.defs[:0], l.reps[:0], l.values[:0]
}

// appendLevels adds levels of up to 3 as runs behind their length.
func appendLevels(b, levels []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	for i := 0; i < len(levels); {
		n := i + 1
		for n < len(levels) && levels[n] == levels[i] {
			n++
		}
		b = binary.AppendUvarint(b, uint64(n-i)<<1)
		b = append(b, levels[i])
		i = n
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// group writes the columns of the rows so far.
func (f *Writer) group() {
	if f.rows == 0 || f.err != nil {
		return
	}
	g := format.RowGroup{NumRows: f.rows, FileOffset: f.at, Ordinal: int16(len(f.meta.RowGroups))}
	for _, of := range f.leaves {
		for _, l := range of {
			f.page(l)
			encodings := []format.Encoding{format.Plain}
			if l.maxDef > 0 {
				encodings = append(encodings, format.RLE)
			}
			g.Columns = append(g.Columns, format.ColumnChunk{MetaData: format.ColumnMetaData{
				Type: l.kind, Encoding: encodings, PathInSchema: l.path, Codec: format.Zstd, NumValues: l.count,
				TotalUncompressedSize: l.raw, TotalCompressedSize: int64(len(l.pages)), DataPageOffset: f.at,
				Statistics: format.Statistics{NullCount: l.nulls},
			}})
			g.TotalByteSize += l.raw
			g.TotalCompressedSize += int64(len(l.pages))
			f.write(l.pages)
			l.pages, l.raw, l.count, l.nulls = l.pages[:0], 0, 0, 0
		}
	}
	f.meta.RowGroups = append(f.meta.RowGroups, g)
	f.meta.NumRows += f.rows
	f.rows = 0
}

func (f *Writer) write(b []byte) {
	if f.err == nil {
		var n int
		n, f.err = f.w.Write(b)
		f.at += int64(n)
	}
}

// Close writes what is left and the footer, with words of the caller's.
func (f *Writer) Close(said map[string]string) error {
	f.group()
	for _, name := range slices.Sorted(maps.Keys(said)) {
		f.meta.KeyValueMetadata = append(f.meta.KeyValueMetadata, format.KeyValue{Key: name, Value: said[name]})
	}
	if f.err != nil {
		return f.err
	}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), &f.meta)
	if err != nil {
		return err
	}
	f.write(footer)
	f.write(binary.LittleEndian.AppendUint32(nil, uint32(len(footer))))
	f.write(magic)
	return f.err
}
