package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

// insiders are words of the program that no user should read.
var insiders = regexp.MustCompile(`\b(patch|models|api|attention|vit|hub|yaml|json|pflag):|strconv|cannot unmarshal|\{0x|%!`)

// readable holds a message to what messages are: not empty, without insiders'
// words, and with what is wanted or what to do.
func readable(t *testing.T, text string, names ...string) {
	t.Helper()
	require.NotRegexp(t, insiders, text)
	require.Regexp(t, `want|did you mean|needs a value|no such|cannot|not found|must|limit|see |See `, text)
	for _, name := range names {
		require.Contains(t, text, name)
	}
}

// mistakes are values that flags cannot have, of those that may be a text. A
// flag that is a number, a time or yes or no is given another text; one with a
// fixed list of values, a word that is not on it.
var mistakes = map[string][]string{ // by flag: value, and what the message has
	"image-size":     {"0x7", "want pixels"},
	"method":         {"legard", "did you mean legrad"},
	"fusion":         {"maxx", "did you mean max"},
	"compat":         {"vit-explian", "did you mean vit-explain"},
	"queries":        {"3", "row,column"},
	"class":          {"school bsu", "did you mean school bus"},
	"versus":         {"1", "want a class"},
	"colors":         {"turbbo", "did you mean turbo"},
	"upsample":       {"bilinaer", "did you mean bilinear"},
	"picture":        {"overaly", "did you mean overlay"},
	"values":         {"mapp", "want map or attention"},
	"labels":         {"no-labels.txt", "no such file"},
	"model":          {"./no-model", "no such folder: ./no-model"},
	"output":         {"no-folder/x.png", "no such file or directory"},
	"truth":          {"no-truth.csv", "no such file"},
	"image":          {"no-image.png", "no such file"},
	"npy":            {"x.npy", "--image"},
	"url":            {"nowhere", "want http"},
	"api-key":        {"x", "--url"},
	"output of eval": {"x.txt", ".csv or .jsonl"},
	"attention":      {"x", "want"},
	"config":         {"no-config.yaml", "no such file"},
	"tls-cert":       {"cert.pem", "tls_key"},
	"tls-key":        {"key.pem", "tls_cert"},
	"addr":           {"nowhere", "host:port"},
	"grpc-addr":      {"nowhere", "host:port"},
	"trace-endpoint": {"nowhere", "want http://"},
	"debug-addr":     {"0.0.0.0:1", "loopback"},
	"cors-origins":   {"example.org", "want * or an origin"},
	"decoder":        {"heic", "FORMAT=COMMAND"},
	"format":         {"jsno", "did you mean json"},
	"sort-into":      {"/dev/null/x", "--sort-into"},
	"preset":         {"vit_bsae_patch16_224", "want one of"},
	"help":           nil, // it has no mistake
	"fetch-models":   {"statr", "did you mean start"},
	"log-level":      {"loud", "want debug"},
	"log-format":     {"xml", "want text or json"},
	"backend":        {"gpu-of-tomorrow", "want one of"},
	"precision":      {"f8", "want f32"},
	"preprocess":     {"corp", "did you mean crop"},
	"resize":         {"fats", "want"},
	"pool":           {"means", "want"},
	"images":         {"no-folder/", "no such folder"},

	"suite":             {"imagnet-c", "did you mean imagenet-c"},
	"seed":              {"three", "--seed"},
	"mode":              {"corp", "did you mean crop"},
	"flavour":           {"orignal", "did you mean original"},
	"drift":             {"rolout", "did you mean rollout"},
	"dialect":           {"hugingface", "did you mean huggingface"},
	"mapping":           {"no-file.json", "--url"},
	"class-subset":      {"no-folder", "no such"},
	"real":              {"no-real", "no such file"},
	"outliers":          {"no-folder", "no such"},
	"clean":             {"clean/", "--released"},
	"out":               {"x.txt", "ends in"},
	"fail-if":           {"mce", "want MEASURE"},
	"against":           {"no-run.rows", "no such file"},
	"flip-reference":    {"no-report", "no such file"},
	"epsilon":           {"fourth", "want"},
	"attack-step-size":  {"fourth", "want"},
	"pictures":          {"/dev/null/x", "not a directory"},
	"fit-temperature":   {"no-folder/t", "no such folder: no-folder"},
	"focus":             {"legard", "did you mean legrad"},
	"input":             {"no-folder", "no such"},
	"metrics-addr":      {"nowhere", "host:port"},
	"output of score":   {"/dev/null/x", "not a directory"},
	"corruption":        {"fgo", "did you mean fog"},
	"format of corrupt": {"jpge", "did you mean jpeg"},
	"textures":          {"/dev/null/x", "not a directory"},
	"output of corrupt": {"/dev/null/x", "not a directory"},
}

