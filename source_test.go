package vitserve_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/patch"
)

func names(sources iter.Seq[vitserve.Source]) (all []string) {
	for s := range sources {
		name := s.Name + "=" + s.Label
		if s.Err() != nil {
			name += "!" + s.Err().Error()
		}
		all = append(all, filepath.ToSlash(name))
	}
	return all
}

func TestReaderOfSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(data), 0o644))
		return path
	}
	at := func(names ...string) (all []string) {
		for _, n := range names {
			all = append(all, filepath.ToSlash(dir)+"/"+n)
		}
		return all
	}
	banana := string(read(t, "banana.jpg"))
	write("set/b/2.jpg", banana)
	write("set/a/1.PNG", "broken is for reading to find")
	write("set/a/unnamed", banana)
	write("set/a/notes.md", "no picture")
	write("set/.hidden/3.jpg", banana)
	write("empty/notes.md", "no picture")
	require.Equal(t, at("set/a/1.PNG=a", "set/a/unnamed=a", "set/b/2.jpg=b"), names(vitserve.Sources(filepath.Join(dir, "set"))))
	require.Equal(t, at("empty=!no pictures in this folder", "gone.jpg=!no such file"), names(vitserve.Files(filepath.Join(dir, "empty"), filepath.Join(dir, "gone.jpg"))))

	list := write("list.txt", "set/b/2.jpg\r\n\nset/a/1.PNG\n"+filepath.ToSlash(dir)+"/x.jpg")
	require.Equal(t, at("set/b/2.jpg=b", "set/a/1.PNG=a", "x.jpg="+filepath.Base(dir)), names(vitserve.Sources(list)))
	table := write("labels.csv", "label,file,more\nbanana,set/b/2.jpg,1\n\"a, b\",set/a/1.PNG,2\n")
	require.Equal(t, at("set/b/2.jpg=banana", "set/a/1.PNG=a, b"), names(vitserve.Sources(table)))
	bare := write("bare.csv", "file\nset/b/2.jpg\n")
	require.Equal(t, at("set/b/2.jpg="), names(vitserve.CSV(bare)))
	for file, text := range map[string]string{"a.csv": "name,label\nx,y\n", "b.csv": "file,label\nx\n", "c.csv": "", "d.txt": strings.Repeat("x", 100_000)} {
		all := slices.Collect(vitserve.Sources(write(file, text)))
		require.NotEmpty(t, all)
		require.Error(t, all[len(all)-1].Err(), file)
	}
	require.Len(t, names(vitserve.Sources(filepath.Join(dir, "no.csv"), filepath.Join(dir, "no.tar"), list)), 5)

	m := open(t, "starter")
	v, err := m.Evaluate(t.Context(), vitserve.CSV(table), vitserve.StreamOptions{}, nil)
	require.NoError(t, err)
	require.Equal(t, vitserve.Tally{Pictures: 1, First: 1, Five: 1}, v.All)
	require.Equal(t, 1, v.LeftOut)
}

func TestTar(t *testing.T) {
	banana, pizza := read(t, "banana.jpg"), read(t, "pizza.jpg")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range []struct {
		name string
		data []byte
	}{
		{"./", nil}, {"000.cls", []byte("18\n")}, {"000.jpg", banana}, {"001.jpg", pizza}, {"001.left.png", []byte("broken")}, {"001.cls", []byte("7")},
		{"deep/002.data", banana}, {"deep/002.json", []byte("{}")}, {"deep/._003.jpg", banana}, {"003.jpg", pizza},
	} {
		h := &tar.Header{Name: e.name, Size: int64(len(e.data)), Mode: 0o644, Typeflag: tar.TypeReg}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write(e.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	path := filepath.Join(t.TempDir(), "shard.tar")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	shard := filepath.ToSlash(path) + "/"
	require.Equal(t, []string{shard + "000.jpg=18", shard + "001.jpg=7", shard + "001.left.png=7", shard + "deep/002.data=", shard + "003.jpg="}, names(vitserve.Sources(path)))

	m := open(t, "starter")
	results := collect(t, m.Stream(t.Context(), vitserve.Tar(path), vitserve.StreamOptions{Batch: 2}))
	require.Equal(t, "banana", m.Checkpoint.Top(results[0].Logits, 1, 0)[0].Label)
	require.ErrorIs(t, results[2].Err, patch.ErrFormat)
	require.Equal(t, results[1].Logits, results[4].Logits)

	for cut := 0; cut < b.Len(); cut += 997 {
		require.NoError(t, os.WriteFile(path, b.Bytes()[:cut], 0o644))
		for s := range vitserve.Tar(path) {
			_, _ = s.Read(t.Context())
		}
	}
	require.NoError(t, os.WriteFile(path, b.Bytes()[:3000], 0o644))
	all := slices.Collect(vitserve.Tar(path))
	require.Error(t, all[len(all)-1].Err(), "a shard that was cut off says so")
}

// FuzzTar: no bytes make the reader of shards fail otherwise than by an error.
func FuzzTar(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"0.jpg", "0.cls", "1.png"} {
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Size: 3, Mode: 0o600})); err != nil {
			f.Fatal(err)
		}
		fmt.Fprint(w, "\xff\xd8\xff")
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "f.tar")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		for s := range vitserve.Tar(path) {
			got, err := s.Read(t.Context())
			require.True(t, err != nil || len(got) <= len(data))
		}
	})
}
