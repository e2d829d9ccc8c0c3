package cli

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/robust/remote"
)

// Why a command of a document is not run by TestDocuments.
const (
	byNetwork = "needs the network or a registry"
	byTime    = "takes from minutes to hours, and says what it found where it stands"
	byProgram = "needs a program or package that this test does not install"
)

// notRun are the commands of documents that TestDocuments does not run: all that
// begin so, in the document. Another test that runs them is named.
var notRun = []struct{ document, begins, why string }{
	{"README.md", "go install ", byNetwork},
	{"docs/clients.md", "pip install ", byNetwork},
	{"docs/decode.md", "apt-get install ", byNetwork},
	{"docs/decode.md", "vitserve classify holiday/ --decoder", "ci/decoders.sh runs it, with the programs that it needs"},
	{"docs/checkpoints.md", "python scripts/census/", byTime},
	{"docs/families.md", "python scripts/census/", byTime},
	{"docs/focus-maps.md", "go test ", byTime},
	{"docs/robustness.md", "vitserve robust val/ --suite apgd-ce,apgd-t,square ", byTime},
	{"docs/robustness.md", "vitserve robust val/ --suite square ", byTime},
	{"docs/robustness.md", "python scripts/robust/compare.py ", byTime},
	{"docs/robustness.md", "python scripts/robust/whole.py ", byTime},
	{"docs/robustness.md", "vitserve robust val/ --suite apgd-ce,apgd-t,square", byTime},
	{"docs/robustness.md", "vitserve robust val/ --suite square", "TestSquareTargets does it, with fewer queries"},
	{"docs/robustness.md", "vitserve robust val/ --model ./deit_tiny_patch16_224 --suite contrast --severity 1", "TestFitTemperature does it, with photos enough"},
	{"docs/scale.md", "pip install ", byNetwork},
	{"docs/scale.md", "VITSERVE=./vitserve MODEL=starter ACTORS=1 python3 scripts/score/ray_pipeline.py ", "scripts/score/ray.sh runs it, with Ray, which it installs"},
	{"docs/interop.md", "grpcurl ", byProgram},
	{"docs/interop.md", "perf_analyzer ", byProgram},
}

// elsewhere are blocks in other languages than a shell's, by the document, the
// language and a line of theirs, and who runs or reads them.
var elsewhere = []struct{ document, language, line, who string }{
	{"README.md", "go", "func main() {", "TestDocumentBlocks"},
	{"docs/serving.md", "python", "answer = json.load(urllib.request.urlopen(request))", "TestExamples of api"},
	{"docs/serving.md", "python", "print(classify(\"photo.jpg\")[\"results\"][0][\"predictions\"][0])", "TestClientLoops of api"},
	{"docs/serving.md", "js", "async function classify(", "TestClientLoops of api"},
	{"docs/serving.md", "go", "func classify(", "TestClientLoops of api"},
	{"docs/serving.md", "yaml", "addr: :8080", "TestDocumentBlocks"},
	{"docs/scale.md", "sql", "FROM 'scores/part-*.parquet' WHERE error IS NULL", "scripts/score/read.py in ci/scale.sh"},
	{"docs/robustness.md", "json", "\"predictions\": \"result.0.tags\"", "TestDocumentBlocks"},
	{"docs/clients.md", "python", "from huggingface_hub import InferenceClient", "TestDocumentClients"},
	{"docs/clients.md", "js", "import { InferenceClient } from \"@huggingface/inference\";", "TestDocumentClients"},
	{"docs/clients.md", "python", "from kserve import InferenceRESTClient", "TestDocumentClients"},
	{"docs/interop.md", "python", "import tritonclient.http as triton", "TestDocumentClients"},
	{"docs/interop.md", "python", "from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig", "TestDocumentClients"},
}

