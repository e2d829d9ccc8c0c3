package parquet_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	reference "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/score/parquet"
)

type prediction struct {
	Index int32   `parquet:"index"`
	Label string  `parquet:"label"`
	Score float32 `parquet:"score"`
}

type row struct {
	Key       string       `parquet:"key"`
	Label     *string      `parquet:"label,optional"`
	Index     *int32       `parquet:"index,optional"`
	Score     *float32     `parquet:"score,optional"`
	Embedding []float32    `parquet:"embedding,list,optional"`
	TopK      []prediction `parquet:"topk,list,optional"`
}

var columns = []parquet.Column{
	{Name: "key", Kind: parquet.Key}, {Name: "label", Kind: parquet.Text}, {Name: "index", Kind: parquet.Int},
	{Name: "score", Kind: parquet.Float}, {Name: "embedding", Kind: parquet.Floats}, {Name: "topk", Kind: parquet.Predictions},
}

func made(i int) (values []any, want row) {
	want.Key = fmt.Sprintf("photo-%d.jpg", i)
	values = []any{want.Key, nil, nil, nil, nil, nil}
	if i%7 == 3 {
		return values, want
	}
	label, index, score := fmt.Sprintf("label %d", i%10), int32(i%10), float32(i)/7
	want.Label, want.Index, want.Score = &label, &index, &score
	values[1], values[2], values[3] = label, index, score
	for k := range 16 {
		want.Embedding = append(want.Embedding, float32(i*k))
	}
	var top []parquet.Prediction
	for k := range i % 4 {
		p := prediction{int32(k), fmt.Sprint("l", k), float32(k)}
		want.TopK, top = append(want.TopK, p), append(top, parquet.Prediction(p))
	}
	values[4], values[5] = want.Embedding, top
	return values, want
}

// TestWrite: what is written is what the library's own reader reads, over
// several pages and groups.
func TestWrite(t *testing.T) {
	const n = 70_000
	var file bytes.Buffer
	w := parquet.NewWriter(&file, columns)
	for i := range n {
		values, _ := made(i)
		require.NoError(t, w.Write(values))
	}
	require.NoError(t, w.Close(map[string]string{"a": "b"}))
	r := bytes.NewReader(file.Bytes())
	f, err := reference.OpenFile(r, r.Size())
	require.NoError(t, err)
	require.Len(t, f.RowGroups(), 2)
	said, err := parquet.Metadata(r, r.Size())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "b"}, said)
	rows := reference.NewGenericReader[row](f)
	require.Equal(t, int64(n), rows.NumRows())
	got := make([]row, 1000)
	for i := 0; i < n; {
		k, err := rows.Read(got)
		if i+k < n {
			require.NoError(t, err)
		}
		for _, g := range got[:k] {
			_, want := made(i)
			if len(want.TopK) == 0 {
				require.Empty(t, g.TopK)
				g.TopK = want.TopK
			}
			require.Equal(t, want, g)
			i++
		}
		clear(got)
	}
	// And its flat columns by the own reader.
	i := 0
	require.NoError(t, parquet.Read(r, r.Size(), func(names []string) ([]int, error) {
		require.Equal(t, []string{"key", "label", "index"}, names)
		return []int{1, 0, -1, 2}, nil
	}, func(got []string) bool {
		_, want := made(i)
		expected := []string{"", want.Key, "", ""}
		if want.Label != nil {
			expected[0], expected[3] = *want.Label, fmt.Sprint(*want.Index)
		}
		require.Equal(t, expected, got)
		i++
		return true
	}))
	require.Equal(t, n, i)
}

// entry is a row of a manifest as others write it.
type entry struct {
	File  string  `parquet:"file"`
	Label *string `parquet:"label,optional,dict"`
	Class int64   `parquet:"class"`
	Delta string  `parquet:"delta,delta"`
	Other []int32 `parquet:"other,list"`
	Size  int32   `parquet:"size,delta"`
}

func manifest(t testing.TB, n int, o ...reference.WriterOption) []byte {
	var file bytes.Buffer
	w := reference.NewGenericWriter[entry](&file, o...)
	for i := range n {
		e := entry{File: fmt.Sprintf("folder/%d.jpg", i), Class: int64(i) << 33, Delta: strings.Repeat("x", i%5) + fmt.Sprint(i), Other: []int32{1, 2}, Size: int32(-i)}
		if i%3 > 0 {
			label := fmt.Sprint("label ", i%11)
			e.Label = &label
		}
		_, err := w.Write([]entry{e})
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return file.Bytes()
}

// TestRead: manifests in every compression, and in pages of both versions.
func TestRead(t *testing.T) {
	const n = 3000
	for _, version := range []int{1, 2} {
		for name, o := range map[string]reference.WriterOption{
			"none": reference.Compression(&reference.Uncompressed), "snappy": reference.Compression(&reference.Snappy),
			"gzip": reference.Compression(&reference.Gzip), "zstd": reference.Compression(&reference.Zstd),
		} {
			data := manifest(t, n, o, reference.DataPageVersion(version), reference.PageBufferSize(4096), reference.MaxRowsPerRowGroup(1000))
			i := 0
			err := parquet.Read(bytes.NewReader(data), int64(len(data)), func(names []string) ([]int, error) {
				require.Equal(t, []string{"file", "label", "class", "delta", "size"}, names)
				return []int{0, 1, 2, 3, 4}, nil
			}, func(got []string) bool {
				label := ""
				if i%3 > 0 {
					label = fmt.Sprint("label ", i%11)
				}
				require.Equal(t, []string{fmt.Sprintf("folder/%d.jpg", i), label, fmt.Sprint(int64(i) << 33), strings.Repeat("x", i%5) + fmt.Sprint(i), fmt.Sprint(-i)}, got)
				i++
				return true
			})
			require.NoError(t, err, "%s, pages of version %d", name, version)
			require.Equal(t, n, i)
		}
	}
	data := manifest(t, 10, reference.Compression(&reference.Brotli))
	err := parquet.Read(bytes.NewReader(data), int64(len(data)), func([]string) ([]int, error) { return []int{0}, nil }, func([]string) bool { return true })
	require.ErrorContains(t, err, "column file: compression BROTLI, want none, SNAPPY, GZIP or ZSTD")
}

func FuzzRead(f *testing.F) {
	for _, o := range []reference.WriterOption{reference.Compression(&reference.Uncompressed), reference.Compression(&reference.Zstd)} {
		f.Add(manifest(f, 20, o, reference.DataPageVersion(1)))
		f.Add(manifest(f, 20, o, reference.DataPageVersion(2)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rows := 0
		_ = parquet.Read(bytes.NewReader(data), int64(len(data)), func(names []string) ([]int, error) {
			all := make([]int, len(names))
			for i := range all {
				all[i] = i
			}
			return all, nil
		}, func([]string) bool { rows++; return rows < 10_000 })
	})
}
