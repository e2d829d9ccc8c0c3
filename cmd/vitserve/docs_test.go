package main

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documents are those whose console blocks are run.
var documents = []string{"README.md", "docs/first-steps.md"}

// session is a command of a console block and what the document says that it
// prints; "…" in it is anything.
type session struct{ command, prints string }

// TestDocuments runs the commands of the documents as they are printed, each
// document in a shell of its own, in a folder with photos, against a small hub
// on this machine, and holds what they print to what the document says:
// numbers to two of a hundred, for kernels of other machines round otherwise,
// and the rest to the letter. Only the port is another.
func TestDocuments(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here", tool)
		}
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "vitserve"), ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range documents {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
			require.NoError(t, err)
			all := sessions(string(text))
			require.NotEmpty(t, all)
			runDocument(t, bin, filepath.Join(root, "testdata", "images"), all)
		})
	}
}

// sessions are the commands of the console blocks of a document.
func sessions(text string) (all []session) {
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, session{command: strings.TrimRight(command, "\n")})
			} else if len(all) > 0 {
				all[len(all)-1].prints += line
			}
		}
	}
	return all
}

func runDocument(t *testing.T, bin, images string, all []session) {
	dir := t.TempDir()
	for name, from := range map[string]string{"photo.jpg": "banana.jpg", "other.jpg": "pizza.jpg", "holiday/bus.png": "school_bus.png", "holiday/ball.jpg": "basketball.jpg"} {
		data, err := os.ReadFile(filepath.Join(images, from))
		require.NoError(t, err)
		writeFile(t, dir, name, data)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	require.NoError(t, l.Close())
	const mark = "\x1e" // between the outputs of two commands
	var script strings.Builder
	script.WriteString("set -u\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n")
	for _, s := range all {
		fmt.Fprintf(&script, "%s\nprintf '\\036%%d\\036' $?\n", strings.ReplaceAll(s.command, "8080", port))
	}
	hub := hubOf(t, "google/vit-base-patch16-224", filepath.Join("..", "..", "models", "starter"))
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HF_ENDPOINT="+hub.URL, "HF_HUB_CACHE="+filepath.Join(dir, "cache"),
		"HF_HUB_OFFLINE=", "TRANSFORMERS_OFFLINE=", "HF_TOKEN=", "HF_HOME="+dir, "no_proxy=127.0.0.1", "VITSERVE_SERVE_ADDR=127.0.0.1:"+port)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", stderr.String())
	parts := strings.Split(stdout.String(), mark)
	require.Len(t, parts, 2*len(all)+1, "%s\n%s", stdout.String(), stderr.String())
	for i, s := range all {
		require.Equal(t, "0", parts[2*i+1], "%s\n%s", s.command, stderr.String())
		prints := strings.ReplaceAll(parts[2*i], port, "8080")
		require.NoError(t, agree(s.prints, prints), "$ %s\nprints\n%s", s.command, prints)
	}
}

// piece is what is compared in a way of its own: a number, a gap, white space.
var piece = regexp.MustCompile(`\d+(?:\.\d+)?|…|\s+`)

// agree says whether what was printed is what was said.
func agree(said, printed string) error {
	said, printed = strings.TrimSpace(said), strings.TrimSpace(printed)
	var pattern strings.Builder
	var numbers []string
	at := 0
	for _, m := range append(piece.FindAllStringIndex(said, -1), []int{len(said), len(said)}) {
		pattern.WriteString(regexp.QuoteMeta(said[at:m[0]]))
		switch text := said[m[0]:m[1]]; {
		case text == "":
		case text == "…":
			pattern.WriteString(`.*?`)
		case strings.TrimSpace(text) == "" && strings.Contains(text, "\n"):
			pattern.WriteString(`\s*\n\s*`)
		case strings.TrimSpace(text) == "":
			pattern.WriteString(`[^\S\n]+`)
		default:
			pattern.WriteString(`(\d+(?:\.\d+)?)`)
			numbers = append(numbers, text)
		}
		at = m[1]
	}
	found := regexp.MustCompile(`(?s)\A` + pattern.String() + `\z`).FindStringSubmatch(printed)
	if found == nil {
		return fmt.Errorf("want\n%s", said)
	}
	for i, text := range numbers {
		want, _ := strconv.ParseFloat(text, 64)
		got, err := strconv.ParseFloat(found[i+1], 64)
		if err != nil || math.Abs(want-got) > 0.02*max(math.Abs(want), 1) {
			return fmt.Errorf("want %s, found %s, in\n%s", text, found[i+1], said)
		}
	}
	return nil
}

func TestAgree(t *testing.T) {
	for _, c := range []struct {
		said, printed string
		ok            bool
	}{
		{"a 70.68 %\n", "a  70.70 %\n", true}, {"a 70 %", "a 60 %", false}, {"a …\nz", "a b\nc\nz", true}, {"a …", "b", false}, {"…", "x", true}, {"…", "", true},
		{"", "x", false}, {"a\nb", "a b", false}, {"a", "a b", false}, {"x…y", "x1y2y", true}, {"x…y", "x1z", false},
	} {
		require.Equal(t, c.ok, agree(c.said, c.printed) == nil, "%q %q: %v", c.said, c.printed, agree(c.said, c.printed))
	}
}
