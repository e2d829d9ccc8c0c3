package cli

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/vitserve/vitserve"

// room is a folder of the project and what its production code may import
// beside the standard library. Patterns are those of path.Match; project
// packages are named from the module's root.
type room struct {
	folder string
	may    []string
}

// rooms is the table "Who may import whom" of the architecture. The first row
// that matches a package holds it.
var rooms = []room{
	{folder: "cmd/vitserve", may: []string{"internal/cli"}},
	{folder: "internal/cli", may: []string{
		".", "api", "api/*", "robust", "robust/*", "score", "models", "models/hub", "vit", "attention/focus", "patch", "patch/external", "backend", "backend/*", "internal/chart", "internal/words",
		"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/schollz/progressbar/v3",
		"github.com/disintegration/imaging", "gorgonia.org/tensor",
		"golang.org/x/sys/cpu", "golang.org/x/sync/errgroup", "golang.org/x/term",
	}},
	{folder: "api", may: []string{
		".", "api/*", "robust/corrupt", "models", "vit", "attention/focus", "patch", "patch/external", "backend", "internal/batch", "internal/trace", "internal/words",
		"github.com/labstack/echo/v4", "github.com/labstack/echo/v4/middleware", "github.com/labstack/gommon/*",
		"github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_golang/prometheus/*",
		"go.yaml.in/yaml/v3", "gorgonia.org/tensor",
		"golang.org/x/sync/*", "golang.org/x/time/rate",
		"golang.org/x/sys/unix", // a listener that ends
		"google.golang.org/grpc", "google.golang.org/grpc/*", "google.golang.org/grpc/*/*",
		"google.golang.org/protobuf/*", "google.golang.org/protobuf/*/*", // what messages take in memory
	}},
	{folder: "api/v1", may: []string{"go.yaml.in/yaml/v3"}},
	{folder: "api/op", may: []string{"internal/words", "api/v1", "models", "vit", "attention/focus", "patch", "internal/batch", "gorgonia.org/tensor", "google.golang.org/grpc"}},
	{folder: "api/oip", may: []string{
		"api/v1", "api/op", "vit", "attention/focus", "internal/batch", "gorgonia.org/tensor",
		"api/oip/*", "google.golang.org/grpc",
		"github.com/x448/float16", // tensors of FP16
	}},
	{folder: "api/oip/*", may: []string{"google.golang.org/grpc", "google.golang.org/grpc/*", "google.golang.org/protobuf/*", "google.golang.org/protobuf/*/*"}},
	{folder: "api/kserve", may: []string{"api/v1", "api/op", "attention/focus"}}, // options of maps
	{folder: "api/*", may: []string{"api/v1", "api/op"}},                         // dialects, and the client
	{folder: "robust", may: []string{"robust/*", "internal/words", "patch", "attention/focus", "internal/chart", "gorgonia.org/tensor", "golang.org/x/image/*"}},
	{folder: "robust/*", may: []string{"robust", "robust/*", "internal/words", "patch", "patch/jpeg", "internal/chart", "gorgonia.org/tensor"}},
	{folder: "score", may: []string{
		".", "score/parquet", "models", "vit", "internal/words",
		"github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_golang/prometheus/*",
		"golang.org/x/sys/unix", // the mode of new files
	}},
	{folder: "score/parquet", may: []string{
		"github.com/parquet-go/parquet-go/*", "github.com/parquet-go/parquet-go/encoding/*", // not the package itself, which takes as long to build as the rest
		"github.com/golang/snappy", "github.com/klauspost/compress/zstd",
	}},
	{folder: ".", may: []string{
		"models", "internal/words", "vit", "attention/focus", "patch", "backend", "gorgonia.org/tensor",
		"backend/cpu", // registered, so that one import is enough for an answer
	}},
	{folder: "models", may: []string{
		"vit", "internal/words", "patch", "backend", "models/*", "gorgonia.org/tensor",
		"github.com/x448/float16", "golang.org/x/sys/*",
	}},
	{folder: "models/*", may: []string{"models/*", "gorgonia.org/tensor", "github.com/x448/float16", "golang.org/x/sys/*"}},
	{folder: "vit", may: []string{"attention", "backend", "gorgonia.org/tensor"}},
	{folder: "attention", may: []string{"backend", "gorgonia.org/tensor"}},
	{folder: "attention/focus", may: []string{
		"patch", "internal/words", "gorgonia.org/tensor", "github.com/disintegration/imaging",
		"golang.org/x/image/font", "golang.org/x/image/font/*", "golang.org/x/image/font/*/*", "golang.org/x/image/math/fixed", "golang.org/x/image/vector", // captions
	}},
	{folder: "patch", may: []string{
		"patch/*", "golang.org/x/image/*", "golang.org/x/image/*/*", "github.com/disintegration/imaging", "gorgonia.org/tensor",
		"golang.org/x/sys/cpu",               // kernels of decoding and resizing
		"github.com/klauspost/compress/zstd", // TIFF
	}},
	{folder: "patch/external", may: []string{"patch", "golang.org/x/sys/unix"}}, // limits of processes
	{folder: "patch/*", may: []string{"patch/*", "golang.org/x/image/*", "golang.org/x/sys/cpu"}},
	{folder: "backend/backendtest", may: []string{"backend", "backend/ref", "gorgonia.org/tensor", "github.com/stretchr/testify/require"}},
	{folder: "backend/gpu", may: []string{"backend", "backend/gpu/*", "gorgonia.org/tensor"}},
	{folder: "backend/*", may: []string{"backend", "gorgonia.org/tensor", "golang.org/x/sys/*"}},
	{folder: "backend/*/*", may: []string{"backend", "gorgonia.org/tensor", "golang.org/x/sys/*"}},
	{folder: "backend", may: []string{"gorgonia.org/tensor"}},
	{folder: "internal/batch", may: []string{}},
	{folder: "internal/trace", may: []string{}},
	{folder: "internal/words", may: []string{}},                        // of errors
	{folder: "internal/chart", may: []string{}},                        // reports
	{folder: "internal/hostile", may: []string{}},                      // files for tests
	{folder: "internal/fence", may: []string{"golang.org/x/sys/unix"}}, // memory for tests
	{folder: "internal/jpegtest", may: []string{}},                     // files for tests
}

