package jpeg

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBehind: what stands behind the only scan is read to the end of the image,
// as Pillow does: wrong segments are errors also where the file's end cuts them
// off, right ones may be cut off anywhere.
func TestBehind(t *testing.T) {
	data, err := os.ReadFile("../testdata/formats/420.jpg")
	require.NoError(t, err)
	picture := bytes.TrimSuffix(data, []byte("\xff\xd9"))
	require.NotEqual(t, len(data), len(picture))
	for _, c := range []struct {
		behind string
		whole  bool
	}{
		{"\xff\xd9", true},
		{"\xff\xfe\x00\x04ab\xff\xd9", true},
		{"\xff\xfe\x00\x00\xff\xd9", true}, // nobody has to understand it
		{"\xff\xfe\x12\x34ab", true},
		{"\xff\xdd\x00\x04\x00", true},
		{"\xff\xdd\x00", true},
		{"\xff\xdb\x00\x43\x01", true},
		{"\xff\xc4\x00\x1f\x00\x01\x02", true},
		{"\xff\xcc\x00\x04\x10\x05\xff\xd9", true},
		{"\xff\xdb\x00\x40\x00" + string(make([]byte, 61)) + "\xff\xd9", true}, // the table would go on
		{"\xff\xdb\x00\x40\x00" + string(make([]byte, 61)) + "\xff\xd9\x00\x00", false},
		{"\xff\xcc\xcc\xcc\xcc\xcc", false},
		{"\xff\xcc\x00\x04\x20\x05\xff\xd9", false},
		{"\xff\xcc\x00\x04\x00\x05\xff\xd9", false},
		{"\xff\xdd\x00\x05", false},
		{"\xff\xdd\x81\xff\xd7\x81", false},
		{"\xff\xdb\x00\x43\x04", false},
		{"\xff\xc0\x40", false},
		{"\xff\xda\x00\x0c\x04\x01", false},
		{"\xff\xc4\x00\x00\xff\xd9", false},
		{"\xff\xc4\x00\x1f\x00" + string(bytes.Repeat([]byte{9}, 16)), false},
		{"\xff\xc4\x00\x13\x00\x01" + string(make([]byte, 15)) + "\x00", false}, // a code and no symbol
		{"\xff\xc4\x00\x14\x00\x01" + string(make([]byte, 15)), true},
	} {
		_, err := Decode(t.Context(), []byte(string(picture)+c.behind))
		if c.whole {
			require.NoError(t, err, "%q", c.behind)
		} else {
			require.Error(t, err, "%q", c.behind)
		}
	}
}
