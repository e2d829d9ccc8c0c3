package page

import (
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/attention/focus"
	"gorgonia.org/tensor"
)

var update = flag.Bool("update", false, "write web/colors.js anew")

// colorsModule is web/colors.js with the tables that the server paints with.
func colorsModule(t *testing.T) string {
	ramp := make([]float32, 256)
	for i := range ramp {
		ramp[i] = float32(i)
	}
	m := &focus.Map{Values: tensor.New(tensor.WithShape(1, 256), tensor.WithBacking(ramp))}
	var b strings.Builder
	b.WriteString("// The colours of maps, lowest value to highest: attention/focus's tables, 256 times red, green, blue.\n// Made by go test ./api/page -run Colors -update.\n\n")
	b.WriteString("/** @type {Record<string, string>} */\nconst packed = {\n")
	for _, name := range focus.Colors() {
		heat, err := focus.HeatMap(m, focus.Style{Colors: name, Upsample: focus.Nearest, Clip: 100}, 256, 1)
		require.NoError(t, err)
		table := make([]byte, 0, 768)
		for i := range 256 {
			table = append(table, heat.Pix[4*i:4*i+3]...)
		}
		fmt.Fprintf(&b, "  %s: %q,\n", name, base64.StdEncoding.EncodeToString(table))
	}
	b.WriteString(`};

/** The names of the tables, the default first. */
export const colorNames = Object.keys(packed);

/** @type {Map<string, Uint8Array>} */
const unpacked = new Map();

/**
 * colorTable is a table by its name.
 * @param {string} name
 */
export function colorTable(name) {
  let table = unpacked.get(name);
  if (!table) {
    table = Uint8Array.from(atob(packed[name] ?? packed[colorNames[0]]), (c) => c.charCodeAt(0));
    unpacked.set(name, table);
  }
  return table;
}
`)
	return b.String()
}

// TestColors: the browser paints with the server's colours.
func TestColors(t *testing.T) {
	want := colorsModule(t)
	if *update {
		require.NoError(t, os.WriteFile("web/colors.js", []byte(want), 0o644))
	}
	got, err := os.ReadFile("web/colors.js")
	require.NoError(t, err)
	require.Equal(t, want, string(got), "go test ./api/page -run Colors -update")
}
