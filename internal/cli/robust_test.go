package cli

import (
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// photosOf links the test pictures that are whole into a folder of classes.
func photosOf(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"banana.jpg", "pizza.jpg", "school_bus.png", "gray.jpg"} {
		class := strings.TrimSuffix(strings.ReplaceAll(name, "_", " "), filepath.Ext(name))
		data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", name))
		require.NoError(t, err)
		writeFile(t, dir, filepath.Join(class, name), data)
	}
	writeFile(t, dir, "pizza/broken.jpg", []byte("\xff\xd8\xff broken"))
	return dir
}

// tables are the parts of a report that must not depend on the target.
func tables(t *testing.T, name string) string {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	var r map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &r))
	return string(r["results"]) + string(r["corruptions"]) + string(r["mce"]) + string(r["protocol"]) + string(r["errors"])
}

// TestRobustTargets: the tables are the same from a model in this process and
// from a server, whatever it speaks, in both modes; a broken photo is a row.
func TestRobustTargets(t *testing.T) {
	dir, out := photosOf(t), t.TempDir()
	addr, stop := startServer(t)
	defer stop()
	run := func(name string, args ...string) string {
		file := filepath.Join(out, name+".json")
		got := vitserve(t, append([]string{"robust", dir, "--suite", "fog,jpeg_compression,san", "--severity", "3", "--gallery", "0", "--out", file, "--out", filepath.Join(out, name+".md")}, args...)...)
		require.Equal(t, exitOK, got.code, got.stderr)
		return file
	}
	crop := run("crop")
	require.Contains(t, tables(t, crop), "broken.jpg")
	require.JSONEq(t, tablesJSON(t, crop), tablesJSON(t, run("rest", "--url", addr)))
	photo := run("photo", "--mode", "photo")
	require.NotEqual(t, tables(t, crop), tables(t, photo))
	require.Equal(t, tables(t, photo), tables(t, run("rest-photo", "--mode", "photo", "--url", addr)))

	// Hugging Face's answers have scores and no logits; what is left of the
	// table is the same to the digits that people read.
	hf := run("hf", "--mode", "photo", "--url", addr+"/models/starter", "--dialect", "huggingface")
	require.Equal(t, rowsOf(t, out, "photo"), rowsOf(t, out, "hf"), hf)

	// So it is of pixels, which come back from mean and deviation rounded.
	transform := field(t, crop, "protocol", "input")
	labels := field(t, crop, "target", "model")
	require.Contains(t, string(labels), "starter")
	mapping := writeFile(t, out, "oip.json", []byte(fmt.Sprintf(`{"transform": %s, "labels": %s}`, transform, starterLabels(t, addr))))
	run("oip", "--url", addr, "--dialect", "oip", "--model", "starter.pixels", "--mapping", mapping)
	require.Equal(t, rowsOf(t, out, "crop"), rowsOf(t, out, "oip"))
}

func tablesJSON(t *testing.T, name string) string {
	b, err := json.Marshal(tables(t, name))
	require.NoError(t, err)
	return string(b)
}

// rowsOf is the table of cells of a Markdown report.
func rowsOf(t *testing.T, dir, name string) string {
	data, err := os.ReadFile(filepath.Join(dir, name+".md"))
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(data), "## By cell")
	require.True(t, ok)
	rest, _, _ = strings.Cut(rest, "## Errors")
	return rest
}

func field(t *testing.T, name string, path ...string) json.RawMessage {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	v := json.RawMessage(data)
	for _, p := range path {
		var m map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(v, &m))
		v = m[p]
	}
	return v
}

func starterLabels(t *testing.T, addr string) string {
	r, err := http.Get(addr + "/v1/models/starter")
	require.NoError(t, err)
	defer r.Body.Close()
	var m struct{ Labels json.RawMessage }
	require.NoError(t, json.NewDecoder(r.Body).Decode(&m))
	return string(m.Labels)
}

// TestRobustMapping: a classifier of another make, which knows three classes by
// names of its own and answers the best two.
func TestRobustMapping(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Picture string }
		if json.NewDecoder(r.Body).Decode(&ask) != nil || ask.Picture == "" || r.Header.Get("X-Who") != "me" {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte(`{"result": [{"tags": [{"name": "Pizza", "p": 0.6}, {"name": "banana", "p": 0.3}, {"name": "unicorn", "p": 0.1}]}]}`))
	}))
	defer server.Close()
	dir, out := photosOf(t), t.TempDir()
	mapping := writeFile(t, out, "m.json", []byte(`{"body": "{\"picture\": \"{{image}}\"}", "headers": {"X-Who": "me"}, "predictions": "result.0.tags", "label": "name", "score": "p", "labels": ["banana", "pizza", "gray"]}`))
	file := filepath.Join(out, "r.json")
	got := vitserve(t, "robust", dir, "--mode", "photo", "--suite", "contrast", "--severity", "1", "--url", server.URL, "--dialect", "json", "--mapping", mapping, "--out", file)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, string(field(t, file, "target")), "scores were of labels that no class has")
	require.Contains(t, string(field(t, file, "data")), `"unlabeled": 1`) // the bus
	var results []struct {
		Photos int
		Top1   struct{ Value float64 }
	}
	require.NoError(t, json.Unmarshal(field(t, file, "results"), &results))
	require.Len(t, results, 2)
	require.Equal(t, 4, results[0].Photos)
	require.InDelta(t, 25, results[0].Top1.Value, 1e-9) // the pizza; of the broken one there is no answer
}

