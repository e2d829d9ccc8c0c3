package models

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pickleMemory is what reading a pickle may allocate: its text once more, and
// the values of its operations.
func pickleMemory(size int) uint64 { return uint64(size) + maxPickleOps*200 }

// TestPickleBombs: 30 MB of any operation, or of any few together, take
// seconds and memory of their size. Each program is its start and then the
// loop, again and again.
func TestPickleBombs(t *testing.T) {
	const size = 30 << 20
	long := func(head string, n int) string {
		return head + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) + strings.Repeat("\xff", n)
	}
	tensor := "ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x18tQq\x01"
	for _, c := range []struct{ name, start, loop string }{
		{"marks", "", "("},
		{"marks and values", "", "(N"},
		{"closed marks", "", "(t"},
		{"nested tuples", "N", "\x85"},
		{"tuples of three", "", "NNN\x87"},
		{"empty tuples", "", ")"},
		{"lists", "", "]"},
		{"lists that are kept", "", "]\x94"},
		{"one long list", "](", "K\x01"},
		{"a list by elements", "]", "Na"},
		{"a list of itself", "]\x94", "h\x00a"},
		{"nested lists", "]", "]a"},
		{"dictionaries", "", "}"},
		{"entries of one name", "}X\x01\x00\x00\x00aq\x000", "h\x00Ns"},
		{"entries", "}", "U\x01aNs"},
		{"dictionaries from marks", "", "(U\x01aNd"},
		{"ordered dictionaries", "ccollections\nOrderedDict\nq\x00)q\x010", "h\x00h\x01R"},
		{"dictionaries of one long list", "ccollections\nOrderedDict\nq\x00](" + strings.Repeat("U\x01aN\x86", 100_000) + "e\x85q\x010", "h\x00h\x01R"},
		{"sets", "", "\x8f"},
		{"frozen sets", "", "(N\x91"},
		{"memo", "N", "\x94"},
		{"scattered memo", "N", "r\x00\x00\x01\x00r\xff\xff\xff\xff"},
		{"copies", "N", "2"},
		{"classes", "", "ctorch\nFloatStorage\n"},
		{"objects", "cargparse\nNamespace\nq\x00)q\x010", "h\x00h\x01\x81"},
		{"attributes", "cargparse\nNamespace\n)\x81", "}b"},
		{"one long number", long("\x8b", size), "0"},
		{"long numbers", "", long("\x8b", 1000)},
		{"one long text", long("X", size-10), "0"},
		{"texts", "", "U\x01a"},
		{"bytes", "", "C\x01a"},
		{"floats", "", "G\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"frames", "", "\x95\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"tensors of a shape of many sides", tensor + "K\x00(" + strings.Repeat("K\x01", 100_000) + "tq\x02h\x02\x89tq\x03", "h\x00h\x03R"},
		{"nothing", "", "N0"},
		{"a long name again and again", "X" + string(binary.LittleEndian.AppendUint32(nil, 1<<20)) + strings.Repeat("numpy.aa", 1<<17) + "q\x000", "h\x00h\x00\x93"},
		{"objects of numpy", "cnumpy.core.multiarray\nscalar\nq\x00)q\x010", "h\x00h\x01R}b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := []byte(c.start)
			if n := size - len(text); n > 0 {
				text = append(text, strings.Repeat(c.loop, n/len(c.loop))...)
			}
			text = append(text, 'N', '.')
			require.Less(t, len(text), maxPickle)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := unpickle(text)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("%v, %d MB allocated: %v", took, allocated>>20, err)
			require.LessOrEqual(t, allocated, pickleMemory(len(text)))
			require.Less(t, took, 5*time.Second)
		})
	}
}

// TestPickleValues reads one value of each kind.
func TestPickleValues(t *testing.T) {
	for _, c := range []struct {
		text string
		want any
	}{
		{"N.", nil},
		{"\x88.", true},
		{"\x89.", false},
		{"K\xff.", 255},
		{"M\xff\xff.", 65535},
		{"J\xff\xff\xff\xff.", -1},
		{"J\xff\xff\xff\x7f.", 1<<31 - 1},
		{"\x8a\x00.", 0},
		{"\x8a\x01\xff.", -1},
		{"\x8a\x02\xff\x00.", 255},
		{"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", -1 << 63},
		{"\x8b\x02\x00\x00\x00\x00\x01.", 256},
		{"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00.", bystander{}},
		{"U\x02ab.", "ab"},
		{"\x8d\x02\x00\x00\x00\x00\x00\x00\x00ab.", "ab"},
		{"B\x02\x00\x00\x00ab.", bystander{}},
		{").", tuple(nil)},
		{"(K\x01K\x02t.", tuple{1, 2}},
		{"NK\x01K\x02\x86.", tuple{1, 2}},
		{"](K\x01K\x02e.", &list{[]any{1, 2}}},
		{"(K\x01l.", &list{[]any{1}}},
		{"}(U\x01aK\x01U\x01bK\x02K\x05Nu.", &dict{[]setting{{"a", 1}, {"b", 2}}}},
		{"(U\x01aK\x01d.", &dict{[]setting{{"a", 1}}}},
		{"\x80\x05\x95\x03\x00\x00\x00\x00\x00\x00\x00]\x94.", &list{}},
		{"K\x07q\x050h\x05.", 7},
		{"K\x07\x94K\x08\x94h\x00.", 7},
		{"K\x01(K\x020" + "0.", 1},
		{"K\x01(K\x021.", 1},
		{"K\x012\x86.", tuple{1, 1}},
		{"ccollections\nOrderedDict\n](U\x01aK\x01\x86e\x85R.", &dict{[]setting{{"a", 1}}}},
		{"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)RNb.", &dict{}},
		{"cargparse\nNamespace\n)\x81}b.", bystander{}},
		{"(cargparse\nNamespace\nK\x01o.", bystander{}},
	} {
		got, err := unpickle([]byte(c.text))
		require.NoError(t, err, "%q", c.text)
		require.Equal(t, c.want, got, "%q", c.text)
	}
}