// TestEveryFlagHasAMistake: whatever a flag is given that it cannot be, the
// message names the flag or the value and says what is wanted. A flag without
// a mistake in the table fails.
func TestEveryFlagHasAMistake(t *testing.T) {
	dir := t.TempDir()
	image := writeFile(t, dir, "bus.png", testPicture(t))
	t.Chdir(dir)
	t.Setenv("HF_HUB_OFFLINE", "1")
	args := map[string][]string{
		"classify": {image}, "explain": {image}, "embed": {image}, "eval": {dir}, "inspect": {"starter"}, "convert": {"x.bin"}, "pull": {"a/b"},
		"robust": {"--out=r.json", "--suite=san", "--limit=1", dir}, "corrupt": {"--output=c", image}, "score": {"--output=parts", dir},
	}
	for _, cmd := range newRoot().Commands() {
		if cmd.Hidden || cmd.Name() == "completion" || cmd.Name() == "help" {
			continue
		}
		cmd.InitDefaultHelpFlag()
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			t.Run(cmd.Name()+" --"+f.Name, func(t *testing.T) {
				value, says := mistakeOf(t, cmd, f)
				if value == "" {
					return
				}
				line := append([]string{cmd.Name()}, args[cmd.Name()]...)
				got := vitserve(t, append(line, "--"+f.Name+"="+value)...)
				require.Contains(t, []int{exitUsage, exitFailed, exitHopeless}, got.code, got.stderr)
				text := notes.ReplaceAllString(got.stderr, "")
				readable(t, text, says)
				if says == "" {
					require.Contains(t, text, f.Name)
				}
			})
		})
	}
}

var notes = regexp.MustCompile(`(?m)^note: .*\n`)

// mistakeOf is a value that a flag cannot have, and what is said of it.
func mistakeOf(t *testing.T, cmd *cobra.Command, f *pflag.Flag) (value, says string) {
	t.Helper()
	m, ok := mistakes[f.Name]
	if own, found := mistakes[f.Name+" of "+cmd.Name()]; found {
		m, ok = own, true
	}
	switch kind := f.Value.Type(); {
	case ok && m == nil:
		return "", ""
	case ok:
		return m[0], m[1]
	case kind == "int" || kind == "int64" || kind == "uint" || kind == "float" || kind == "float64" || kind == "intSlice":
		return "three", "--" + f.Name
	case kind == "bool":
		return "perhaps", "want true or false"
	case kind == "duration":
		return "soon", "a time such as"
	}
	require.Fail(t, "a flag without a mistake", "--%s is a %s: add one to the table", f.Name, f.Value.Type())
	return "", ""
}

// TestFlagMistakes: a flag that is none names the one that was meant, of every
// command and every flag, with two letters swapped.
func TestFlagMistakes(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if len(f.Name) < 4 {
				return
			}
			wrong := f.Name[:1] + f.Name[2:3] + f.Name[1:2] + f.Name[3:]
			if wrong == f.Name || cmd.Flags().Lookup(wrong) != nil {
				return
			}
			got := vitserve(t, cmd.Name(), "--"+wrong)
			require.Equal(t, exitUsage, got.code)
			require.Contains(t, got.stderr, "unknown flag: --"+wrong+", did you mean --")
		})
	}
	require.Contains(t, vitserve(t, "classify", "--max_pixels", "x", "y").stderr, `"x" for --max-pixels`, "a name as settings have it")
	require.Contains(t, vitserve(t, "classify", "-z").stderr, "unknown flag: -z")
	require.Contains(t, vitserve(t, "classify", "--top").stderr, "--top needs a value")
}

