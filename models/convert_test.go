package models

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// contents returns the tensors of a safetensors file as they are stored.
func contents(t testing.TB, path string) map[string]string {
	t.Helper()
	f, err := openFile(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.close()) }()
	out := map[string]string{}
	for _, e := range f.head.entries {
		out[e.name] = string(e.dtype) + " " + fmt.Sprint(e.shape) + " " + string(f.bytes(e))
	}
	return out
}

// TestConvert compares with what PyTorch itself loads and saves:
// testdata/make_pth.py.
func TestConvert(t *testing.T) {
	for _, c := range []struct {
		src, want, key string
		skipped        []string
	}{
		{"state.pth", "state.safetensors", "", nil},
		{"ordered.pth", "linear.safetensors", "", nil},
		{"training.pth", "linear.safetensors", "model", nil},
		{"dino.pth", "linear.safetensors", "teacher", nil},
		{"legacy.pth", "linear.safetensors", "", nil},
		{"state_legacy.pth", "state.safetensors", "", nil},
		{"ema.pth", "linear.safetensors", "state_dict_ema", nil},
		{"model_ema.pth", "linear.safetensors", "model_ema", nil},
		{"beside.pth", "linear.safetensors", "state_dict", nil},
		{"beside4.pth", "linear.safetensors", "state_dict", nil},
		{"beside_legacy.pth", "linear.safetensors", "state_dict", nil},
		{"defaultdict.pth", "linear.safetensors", "", nil},
	} {
		t.Run(c.src, func(t *testing.T) {
			dst := filepath.Join(t.TempDir(), "model.safetensors")
			got, err := Convert(dst, filepath.Join("testdata", "pth", c.src))
			require.NoError(t, err)
			want := contents(t, filepath.Join("testdata", "pth", c.want))
			require.Equal(t, want, contents(t, dst))
			info, err := os.Stat(dst)
			require.NoError(t, err)
			require.Equal(t, &Converted{Tensors: len(want), Bytes: info.Size(), Key: c.key, Skipped: c.skipped}, got)

			_, err = Convert(dst, filepath.Join("testdata", "pth", c.src))
			require.ErrorContains(t, err, "exists already")
		})
	}
}

func TestConvertRefuses(t *testing.T) {
	for src, want := range map[string]string{
		"evil.pth":          "names posix.system",
		"module.pth":        "names torch.nn.modules.linear.Linear",
		"nothing.pth":       "no tensors",
		"state.safetensors": "not a zip file",
		"none.pth":          "no such file",
		"":                  "not a regular file",
	} {
		dir := t.TempDir()
		_, err := Convert(filepath.Join(dir, "out.safetensors"), filepath.Join("testdata", "pth", src))
		require.ErrorContains(t, err, want, src)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, "%s leaves files behind", src)
	}
}

// rezip copies an archive with its records changed.
func rezip(t testing.TB, src string, method uint16, change func(name string, data []byte) []byte) []byte {
	t.Helper()
	z, err := zip.OpenReader(src)
	require.NoError(t, err)
	defer z.Close()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		if data = change(f.Name, data); data == nil {
			continue
		}
		to, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: method})
		require.NoError(t, err)
		_, err = to.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// TestConvertLegacyDamaged: the format before 1.6, cut anywhere and with any
// byte of it changed, is read or refused, and nothing more.
func TestConvertLegacyDamaged(t *testing.T) {
	sound, err := os.ReadFile(filepath.Join("testdata", "pth", "legacy.pth"))
	require.NoError(t, err)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pth"), filepath.Join(dir, "out.safetensors")
	try := func(data []byte) error {
		require.NoError(t, os.WriteFile(in, data, 0o600))
		_, err := Convert(out, in)
		if err == nil {
			require.NoError(t, os.Remove(out))
		}
		return err
	}
	require.NoError(t, try(sound))
	for n := range sound {
		require.Error(t, try(sound[:n]), "%d bytes of %d", n, len(sound))
	}
	for at := range sound {
		for _, by := range []byte{1, 0x80, 0xff} {
			data := bytes.Clone(sound)
			data[at] ^= by
			_ = try(data)
		}
	}
	require.ErrorContains(t, try(bytes.Replace(sound, []byte("little_endianq\x02\x88"), []byte("little_endianq\x02\x89"), 1)), "big-endian")
	require.ErrorContains(t, try(bytes.Replace(sound, []byte("M\xe9\x03."), []byte("M\xe8\x03."), 1)), "before 1001")
	evil := bytes.Replace(sound, []byte("ccollections\nOrderedDict\n"), []byte("cposix\nsystem\n"), 1)
	require.ErrorContains(t, try(evil), "names posix.system")
}