// TestRobustFails: --fail-if is the exit code, and the page has its parts.
func TestRobustFails(t *testing.T) {
	dir, out := photosOf(t), t.TempDir()
	html := filepath.Join(out, "r.html")
	args := []string{"robust", dir, "--suite", "fog,patch-drop-salient", "--severity", "1,5", "--drift", "rollout", "--gallery", "1", "--out", html}
	got := vitserve(t, append(args, "--fail-if", "top1@fog/5>=0")...)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "--fail-if top1@fog/5>=0: it is ")
	first, err := os.ReadFile(html)
	require.NoError(t, err)
	for _, part := range []string{"Reliability diagram", "Risk over coverage", "Attention drift", "Gallery", "where the model looked", "broken.jpg", "protocol "} {
		require.Contains(t, string(first), part)
	}
	got = vitserve(t, append(args, "--fail-if", "failed>5", "--against", html+".rows")...)
	require.Equal(t, exitOK, got.code, got.stderr)
	got = vitserve(t, args...)
	require.Equal(t, exitOK, got.code, got.stderr)
	again, err := os.ReadFile(html)
	require.NoError(t, err)
	require.Equal(t, string(first), string(again), "a run that is there already has the same page")
}

// TestReleased: files as ImageNet-C has them, with groups and without, against
// the same corruptions computed.
func TestReleased(t *testing.T) {
	dir, out := photosOf(t), t.TempDir()
	require.NoError(t, os.Remove(filepath.Join(dir, "pizza", "broken.jpg")))
	got := vitserve(t, "corrupt", dir, "--corruption", "fog,contrast", "--severity", "2", "--format", "png", "--size", "128", "-o", filepath.Join(out, "c"))
	require.Equal(t, exitOK, got.code, got.stderr)
	require.NoError(t, os.MkdirAll(filepath.Join(out, "c", "weather"), 0o755))
	require.NoError(t, os.Rename(filepath.Join(out, "c", "fog"), filepath.Join(out, "c", "weather", "fog")))
	file := filepath.Join(out, "r.json")
	got = vitserve(t, "robust", filepath.Join(out, "c"), "--released", "--suite", "imagenet-c", "--out", file)
	require.Equal(t, exitOK, got.code, got.stderr)
	var corruptions []struct{ Name string }
	require.NoError(t, json.Unmarshal(field(t, file, "corruptions"), &corruptions))
	require.Len(t, corruptions, 2)
	require.Contains(t, string(field(t, file, "protocol")), "no resampling")
	require.Contains(t, string(field(t, file, "data")), `"photos": 4`)
	// A file that is not there is a row with its error.
	require.NoError(t, os.Remove(filepath.Join(out, "c", "contrast", "2", "banana", "banana.png")))
	got = vitserve(t, "robust", filepath.Join(out, "c"), "--released", "--suite", "imagenet-c", "--out", file, "--fresh")
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, string(field(t, file, "errors")), "contrast/2")
}

// TestOutliers: photos of other things are told from the data, restricted to
// the classes of a folder.
func TestOutliers(t *testing.T) {
	dir, out := photosOf(t), t.TempDir()
	file := filepath.Join(out, "r.json")
	got := vitserve(t, "robust", dir, "--suite", "contrast", "--severity", "1", "--outliers", filepath.Join("..", "..", "testdata", "images"), "--class-subset", dir, "--out", file)
	require.Equal(t, exitOK, got.code, got.stderr)
	var d []struct {
		Score    string
		AUROC    float64
		Outliers int
	}
	require.NoError(t, json.Unmarshal(field(t, file, "detections"), &d))
	require.Len(t, d, 4)
	require.Greater(t, d[0].Outliers, 8)
	require.Contains(t, string(field(t, file, "protocol", "classes")), ",")
}

// TestCorruptCommand: one file is one picture, and a folder has the layout.
func TestCorruptCommand(t *testing.T) {
	out := t.TempDir()
	bus := writeFile(t, out, "bus.png", testPicture(t))
	got := vitserve(t, "corrupt", bus, "--corruption", "snow", "--severity", "3", "--size", "0", "-o", filepath.Join(out, "a.png"))
	require.Equal(t, exitOK, got.code, got.stderr)
	got = vitserve(t, "corrupt", bus, "--corruption", "weather", "--severity", "3", "--size", "0", "--format", "png", "-o", filepath.Join(out, "all"))
	require.Equal(t, exitOK, got.code, got.stderr)
	a, err := os.ReadFile(filepath.Join(out, "a.png"))
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(out, "all", "snow", "3", filepath.Base(out), "bus.png"))
	require.NoError(t, err)
	require.Equal(t, a, b)
	got = vitserve(t, "corrupt", bus, "-o", filepath.Join(out, "a.png"))
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "one photo, corruption and severity, found 75")
}