// settingMistakes are values that settings cannot have, of those that may be a
// text or a list of them.
var settingMistakes = map[string][2]string{
	"addr": {"nowhere", "host:port"}, "debug_addr": {"0.0.0.0:6060", "loopback"}, "grpc_addr": {"nowhere", "host:port"}, "tls_cert": {"x", "tls_key"}, "tls_key": {"x", "tls_cert"},
	"backend": {"tpu", "want"}, "precision": {"f8", "want"}, "fetch_models": {"statr", "did you mean start"},
	"models": {"[{idd: x}]", "unknown name in "}, "keys": {"[{name: x, sha256: y}]", "hexadecimal"}, "cors_origins": {"example.org", "want * or an origin"},
	"allowed_hosts": {"['a:1']", "want a host name"}, "trusted_proxies": {"proxy", "want an address"}, "image_hosts": {"'*.org'", "want a host name"},
	"decoders": {"{heif: {}}", "did you mean heic?"}, "trace_endpoint": {"nowhere", "want http://"},
}

// TestEverySettingHasAMistake: in a file and in the environment.
func TestEverySettingHasAMistake(t *testing.T) {
	dir := t.TempDir()
	tried := 0
	for f := range reflect.TypeFor[api.Config]().Fields() {
		name := f.Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			value, says := "[[many]]", "want "
			if m, ok := settingMistakes[name]; ok {
				value, says = m[0], m[1]
			} else {
				require.NotEqual(t, reflect.String, f.Type.Kind(), "a setting without a mistake: add one to the table")
				require.NotEqual(t, reflect.Slice, f.Type.Kind(), "a setting without a mistake: add one to the table")
			}
			got := vitserve(t, "serve", "--config", writeFile(t, dir, "serve.yaml", []byte(name+": "+value+"\n")))
			require.NotEqual(t, exitOK, got.code)
			readable(t, got.stderr, name, says)
			t.Setenv(api.EnvPrefix+strings.ToUpper(name), value)
			got = vitserve(t, "serve")
			require.NotEqual(t, exitOK, got.code)
			readable(t, got.stderr, says)
			tried++
		})
	}
	require.Greater(t, tried, 35)
	file := writeFile(t, dir, "wrong.yaml", []byte("addr: 127.0.0.1:0\n\nmax_batches: 3\nmax_queue: many\n"))
	got := vitserve(t, "serve", "--config", file)
	require.Contains(t, got.stderr, "unknown setting max_batches (line 3), did you mean max_batch?")
	require.Contains(t, got.stderr, `max_queue: line 4: "many", want a whole number`, "all at once")
	t.Setenv("VITSERVE_SERVE_MAX_BATCHES", "3")
	require.Contains(t, vitserve(t, "serve").stderr, "unknown setting VITSERVE_SERVE_MAX_BATCHES, did you mean VITSERVE_SERVE_MAX_BATCH?")
}

// TestSettingsAsPeopleWriteThem: models as texts and lists as words.
func TestSettingsAsPeopleWriteThem(t *testing.T) {
	file := writeFile(t, t.TempDir(), "serve.yaml", []byte("models: [starter, second=starter]\ncors_origins: https://a.example, https://b.example\ndecoders: {heic: {command: 'heif-dec {in} {out}.png'}}\n"))
	cfg, err := api.LoadConfig(file, []string{"VITSERVE_SERVE_IMAGE_HOSTS=a.example,b.example", "VITSERVE_SERVE_ALLOWED_HOSTS=[c.example]"})
	require.NoError(t, err)
	require.Equal(t, []api.ModelConfig{{Path: "starter"}, {ID: "second", Path: "starter"}}, cfg.Models)
	require.Equal(t, []string{"https://a.example", "https://b.example"}, cfg.CORSOrigins)
	require.Equal(t, []string{"a.example", "b.example"}, cfg.ImageHosts)
	require.Equal(t, []string{"c.example"}, cfg.AllowedHosts)
	require.Equal(t, []string{"heif-dec", "{in}", "{out}.png"}, cfg.Decoders.HEIC.Command)
	cfg, err = api.LoadConfig("", []string{"VITSERVE_SERVE_MODELS=starter,two=starter"})
	require.NoError(t, err)
	require.Equal(t, []api.ModelConfig{{Path: "starter"}, {ID: "two", Path: "starter"}}, cfg.Models)

	got := vitserve(t, "serve", "--print-config", "--cors-origins", "https://a.example,https://b.example")
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, "- https://a.example\n")
	require.Contains(t, got.stdout, "- https://b.example\n")
}