func TestPickleErrors(t *testing.T) {
	for text, want := range map[string]string{
		".": "empty stack", "0.": "not set", "1.": "not set", "t.": "not set", "K\x01(\x85.": "empty stack", "(K\x01\x86.": "empty stack", "a.": "empty stack", "N(a.": "empty stack",
		"h\x00.": "before it is there", "}K\x01a.": "into a dictionary by operation 0x61", "]NNs.": "into a list", "}(Nu.": "a key without its value", "}]Ns.": "a list as a key",
		"N)R.": "a call of None", "cargparse\nNamespace\nNR.": "want a tuple", "K\x01}b.": "attributes of a number", "\x97.": "0x97", "\x82\x01.": "0x82", "I1\n.": "protocol 0",
		"\x80\x06.": "protocol 6", "(o.": "without its class", "K\x01K\x02\x93.": "no text", "ccollections\nOrderedDict\nN\x85R.": "want a list of pairs",
		"ccollections\nOrderedDict\n](Ne\x85R.": "want pairs", "c" + strings.Repeat("x", 1000) + "\ny\n.": "it names xxx",
	} {
		_, err := unpickle([]byte(text))
		require.ErrorContains(t, err, want, "%q", text)
		require.Less(t, len(err.Error()), 300)
	}
}

// FuzzLegacy: a file of the format before 1.6 names storages within it, and
// tensors within those.
func FuzzLegacy(f *testing.F) {
	for _, name := range []string{"legacy", "state_legacy", "beside_legacy"} {
		data, err := os.ReadFile(filepath.Join("testdata", "pth", name+".pth"))
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := openLegacy(bytes.NewReader(data), int64(len(data)))
		if l == nil || err != nil {
			return
		}
		var total int64
		for _, s := range l.storages {
			total += s.Size()
		}
		require.LessOrEqual(t, total, int64(len(data)))
		a := &archive{file: bytes.NewReader(data), size: int64(len(data)), old: l}
		tensors, _, err := a.stateDict()
		if err != nil {
			return
		}
		if _, _, size, err := headerOf(tensors); err != nil || size > 4*int64(len(data)) {
			return
		}
		for _, x := range tensors {
			require.NoError(t, x.check())
			_ = a.copy(io.Discard, x)
		}
	})
}

// FuzzPickle: whatever a pickle says, reading it neither panics nor
// makes more than it says, and every tensor lies within its storage.
func FuzzPickle(f *testing.F) {
	for _, name := range []string{"state", "training", "dino", "evil", "module"} {
		z, err := zip.OpenReader(filepath.Join("testdata", "pth", name+".pth"))
		require.NoError(f, err)
		for _, r := range z.File {
			if strings.HasSuffix(r.Name, "data.pkl") {
				in, err := r.Open()
				require.NoError(f, err)
				data, err := io.ReadAll(in)
				require.NoError(f, err)
				f.Add(data)
			}
		}
		require.NoError(f, z.Close())
	}
	for _, loop := range []string{"(", "(N", "N\x85", "]\x94", "}", "\x8b\x08\x00\x00\x00aaaaaaaa", "(U\x01aNd", "Nr\x00\x00\x01\x00", "\x8fN\x90"} {
		f.Add([]byte(strings.Repeat(loop, 50) + "N."))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u := &unpickler{rest: string(data), memo: map[uint32]any{}}
		_, _ = u.run()
		// Each operation leaves a value, and is a byte or an element that
		// was walked once more.
		require.LessOrEqual(t, len(u.stack)+len(u.marks)+len(u.memo), len(data))
		require.LessOrEqual(t, u.ops, maxPickleOps+len(data))
		top, err := unpickle(data)
		if err != nil {
			return
		}
		tensors, _ := tensorsOf(top)
		for _, x := range tensors {
			require.NoError(t, x.check())
		}
		_, _, _, _ = headerOf(tensors)
	})
}