// documents are README and docs/*.md, by their paths from the root. What stands
// in docs/lab was measured once, with commands that take hours, and stays as it
// was written; docs/decisions has none.
func documents(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join("..", "..")
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	all := map[string]string{}
	for _, name := range append(names, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		from, err := filepath.Rel(root, name)
		require.NoError(t, err)
		all[filepath.ToSlash(from)] = string(text)
	}
	return all
}

// block is a piece of a document that is no prose.
type block struct{ language, text string }

// item begins an entry of a list.
var item = regexp.MustCompile(`^\s*(?:[-*+]|\d+[.)]) `)

// blocksOf are those between fences, and lines that stand four columns in
// outside of lists.
func blocksOf(text string) (all []block) {
	var in *block
	list := false
	for line := range strings.Lines(text) {
		fence := strings.HasPrefix(line, "```")
		switch {
		case fence && in == nil:
			all = append(all, block{language: strings.TrimSpace(line[3:])})
			in = &all[len(all)-1]
		case fence:
			in = nil
		case in != nil:
			in.text += line
		case strings.HasPrefix(line, "    ") && !list:
			all = append(all, block{"indented", line[4:]})
		case strings.TrimSpace(line) != "":
			list = item.MatchString(line) || list && strings.HasPrefix(line, "  ")
		}
	}
	return all
}

// commands are those of a block of a shell: the lines of a console that begin
// with a prompt, and of others every line, with those that it goes on in.
func (b block) commands() (all []session) {
	switch b.language {
	case "console":
		for line := range strings.Lines(b.text) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, session{command: strings.TrimRight(command, "\n"), says: true})
			} else if len(all) > 0 {
				all[len(all)-1].prints += line
			}
		}
	case "sh", "bash", "shell", "text", "", "indented":
		more, until := false, ""
		for line := range strings.Lines(b.text) {
			line = strings.TrimRight(line, "\n")
			switch {
			case more || until != "":
				all[len(all)-1].command += "\n" + line
			case starts.MatchString(line):
				all = append(all, session{command: line})
			default:
				continue
			}
			if here := hereDocument.FindStringSubmatch(line); here != nil {
				until = here[1]
			} else if line == until {
				until = ""
			}
			more = until == "" && (strings.HasSuffix(line, "\\") || strings.HasSuffix(line, "|"))
		}
	}
	return all
}

var (
	// starts is how commands begin: variables, and a program that documents
	// name. A block without a language may be a drawing or an output.
	starts       = regexp.MustCompile(`^(?:[A-Z_]+=\S* +)*(?:vitserve|curl|go|python3?|node|npm|bash|sh|make|nice|docker|pip3?|apt-get|brew|git|printf|echo|cat|grpcurl|perf_analyzer|helm|kubectl|export|cd|ls|tar|chmod|sudo|\./\S+)\b`)
	hereDocument = regexp.MustCompile(`<<-?'?([A-Z]+)'?`)
	spaces       = regexp.MustCompile(`[\s\\]+`)
)

// reason is why a command is not run; "": it is.
func reason(document, command string) string {
	plain := spaces.ReplaceAllString(command, " ")
	for _, r := range notRun {
		if r.document == document && strings.HasPrefix(plain, r.begins) {
			return r.why
		}
	}
	if document == "docs/serving.md" && strings.HasPrefix(plain, "curl ") {
		return "TestExamples of api runs it"
	}
	return ""
}