func TestConvertDamaged(t *testing.T) {
	const src = "testdata/pth/state.pth"
	on := func(suffix string, change func([]byte) []byte) func(string, []byte) []byte {
		return func(name string, data []byte) []byte {
			if strings.HasSuffix(name, suffix) {
				return change(data)
			}
			return data
		}
	}
	same := func(_ string, data []byte) []byte { return data }
	for _, c := range []struct {
		name   string
		method uint16
		change func(string, []byte) []byte
		err    string
	}{
		{"sound", zip.Store, same, ""},
		{"compressed", zip.Deflate, same, "is compressed"},
		{"no storage", zip.Store, on("data/0", func([]byte) []byte { return nil }), "no record data/0"},
		{"short storage", zip.Store, on("data/0", func(b []byte) []byte { return b[:8] }), "record data/0 of 8 bytes"},
		{"no pickle", zip.Store, on("data.pkl", func([]byte) []byte { return nil }), "no data.pkl"},
		{"big endian", zip.Store, on("byteorder", func([]byte) []byte { return []byte("big") }), "byte order"},
		{"TorchScript", zip.Store, on("version", func([]byte) []byte { return nil }), ""},
		{"truncated pickle", zip.Store, on("data.pkl", func(b []byte) []byte { return b[:len(b)/2] }), "pickle"},
		{"empty pickle", zip.Store, on("data.pkl", func(b []byte) []byte { return b[:0:0] }), "pickle: truncated"},
		{"offset beyond the end", zip.Store, on("data.pkl", func(b []byte) []byte {
			return bytes.Replace(b, []byte("K\x08K\x02K\x03\x86"), []byte("K\x14K\x02K\x03\x86"), 1)
		}), "beyond the end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			in := filepath.Join(dir, "in.pth")
			require.NoError(t, os.WriteFile(in, rezip(t, src, c.method, c.change), 0o600))
			_, err := Convert(filepath.Join(dir, "out.safetensors"), in)
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
}

// TestPickleLengths: no length of a pickle is believed.
func TestPickleLengths(t *testing.T) {
	huge := binary.LittleEndian.AppendUint64(nil, 1<<62)
	for _, p := range []string{
		"\x80\x02\x8d" + string(huge), "\x80\x02\x8e" + string(huge), "\x80\x04\x95" + string(huge), "\x80\x02X\xff\xff\xff\x7f.", "\x80\x02\x8a\xff.", "\x80\x02ctorch\n",
		"\x80", "", "(lp0\n.", "\x80\x02\x8b\xff\xff\xff\xff.",
	} {
		_, err := unpickle([]byte(p))
		require.Error(t, err, "%q", p)
	}
	// A function as a key panics in the reader.
	_, err := unpickle([]byte("\x80\x02ccollections\nOrderedDict\n)Rctorch._utils\n_rebuild_tensor_v2\nK\x01s."))
	require.ErrorContains(t, err, "pickle")
}

func TestStridedCheck(t *testing.T) {
	s := storage{"F32", "0", 24}
	for _, c := range []struct {
		offset        int64
		shape, stride []int64
		ok            bool
	}{
		{0, []int64{4, 6}, []int64{6, 1}, true},
		{0, []int64{6, 4}, []int64{1, 6}, true},
		{23, nil, nil, true},
		{24, nil, nil, false},
		{1, []int64{4, 6}, []int64{6, 1}, false},
		{99, []int64{0}, []int64{1}, true},
		{0, []int64{25}, []int64{0}, false},
		{0, []int64{24}, []int64{0}, true},
		{0, []int64{2}, []int64{1 << 62}, false},
		{0, []int64{1 << 32, 1 << 32}, []int64{0, 0}, false},
		{0, []int64{2, 2, 2}, []int64{12, 12, 12}, false},
	} {
		err := strided{s, c.offset, c.shape, c.stride}.check()
		require.Equal(t, c.ok, err == nil, "%+v: %v", c, err)
	}
}

// TestConvertManySparseTensors: many tensors of two elements at the ends of
// one large storage are read in the time of what they hold.
func TestConvertManySparseTensors(t *testing.T) {
	const elements, tensors = 4 << 20, 20_000
	count := string(binary.LittleEndian.AppendUint32(nil, elements))
	stride := string(binary.LittleEndian.AppendUint32(nil, elements-1))
	var p strings.Builder
	p.WriteString("\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x000((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ" + count + "tQK\x00K\x02\x85J" + stride + "\x85\x89Ntq\x010")
	p.WriteString("}")
	for i := range tensors {
		fmt.Fprintf(&p, "U\x05%05dh\x00h\x01Rs", i)
	}
	p.WriteString(".")
	storage := make([]byte, 4*elements)
	copy(storage, "head")
	copy(storage[4*(elements-1):], "tail")
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pth"), filepath.Join(dir, "out.safetensors")
	require.NoError(t, os.WriteFile(in, rezip(t, "testdata/pth/state.pth", zip.Store, func(name string, data []byte) []byte {
		switch {
		case strings.HasSuffix(name, "data.pkl"):
			return []byte(p.String())
		case strings.HasSuffix(name, "data/0"):
			return storage
		}
		return data
	}), 0o600))
	start := time.Now()
	c, err := Convert(out, in)
	require.NoError(t, err)
	require.Equal(t, tensors, c.Tensors)
	require.Less(t, time.Since(start), 10*time.Second, "16 MB a tensor would be 320 GB")
	for name, x := range contents(t, out) {
		require.Equal(t, "F32 [2] headtail", x, name)
	}
}
