package deploy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	runtime "github.com/kserve/kserve/pkg/apis/serving/v1alpha1"
	service "github.com/kserve/kserve/pkg/apis/serving/v1beta1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// folders are those that kustomize renders.
var folders = []string{"base", "overlays/hpa", "overlays/keda", "overlays/kserve", "overlays/job"}

// render is what kustomize makes of a folder: a document for each object.
func render(t *testing.T, folder string) (documents [][]byte) {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join("..", folder))
	if err != nil {
		t.Fatalf("%s: %v", folder, err)
	}
	for _, r := range made.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, text)
	}
	if len(documents) == 0 {
		t.Fatalf("%s renders nothing", folder)
	}
	return documents
}

type object struct {
	APIVersion string
	Kind       string
}

// strictly are the kinds that Kubernetes itself does not know, by their own types.
var strictly = map[object]func() any{
	{"serving.kserve.io/v1alpha1", "ServingRuntime"}:  func() any { return new(runtime.ServingRuntime) },
	{"serving.kserve.io/v1beta1", "InferenceService"}: func() any { return new(service.InferenceService) },
	{"keda.sh/v1alpha1", "ScaledObject"}:              func() any { return new(keda.ScaledObject) },
}

// TestRender: every folder renders, KServe's and KEDA's kinds have no member
// that their own types do not, and the others pass kubernetes-validate, whose
// program VALIDATE names.
func TestRender(t *testing.T) {
	validate := os.Getenv("VALIDATE")
	seen := map[object]int{}
	for _, folder := range folders {
		for _, text := range render(t, folder) {
			var of object
			if err := yaml.Unmarshal(text, &of); err != nil {
				t.Fatal(err)
			}
			seen[of]++
			if kind, ok := strictly[of]; ok {
				if err := yaml.UnmarshalStrict(text, kind()); err != nil {
					t.Errorf("%s: %v: %v", folder, of, err)
				}
				// A member too many is found, or this test finds nothing.
				if err := yaml.UnmarshalStrict(append(bytes.Clone(text), "specc: {}\n"...), kind()); err == nil {
					t.Errorf("%v takes anything", of)
				}
				continue
			}
			if validate == "" {
				continue
			}
			file := filepath.Join(t.TempDir(), "object.yaml")
			if err := os.WriteFile(file, text, 0o666); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(validate, "--strict", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %v\n%s", folder, of, err, out)
			}
		}
	}
	for of := range strictly {
		if seen[of] == 0 {
			t.Errorf("no %v", of)
		}
	}
	if validate == "" {
		t.Log("VALIDATE names no kubernetes-validate: core kinds are rendered and not validated; ci/scale.sh does")
	}
}

// program builds vitserve.
func program(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "vitserve")
	cmd := exec.Command("go", "build", "-o", file, "./cmd/vitserve")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

// commands are the command lines of manifests: each an array that begins with
// the name of a command.
func commands(t *testing.T) (all [][]string) {
	var find func(v any)
	find = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if args, ok := v["args"].([]any); ok {
				var line []string
				for _, a := range args {
					line = append(line, a.(string))
				}
				all = append(all, line)
			}
			for _, inner := range v {
				find(inner)
			}
		case []any:
			for _, inner := range v {
				find(inner)
			}
		}
	}
	for _, folder := range folders {
		for _, text := range render(t, folder) {
			var v any
			if err := yaml.Unmarshal(text, &v); err != nil {
				t.Fatal(err)
			}
			find(v)
		}
	}
	unit, err := os.ReadFile("../vitserve.service")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ExecStart=\S+ (.*)$`).FindSubmatch(unit)
	if line == nil {
		t.Fatal("the unit starts nothing")
	}
	return append(all, strings.Fields(string(line[1])))
}

// TestFlags: every flag that a manifest names is one of its command.
func TestFlags(t *testing.T) {
	vitserve := program(t)
	lines := commands(t)
	if len(lines) < 5 {
		t.Fatalf("%d command lines", len(lines))
	}
	for _, line := range lines {
		help, err := exec.Command(vitserve, line[0], "--help").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", line[0], err, help)
		}
		flags := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^\s+(?:-\w, )?(--[\w-]+)`).FindAllStringSubmatch(string(help), -1) {
			flags[m[1]] = true
		}
		for _, arg := range line[1:] {
			if name, _, _ := strings.Cut(arg, "="); strings.HasPrefix(name, "-") && !flags[name] {
				t.Errorf("vitserve %s has no flag %s", line[0], name)
			}
		}
	}
}

// TestMetrics: every metric of ours that a rule or the dashboard names is one
// that the server or score tells.
func TestMetrics(t *testing.T) {
	told := metrics(t)
	for _, name := range []string{"prometheus-rules.yaml", "grafana.json", "overlays/keda/scaledobject.yaml", "overlays/kserve/service.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "grafana.json" && !json.Valid(text) {
			t.Errorf("%s is no JSON", name)
		}
		named := regexp.MustCompile(`\b(vitserve|process|go)_[a-z0-9_]+`).FindAllString(string(text), -1)
		if len(named) == 0 {
			t.Errorf("%s names no metric", name)
		}
		for _, m := range named {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m, "")
			if !told[m] && !told[base] {
				t.Errorf("%s: there is no metric %s", name, m)
			}
		}
	}
}

// metrics are the names that a server and a running job tell.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	vitserve := program(t)
	told := map[string]bool{}
	photo, err := os.ReadFile("../../testdata/images/banana.jpg")
	if err != nil {
		t.Fatal(err)
	}
	type line struct{ Msg, Addr string }
	serve := exec.Command(vitserve, "serve", "--addr", "127.0.0.1:0", "--log-format", "json")
	logs, err := serve.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = serve.Process.Kill(); _ = serve.Wait() }()
	addr := ""
	for d := json.NewDecoder(logs); addr == ""; {
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Msg == "ready" {
			addr = l.Addr
		}
	}
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	resp, err := http.Post("http://"+addr+"/v1/classify", "image/jpeg", bytes.NewReader(photo))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	collect(t, told, "http://"+addr+"/metrics")

	// A photo that does not come has the job wait while it is asked.
	asked, done := make(chan struct{}, 1), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-done }))
	defer slow.Close()
	defer close(done)
	free := httptest.NewServer(nil)
	at := free.Listener.Addr().String()
	free.Close()
	score := exec.Command(vitserve, "score", slow.URL+"/photo.jpg", "--output", t.TempDir(), "--metrics-addr", at)
	if err := score.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = score.Process.Kill(); _ = score.Wait() }()
	<-asked
	collect(t, told, "http://"+at+"/metrics")
	return told
}

func collect(t *testing.T, told map[string]bool, url string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllSubmatch(text, -1) {
		told[string(m[1])] = true
	}
}