// TestDocumentsAreKnown holds that every block of the documents is one that is
// run, or stands in a table with the reason, and that no table has what no
// document says any more.
func TestDocumentsAreKnown(t *testing.T) {
	used, read := map[int]bool{}, map[int]bool{}
	for name, text := range documents(t) {
		for _, b := range blocksOf(text) {
			commands := b.commands()
			for _, s := range commands {
				plain := spaces.ReplaceAllString(s.command, " ")
				for i, r := range notRun {
					if r.document == name && strings.HasPrefix(plain, r.begins) {
						used[i] = true
					}
				}
			}
			if slices.Contains([]string{"console", "sh", "bash", "shell", "indented"}, b.language) {
				require.NotEmpty(t, commands, "%s: in this block no command is known (documents_test.go has how they begin):\n%s", name, b.text)
				continue
			}
			if b.language == "" || b.language == "text" {
				continue // an output, or commands, which are found
			}
			known := false
			for i, e := range elsewhere {
				if e.document == name && e.language == b.language && strings.Contains(b.text, e.line) {
					known, read[i] = true, true
				}
			}
			require.True(t, known, "%s has a block of %s that no test runs or reads, and that no row of elsewhere names:\n%s", name, b.language, b.text)
		}
	}
	for i, r := range notRun {
		require.True(t, used[i], "notRun has %q of %s, which it does not say", r.begins, r.document)
	}
	for i, e := range elsewhere {
		require.True(t, read[i], "elsewhere has %q of %s, which it does not say", e.line, e.document)
	}
}

// inline is a command in prose.
var inline = regexp.MustCompile("`((?:vitserve|go|bash|python3?|make) [^`]*)`")

// TestDocumentedNames holds what documents say within their prose, and the
// commands that are not run: the command of vitserve and its flags, the target,
// the file and the test are there.
func TestDocumentedNames(t *testing.T) {
	all := documents(t)
	lab, err := filepath.Glob(filepath.Join("..", "..", "docs", "lab", "*.md"))
	require.NoError(t, err)
	for _, name := range lab {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		all["docs/lab/"+filepath.Base(name)] = string(text)
	}
	n := 0
	for name, text := range all {
		var commands []string
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			commands = append(commands, m[1])
		}
		for _, b := range blocksOf(text) {
			for _, s := range b.commands() {
				commands = append(commands, s.command)
			}
		}
		for _, command := range commands {
			n++
			require.NoError(t, checkNames(command), "%s: %s", name, command)
		}
	}
	require.Greater(t, n, 80)
}

// shellWord is a word of a command, with the quotes that hold it together.
var shellWord = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)