// tools are folders of programs that make fixtures or measure, and are no part
// of what is served.
var tools = []string{"testdata/", "docs/", "scripts/"}

// listed is what go list says of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

// listDeps lists the production packages of the project and all they need.
func listDeps(t *testing.T) map[string]listed {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", module+"/...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	all := map[string]listed{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := dec.Decode(&p)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		all[p.ImportPath] = p
	}
}

// folder returns where a package of the project lies, and whether it is one.
func folder(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func TestImports(t *testing.T) {
	all := listDeps(t)
	seen := 0
	for importPath, p := range all {
		name, ours := folder(importPath)
		if !ours {
			continue
		}
		seen++
		if slices.ContainsFunc(tools, func(folder string) bool { return strings.HasPrefix(name, folder) }) {
			continue
		}
		i := slices.IndexFunc(rooms, func(r room) bool { return matches(r.folder, name) })
		require.GreaterOrEqual(t, i, 0, "package %s has no room in the table", name)
		for _, imported := range p.Imports {
			if imported == "C" {
				require.Equal(t, "backend/gpu/device", name, "%s uses cgo", name)
				continue
			}
			dep, ok := all[imported]
			if ok && dep.Standard || imported == "unsafe" {
				continue
			}
			short, _ := folder(imported)
			if (isProgram(name) || name == ".") && strings.HasPrefix(short, "backend/") {
				require.Equal(t, []string{"_"}, namesOf(t, name, imported), "%s chooses %s and calls nothing of it", name, short)
			}
			may := slices.ContainsFunc(rooms[i].may, func(pattern string) bool { return matches(pattern, short) })
			require.True(t, may, "%s imports %s: not in its row of the table", name, imported)
		}
	}
	require.Greater(t, seen, 6, "go list found too little of the project")
}

// namesOf returns by which names the production files of a package import
// another, each once.
func namesOf(t *testing.T, name, imported string) (names []string) {
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(name), "*.go"))
	require.NoError(t, err)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range tree.Imports {
			if i.Path.Value != strconv.Quote(imported) {
				continue
			}
			as := path.Base(imported)
			if i.Name != nil {
				as = i.Name.Name
			}
			names = append(names, as)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestSeen holds the sentences beside the table, over everything a package
// needs and not just what it names.
func TestSeen(t *testing.T) {
	all := listDeps(t)
	for importPath, p := range all {
		name, ours := folder(importPath)
		if !ours {
			continue
		}
		for _, dep := range p.Deps {
			short, _ := folder(dep)
			switch {
			case strings.HasPrefix(dep, "github.com/labstack/echo"):
				require.Contains(t, []string{"api", "internal/cli", "cmd/vitserve"}, name, "only api sees echo")
			case short == "models/safetensors" || short == "models/mmap":
				require.True(t, name == "." || strings.HasPrefix(name, "api") || isProgram(name) || name == "score" || strings.HasPrefix(name, "models"), "only models reads weight files, but %s needs %s", name, dep)
			case strings.HasPrefix(short, "backend/"):
				// The library brings the processor's; the command chooses others.
				byLibrary := short == "backend/cpu" && (name == "." || name == "api" || name == "score")
				require.True(t, byLibrary || isProgram(name) || strings.HasPrefix(name, "backend/"), "only the command chooses backends, but %s needs %s", name, dep)
			}
		}
	}
}

// isProgram tells the packages that the program is.
func isProgram(name string) bool { return name == "cmd/vitserve" || name == "internal/cli" }

// TestRoomsPointDown: the table itself has no arrow from a lower room to a
// higher one, and so no circle.
func TestRoomsPointDown(t *testing.T) {
	for i, r := range rooms {
		for _, pattern := range r.may {
			if strings.Contains(top(pattern), ".") && pattern != "." {
				continue // of others
			}
			for j, above := range rooms[:i] {
				meant := matches(pattern, above.folder) || above.folder == pattern
				inside := pattern != "." && top(above.folder) == top(r.folder) // which the compiler keeps from circles
				require.False(t, meant && !inside, "row %d, %s, may import %s of row %d above it", i, r.folder, above.folder, j)
			}
		}
	}
}

// top is the first element of a folder's path.
func top(folder string) string {
	first, _, _ := strings.Cut(folder, "/")
	return first
}

func TestMatches(t *testing.T) {
	require.True(t, matches("backend/*", "backend/cpu"))
	require.False(t, matches("backend/*", "backend"))
	require.False(t, matches("backend/*", "backend/cpu/deep"))
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}