// TestFileMistakes: every kind of file that a user may give, as it should not
// be.
func TestFileMistakes(t *testing.T) {
	dir, bus := t.TempDir(), testPicture(t)
	t.Chdir(dir)
	t.Setenv("HF_HUB_OFFLINE", "1")
	good := writeFile(t, dir, "bus.png", bus)
	writeFile(t, dir, "model/config.json", []byte(`{"num_hidden_layers": "many", "model_type": "vit"}`))
	writeFile(t, dir, "model/model.safetensors", []byte("\x08\x00\x00\x00\x00\x00\x00\x00[]      "))
	writeFile(t, dir, "cut/model.safetensors", []byte("\xff"))
	writeFile(t, dir, "nothing/readme.txt", nil)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "empty"), 0o755))
	for _, c := range []struct {
		name string
		args []string
		says string
	}{
		{"no picture", []string{"classify", "gone.png"}, "no such file"},
		{"near picture", []string{"classify", "bsu.png"}, "did you mean bus.png?"},
		{"no folder", []string{"classify", "./gone/"}, "no such folder"},
		{"no folder on the way", []string{"classify", "gone/x.png"}, "there is no folder gone"},
		{"empty folder", []string{"classify", "empty"}, "no pictures in this folder"},
		{"pattern", []string{"classify", "*.tiff"}, "no file matches"},
		{"text", []string{"classify", writeFile(t, dir, "x.png", []byte("hello"))}, "not an image"},
		{"empty file", []string{"classify", writeFile(t, dir, "y.png", nil)}, "empty file"},
		{"raw photo", []string{"classify", writeFile(t, dir, "z.dng", []byte("II*\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00"))}, "z.dng"},
		{"model folder", []string{"classify", "--model", "./gone", good}, "no such folder: ./gone"},
		{"model file", []string{"classify", "--model", "gone.safetensors", good}, "no such file: gone.safetensors"},
		{"model name", []string{"classify", "--model", "startr", good}, "did you mean starter"},
		{"hub's name", []string{"classify", "--model", "acme/none", good}, "vitserve pull acme/none"},
		{"no model in it", []string{"classify", "--model", "nothing", good}, "a model is"},
		{"configuration", []string{"classify", "--model", "model", good}, "config.json"},
		{"weights", []string{"classify", "--model", "cut", good}, "model.safetensors"},
		{"picture as model", []string{"classify", "--model", good, good}, "safetensors"},
		{"labels", []string{"classify", "--labels", writeFile(t, dir, "l.txt", []byte("a\nb\n")), good}, "has 2 labels, the model has 20 classes"},
		{"truth", []string{"eval", "--truth", writeFile(t, dir, "t.csv", []byte("a,b\n")), dir}, "want"},
		{"settings", []string{"serve", "--config", writeFile(t, dir, "s.yaml", []byte("addr: [\n"))}, "s.yaml"},
		{"checkpoint", []string{"convert", writeFile(t, dir, "c.bin", []byte("hello"))}, "c.bin"},
		{"output", []string{"explain", good, "-o", "x.gif"}, ".png or .jpg"},
		{"folder as output", []string{"classify", "-o", "empty", good}, "--output"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := vitserve(t, c.args...)
			require.Contains(t, []int{exitUsage, exitFailed}, got.code, got.stderr)
			text := notes.ReplaceAllString(got.stderr, "")
			require.NotRegexp(t, insiders, text)
			require.Contains(t, text, c.says)
		})
	}
}

func testPicture(t *testing.T) []byte {
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", "school_bus.png"))
	require.NoError(t, err)
	return data
}

// TestPortInUse says who has the port, and where to go.
func TestPortInUse(t *testing.T) {
	addr, stop := startServer(t)
	defer stop()
	got := vitserve(t, "serve", "--addr", strings.TrimPrefix(addr, "http://"))
	require.Equal(t, exitFailed, got.code)
	require.Regexp(t, `another program has port \d+: --addr 127\.0\.0\.1:\d+`, got.stderr)
}
