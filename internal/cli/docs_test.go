package cli

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// session is a command of a document and what the document says that it prints;
// "…" in it is anything.
type session struct {
	command, prints string
	says            bool // the document says what it prints
}

// TestDocuments runs the commands of the documents as they are printed, each
// document in a shell of its own, in a folder with photos, against a small hub
// on this machine, and holds what they print to what the document says:
// numbers to two of a hundred, for kernels of other machines round otherwise,
// and the rest to the letter. Only the ports are others. What is not run stands
// in notRun with its reason, and a command that is neither fails.
func TestDocuments(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "python3", "base64"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here", tool)
		}
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "vitserve"), "../../cmd/vitserve")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	curl, err := exec.LookPath("curl")
	require.NoError(t, err)
	// An answer that is an error fails the command.
	shim := "#!/bin/bash\ncase \" $* \" in *\" -f\"* | *\" -sf \"*) exec " + curl + " \"$@\" ;; esac\nexec " + curl + " --fail-with-body \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "curl"), []byte(shim), 0o755))
	for name, text := range documents(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all []session
			for _, b := range blocksOf(text) {
				for _, s := range b.commands() {
					if reason(name, s.command) == "" {
						all = append(all, s)
					}
				}
			}
			if len(all) > 0 {
				runDocument(t, bin, all)
			}
		})
	}
}

// placeIn fills a folder with what the documents ask about: photos, folders of
// them, labels, and models. Where VITSERVE_SHARED is set, DeiT-tiny and its
// photos are real; else the starter stands in.
func placeIn(t *testing.T, dir string) {
	images := filepath.Join("..", "..", "testdata", "images")
	for name, from := range map[string]string{
		"photo.jpg": "banana.jpg", "other.jpg": "pizza.jpg", "a.jpg": "pizza.jpg", "b.png": "school_bus.png", "holiday/bus.png": "school_bus.png", "holiday/ball.jpg": "basketball.jpg",
		"val/banana/one.jpg": "banana.jpg", "val/pizza/two.jpg": "pizza.jpg",
	} {
		data, err := os.ReadFile(filepath.Join(images, from))
		require.NoError(t, err)
		writeFile(t, dir, name, data)
	}
	starter, err := filepath.Abs(filepath.Join("..", "..", "models", "starter"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(starter, filepath.Join(dir, "vit-base-patch16-224")))
	model, from, labels := starter, images, "file,label\nbanana.jpg,banana\npizza.jpg,pizza\n"
	if shared := os.Getenv("VITSERVE_SHARED"); shared != "" {
		model, err = filepath.Abs(filepath.Join(shared, "models", "deit_tiny_patch16_224"))
		require.NoError(t, err)
		from = filepath.Join(shared, "data", "nips2017", "images")
		table, err := os.ReadFile(filepath.Join(shared, "data", "nips2017", "labels.csv"))
		require.NoError(t, err)
		labels = strings.Join(strings.SplitAfter(string(table), "\n")[:3], "")
	}
	require.NoError(t, os.Symlink(model, filepath.Join(dir, "deit_tiny_patch16_224")))
	writeFile(t, dir, "labels.csv", []byte(labels))
	for row := range strings.Lines(strings.SplitAfterN(labels, "\n", 2)[1]) {
		name, _, _ := strings.Cut(row, ",")
		data, err := os.ReadFile(filepath.Join(from, name))
		require.NoError(t, err)
		writeFile(t, dir, filepath.Join("photos", name), data)
		writeFile(t, dir, filepath.Join("images", name), data)
	}
}

// ports are those that documents name.
var ports = regexp.MustCompile(`:(8080|8000|8001)\b`)

func runDocument(t *testing.T, bin string, all []session) {
	dir := t.TempDir()
	placeIn(t, dir)
	free, named := map[string]string{}, map[string]string{}
	var held []net.Listener // all at once, so that they are different ones
	for _, port := range []string{":8080", ":8000", ":8001"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		held = append(held, l)
		free[port] = ":" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		named[free[port]] = port
	}
	for _, l := range held {
		require.NoError(t, l.Close())
	}
	const mark = "\x1e" // between the outputs of two commands
	var script strings.Builder
	script.WriteString("set -u\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n")
	ready := func(port string) string {
		return "until curl -sf http://127.0.0.1" + free[port] + "/readyz > ready; do kill -0 $! || exit; sleep 0.1; done\n"
	}
	serves := slices.ContainsFunc(all, func(s session) bool { return strings.HasPrefix(s.command, "vitserve serve") })
	if !serves && slices.ContainsFunc(all, func(s session) bool { return strings.Contains(s.command, ":8080") }) {
		script.WriteString("vitserve serve 2> serve.log &\n" + ready(":8080"))
	}
	for _, s := range all {
		command := ports.ReplaceAllStringFunc(s.command, func(port string) string { return free[port] })
		if strings.HasPrefix(command, "vitserve serve") && !strings.HasSuffix(command, "&") { // in a terminal of its own
			port := ports.FindString(s.command)
			if port == "" {
				port = ":8080"
			}
			command += " 2> serve.log &\n" + ready(port)
		}
		fmt.Fprintf(&script, "%s\nprintf '\\036%%d\\036' $?\n", command)
	}
	hub := hubOf(t, "google/vit-base-patch16-224", filepath.Join("..", "..", "models", "starter"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a document may wait for what does not come
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.WaitDelay = time.Second
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HF_ENDPOINT="+hub.URL, "HF_HUB_CACHE="+filepath.Join(dir, "cache"),
		"HF_HUB_OFFLINE=", "TRANSFORMERS_OFFLINE=", "HF_TOKEN=", "HF_HOME="+dir, "no_proxy=127.0.0.1,localhost", "VITSERVE_SERVE_ADDR=127.0.0.1"+free[":8080"])
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s\n%s", stdout.String(), stderr.String())
	parts := strings.Split(stdout.String(), mark)
	require.Len(t, parts, 2*len(all)+1, "%s\n%s", stdout.String(), stderr.String())
	for i, s := range all {
		if !slices.ContainsFunc(mayFail, func(part string) bool { return strings.Contains(s.command, part) }) {
			require.Equal(t, "0", parts[2*i+1], "%s\n%s\n%s", s.command, parts[2*i], stderr.String())
		}
		if !s.says {
			continue
		}
		prints := parts[2*i]
		for ours, port := range named {
			prints = strings.ReplaceAll(prints, ours, port)
		}
		require.NoError(t, agree(s.prints, prints), "$ %s\nprints\n%s", s.command, prints)
	}
}

// mayFail are parts of commands whose exit code says what was found.
var mayFail = []string{"--fail-if"}

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
