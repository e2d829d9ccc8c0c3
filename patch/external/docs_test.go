package external_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
)

// commands are the lines of docs/decode.md and ci/decoders.sh.
var commands = map[string]string{
	patch.HEIC: "heif-convert --quiet {in} {out}.png",
	patch.AVIF: "avifdec --no-strict -d 8 --png-compress 0 {in} {out}.png",
	patch.JXL:  "djxl --quiet --bits_per_sample=8 {in} {out}.ppm",
}

// TestDocs: what is tested is what the documents say.
func TestDocs(t *testing.T) {
	for format, command := range commands {
		for _, path := range []string{"../../docs/decode.md", "../../ci/decoders.sh"} {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Contains(t, string(text), "--decoder '"+format+"="+command+"'", path)
		}
		text, err := os.ReadFile("../../docs/serving.md")
		require.NoError(t, err)
		plain := strings.NewReplacer(`"`, "", ",", "").Replace(string(text))
		require.Contains(t, plain, format+": {command: ["+command+"]", "docs/serving.md")
	}
}