// TestSquareTargets: square asks a server what it asks a model in this process,
// and finds the same; the pictures that are written are in the ball and answered
// as the report says.
func TestSquareTargets(t *testing.T) {
	dir, out := photosOf(t), t.TempDir()
	addr, stop := startServer(t)
	defer stop()
	run := func(name string, args ...string) string {
		file := filepath.Join(out, name+".json")
		got := vitserve(t, append([]string{"robust", dir, "--suite", "square", "--epsilon", "4/255,24/255", "--attack-steps", "25", "--pictures", filepath.Join(out, name), "--out", file}, args...)...)
		require.Equal(t, exitOK, got.code, got.stderr)
		return file
	}
	here, there := run("here"), run("there", "--url", addr)
	require.Equal(t, tables(t, here), tables(t, there))
	var results []struct {
		Name     string
		Severity int
		Attacked int
		Success  struct{ Value float64 }
		Queries  struct{ Value float64 }
		Linf     struct{ Value float64 }
	}
	require.NoError(t, json.Unmarshal(field(t, here, "results"), &results))
	require.Positive(t, results[1].Attacked)
	require.Greater(t, results[1].Queries.Value, 1.0)
	photo := run("photo", "--mode", "photo", "--url", addr+"/models/starter", "--dialect", "huggingface")
	require.Contains(t, string(field(t, photo, "notes")), "16 tiles")

	m, err := lib.Open("starter")
	require.NoError(t, err)
	defer m.Close()
	for i, x := range results[1:] {
		epsilon := []int{4, 24}[i]
		fooled := 0
		clean, err := filepath.Glob(filepath.Join(out, "here", "clean", "*", "*.png"))
		require.NoError(t, err)
		require.Len(t, clean, 4)
		for _, name := range clean {
			rest, err := filepath.Rel(filepath.Join(out, "here", "clean"), name)
			require.NoError(t, err)
			of := func(target string) (string, []byte) {
				file := filepath.Join(out, target, fmt.Sprintf("%s/%d", x.Name, x.Severity), rest)
				data, err := os.ReadFile(file)
				require.NoError(t, err)
				return file, data
			}
			file, data := of("here")
			_, same := of("there")
			require.Equal(t, data, same)
			before, after := pixelsOf(t, name), pixelsOf(t, file)
			for j := range before {
				require.LessOrEqual(t, max(before[j], after[j])-min(before[j], after[j]), epsilon)
			}
			best := func(name string) int {
				source := lib.File(name)
				p, err := m.Prepare(t.Context(), source, lib.Look{Options: patch.Options{}, Preprocess: patch.PreprocessNone})
				require.NoError(t, err)
				lane := m.NewLane(vit.SessionOptions{})
				defer lane.Close()
				o, err := lane.Forward(0, []*tensor.Dense{p.Pixels}, vit.Wants{})
				require.NoError(t, err)
				return slices.Index(o.Logits.Float32s(), slices.Max(o.Logits.Float32s()))
			}
			if best(name) != best(file) {
				fooled++
			}
		}
		require.InDelta(t, x.Success.Value, 100*float64(fooled)/float64(x.Attacked), 1e-9)
	}
}

func pixelsOf(t *testing.T, name string) (v []int) {
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	m, err := png.Decode(file)
	require.NoError(t, err)
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, b, _ := m.At(x, y).RGBA()
			v = append(v, int(r>>8), int(g>>8), int(b>>8))
		}
	}
	return v
}

// TestFitTemperature: the file that a run writes is one that a server takes.
func TestFitTemperature(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	for i, name := range []string{"banana.jpg", "pizza.jpg", "school_bus.png", "gray.jpg"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", name))
		require.NoError(t, err)
		for j := range 6 {
			class := []string{"banana", "pizza", "school bus", "pizza"}[(i+j/5)%4] // some are wrong
			writeFile(t, dir, filepath.Join(class, fmt.Sprintf("%d-%s", j, name)), data)
		}
	}
	file := filepath.Join(out, "t.json")
	args := []string{"robust", dir, "--suite", "contrast", "--severity", "1", "--gallery", "0", "--out", filepath.Join(out, "r.json")}
	got := vitserve(t, append(args, "--fit-temperature="+file)...)
	require.Equal(t, exitOK, got.code, got.stderr)
	k, err := models.ReadCalibration(file)
	require.NoError(t, err)
	require.Equal(t, 24, k.Photos)
	require.Contains(t, string(field(t, file, "fit", "coverage")), "held_out")
	ck, err := models.Open("starter", models.Options{})
	require.NoError(t, err)
	defer ck.Close()
	require.NoError(t, ck.Calibrate(k))

	got = vitserve(t, append(args, "--fit-temperature")...)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "want --fit-temperature=FILE")
}
