package cli

import (
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// steps are the functions that the way of a photo through a model is made of.
// There is one way, so each is called from one package outside its own: the
// library. A photo that is disturbed as a whole is on no way through a model:
// package corrupt decodes it for all, and makes pictures small to pixelate them.
var steps = map[string][]string{
	module + "/patch.Decode":                            {".", "robust/corrupt"},
	"(" + module + "/patch.Transform).PhotoPixels":      {".", "robust/corrupt"},
	"(*" + module + "/vit.Session).Forward":             {"."},
	"(" + module + "/attention/focus.Question).Explain": {"."},
}

// TestOneWay finds who uses the steps in the syntax tree of every production
// package.
func TestOneWay(t *testing.T) {
	users := usersOf(t, slices.Collect(maps.Keys(steps)))
	for step, want := range steps {
		require.Equal(t, want, users[step], step)
	}
}

// compiled is what go list says of a package and of what the compiler made of
// it.
type compiled struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Standard                bool
}

// usersOf returns the packages outside of its own that use each function, in
// order.
func usersOf(t *testing.T, functions []string) map[string][]string {
	var stderr strings.Builder
	cmd := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles,Standard", module+"/...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	exports := map[string]string{}
	var ours []compiled
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p compiled
		err := dec.Decode(&p)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		exports[p.ImportPath] = p.Export
		if name, is := folder(p.ImportPath); is && !slices.ContainsFunc(tools, func(f string) bool { return strings.HasPrefix(name, f) }) {
			ours = append(ours, p)
		}
	}
	files := token.NewFileSet()
	from := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	users := map[string][]string{}
	seen := map[string]bool{}
	for _, p := range ours {
		var trees []*ast.File
		for _, name := range p.GoFiles {
			tree, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, 0)
			require.NoError(t, err)
			trees = append(trees, tree)
		}
		info := types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
		_, err := (&types.Config{Importer: from}).Check(p.ImportPath, files, trees, &info)
		require.NoError(t, err, p.ImportPath)
		for _, o := range info.Defs {
			if f, ok := o.(*types.Func); ok {
				seen[f.FullName()] = true
			}
		}
		name, _ := folder(p.ImportPath)
		for _, o := range info.Uses {
			f, ok := o.(*types.Func)
			if !ok || f.Pkg() == nil || f.Pkg().Path() == p.ImportPath || !slices.Contains(functions, f.FullName()) {
				continue
			}
			if !slices.Contains(users[f.FullName()], name) {
				users[f.FullName()] = append(users[f.FullName()], name)
			}
		}
	}
	for _, f := range functions {
		require.True(t, seen[f], "there is no %s: the test looks for nothing", f)
		slices.Sort(users[f])
	}
	return users
}