// checkNames says which name of a command is of nothing.
func checkNames(command string) error {
	words := shellWord.FindAllString(spaces.ReplaceAllString(command, " "), -1)
	for i, w := range words {
		words[i] = strings.Trim(w, `'"`)
	}
	for len(words) > 0 && regexp.MustCompile(`^[A-Z_]+=`).MatchString(words[0]) {
		words = words[1:]
	}
	switch {
	case len(words) < 2:
		return nil
	case words[0] == "vitserve":
		return checkFlags(words[1:])
	case words[0] == "make":
		out, err := exec.Command("make", "-n", "-C", filepath.Join("..", ".."), words[1]).CombinedOutput()
		if err != nil {
			return errorsOf(string(out))
		}
	case words[0] == "go" && words[1] == "test":
		return checkTests(words)
	case slices.Contains([]string{"go", "bash", "python", "python3"}, words[0]):
		for _, w := range words[1:] {
			if strings.Contains(w, "/") && !strings.Contains(w, "@") && regexp.MustCompile(`^\.?/?(?:scripts|ci|patch|cmd|docs|robust|models|api)/`).MatchString(w) {
				if _, err := os.Stat(filepath.Join("..", "..", strings.TrimSuffix(w, "..."))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

type errorsOf string

func (e errorsOf) Error() string { return string(e) }

// checkFlags says which flag vitserve does not have.
func checkFlags(words []string) error {
	root := newRoot()
	root.InitDefaultCompletionCmd()
	root.SetOut(io.Discard)
	for i, w := range words { // what a shell does with the rest
		if w == "|" || w == ">" || w == "2>" || w == "&" || strings.HasPrefix(w, "#") {
			words = words[:i]
			break
		}
	}
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if cmd == root && words[0] != "…" && !strings.HasPrefix(words[0], "-") {
		return errorsOf("no command " + words[0])
	}
	for _, w := range rest {
		if strings.Contains(w, " ") {
			continue // the value of one
		}
		name, isFlag := strings.CutPrefix(w, "--")
		name, _, _ = strings.Cut(name, "=")
		if !isFlag || name == "" || cmd == root {
			continue
		}
		found := cmd.Flags().Lookup(name)
		cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == name {
				found = f
			}
		})
		if found == nil && name != "help" {
			return errorsOf("no flag --" + name)
		}
	}
	return nil
}

// checkTests says which test of a go test command is not there.
func checkTests(words []string) error {
	var pattern string
	var folders []string
	for i, w := range words[2:] {
		switch {
		case strings.HasPrefix(w, "./"):
			folders = append(folders, w)
		case (w == "-run" || w == "-bench" || w == "-fuzz") && i+3 < len(words):
			if next := words[i+3]; next != "xx" && next != "xxx" && next != "-" {
				pattern = next
			}
		}
	}
	if pattern == "" {
		return nil
	}
	of, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
		if err != nil {
			return err
		}
		found := false
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)\(`).FindAllStringSubmatch(string(text), -1) {
				found = found || of.MatchString(m[1])
			}
		}
		if !found {
			return errorsOf("no test " + pattern + " in " + folder)
		}
	}
	return nil
}

// blockWith is the block of a document that has a line.
func blockWith(t *testing.T, document, language, line string) string {
	t.Helper()
	for _, b := range blocksOf(documents(t)[document]) {
		if b.language == language && strings.Contains(b.text, line) {
			return b.text
		}
	}
	require.FailNow(t, "no such block", "%s, %s, %s", document, language, line)
	return ""
}

// TestDocumentBlocks runs README's program, and reads the configuration and the
// mapping of the documents as the program does.
func TestDocumentBlocks(t *testing.T) {
	dir := t.TempDir()
	program := writeFile(t, dir, "main.go", []byte(blockWith(t, "README.md", "go", "func main() {")))
	run := exec.Command("go", "run", program)
	run.Dir = filepath.Join("..", "..")
	out, err := run.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, agree("banana 0.7068065461739489", string(out)))

	config := writeFile(t, dir, "config.yaml", []byte(blockWith(t, "docs/serving.md", "yaml", "addr: :8080")))
	got := vitserve(t, "serve", "--config", config, "--print-config")
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, "vit_large")

	mapping := blockWith(t, "docs/robustness.md", "json", "predictions")
	require.True(t, json.Valid([]byte(mapping)))
	_, err = remote.ReadMapping(writeFile(t, dir, "mapping.json", []byte(mapping)))
	require.NoError(t, err)
}

// TestDocumentClients runs the programs of docs/clients.md and docs/interop.md
// with the clients that they are about, which ci/clients.sh installs.
func TestDocumentClients(t *testing.T) {
	python, node := os.Getenv("CLIENTS_PYTHON"), os.Getenv("CLIENTS_NODE")
	if python == "" || node == "" {
		t.Skip("no clients here: ci/clients.sh runs this with them")
	}
	bin := t.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "vitserve"), "../../cmd/vitserve").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for name, serve := range map[string]string{
		"docs/clients.md": "vitserve serve --model starter --model google/vit=./vit-base-patch16-224",
		"docs/interop.md": "vitserve serve --addr 127.0.0.1:8000 --grpc-addr 127.0.0.1:8001",
	} {
		t.Run(name, func(t *testing.T) {
			text := documents(t)[name]
			require.Contains(t, text, serve)
			all := []session{{command: serve}}
			for _, b := range blocksOf(text) {
				switch b.language {
				case "python":
					all = append(all, session{command: "'" + python + "' - <<'END'\n" + b.text + "END"})
				case "js":
					all = append(all, session{command: "ln -s '" + node + "/node_modules' . && node --input-type=module - <<'END'\n" + b.text + "END"})
				}
			}
			require.Greater(t, len(all), 2)
			runDocument(t, bin, all)
		})
	}
}
