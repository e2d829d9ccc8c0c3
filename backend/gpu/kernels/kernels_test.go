//go:build cgo && linux

package kernels

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// arguments are how many pieces of memory a kernel takes, and the bytes that
// Go hands over by value.
func arguments(name string) (mems, bytes int) {
	name = strings.TrimRight(name, "_0123456789")
	switch name {
	case "linear", "linear_grad", "patch_embed", "patch_embed_grad":
		return 6, int(unsafe.Sizeof(Gemm{}))
	case "layernorm", "layernorm_grad":
		return 5, int(unsafe.Sizeof(Norm{}))
	case "copy_rows", "gather_grad", "pool", "pool_grad":
		return 3, int(unsafe.Sizeof(Rows{}))
	case "relative_bias":
		return 3, int(unsafe.Sizeof(Relative{}))
	case "turn_grad":
		return 3, int(unsafe.Sizeof(Turn{}))
	case "peak":
		return 1, int(unsafe.Sizeof(Peak{}))
	case "words":
		return 2, int(unsafe.Sizeof(Words{}))
	case "attention", "attention_probs", "attention_stats":
		return 8, int(unsafe.Sizeof(Heads{}))
	case "attention_grad_q":
		return 9, int(unsafe.Sizeof(Heads{}))
	case "attention_grad_kv", "attention_captures":
		return 10, int(unsafe.Sizeof(Heads{}))
	}
	return 0, 0
}

var (
	entry = regexp.MustCompile(`(?s)\.visible \.entry (\w+)\((.*?)\n\)`)
	value = regexp.MustCompile(`\.param \.align 8 \.b8 \w+\[(\d+)\]`)
)

// TestParameters holds the arguments in Go to those of the compiled kernels.
func TestParameters(t *testing.T) {
	ptx, err := PTX()
	require.NoError(t, err)
	require.Contains(t, string(ptx), ".target sm_70")
	var names []string
	for _, e := range entry.FindAllStringSubmatch(string(ptx), -1) {
		names = append(names, e[1])
		params := strings.Split(e[2], ",")
		mems, bytes := arguments(e[1])
		for _, p := range params[:len(params)-1] {
			require.Contains(t, p, ".param .u64", e[1])
		}
		require.Equal(t, mems, len(params)-1, "%s: memory", e[1])
		size := value.FindStringSubmatch(params[len(params)-1])
		if size == nil { // 8 bytes are no array
			require.Contains(t, params[len(params)-1], "[8]", e[1])
			continue
		}
		n, err := strconv.Atoi(size[1])
		require.NoError(t, err)
		require.Equal(t, bytes, n, "%s: bytes by value", e[1])
		require.LessOrEqual(t, n, 512)
	}
	want := Names()
	slices.Sort(names)
	slices.Sort(want)
	require.Equal(t, want, names)
}

// TestSource: the source for OpenCL is in one piece.
func TestSource(t *testing.T) {
	s := string(Source())
	require.NotContains(t, s, `#include "d`)
	for _, name := range []string{"linear_64", "layernorm", "turn_grad"} {
		require.Contains(t, s, name)
	}
	require.Equal(t, 1, strings.Count(s, "FUNC float activate("))
}
