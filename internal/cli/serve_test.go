package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/models"
)

// startServer runs serve in this process and returns its address once it is
// ready; stop ends it as a signal does and returns the exit code.
func startServer(t *testing.T, args ...string) (addr string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	logs, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		args := append([]string{"serve", "--addr", "127.0.0.1:0", "--log-format", "json"}, args...)
		code := Run(ctx, args, strings.NewReader(""), io.Discard, w)
		w.Close()
		done <- code
	}()
	var said strings.Builder
	scan := bufio.NewScanner(logs)
	for addr == "" && scan.Scan() {
		said.WriteString(scan.Text() + "\n")
		var line struct{ Msg, Addr string }
		if json.Unmarshal(scan.Bytes(), &line) == nil && line.Msg == "ready" {
			addr = line.Addr
		}
	}
	go io.Copy(io.Discard, logs)
	if addr == "" {
		cancel()
		require.Fail(t, "serve never got ready", said.String())
	}
	return "http://" + addr, func() int {
		cancel()
		return <-done
	}
}

// post sends a body and decodes the JSON answer.
func post(t *testing.T, url string, body []byte, into any) *http.Response {
	t.Helper()
	resp, err := http.Post(url, "application/octet-stream", bytes.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into), string(data))
	return resp
}

// served is what /v1/classify answers, as far as it is compared.
type served struct {
	Results []struct {
		Predictions []models.Prediction `json:"predictions"`
	} `json:"results"`
}

// TestServe holds that REST and the command line answer alike.
func TestServe(t *testing.T) {
	dir := album(t)
	url, stop := startServer(t, "--threads", "2")
	for _, want := range lines[answer](t, vitserve(t, "classify", "--json", dir).stdout) {
		data, err := os.ReadFile(want.Image)
		require.NoError(t, err)
		var got served
		resp := post(t, url+"/v1/classify", data, &got)
		if want.Error != "" {
			require.Equal(t, http.StatusBadRequest, resp.StatusCode)
			continue
		}
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, want.Predictions, got.Results[0].Predictions)
	}
	require.Equal(t, exitOK, stop(), "a signal is how a server ends")
}

func TestServeModels(t *testing.T) {
	url, stop := startServer(t, "--model", "first=starter", "--model", "second=starter")
	resp, err := http.Get(url + "/v1/models")
	require.NoError(t, err)
	defer resp.Body.Close()
	list, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(list), `"first"`)
	require.Contains(t, string(list), `"second"`)
	require.Equal(t, exitOK, stop())
}

func TestServeRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"address", []string{"--addr", "nowhere"}, exitUsage, "want host:port"},
		{"taken address", []string{"--addr", "127.0.0.1:99999"}, exitFailed, "99999"},
		{"model", []string{"--addr", "127.0.0.1:0", "--model", "no-such-model"}, exitFailed, "starter"},
		{"labels of two", []string{"--model", "a=starter", "--model", "b=starter", "--labels", "x"}, exitUsage, "--labels with 2 models"},
		{"log format", []string{"--log-format", "xml"}, exitUsage, "want text or json"},
		{"log level", []string{"--log-level", "loud"}, exitUsage, "want debug, info, warn or error"},
		{"batch", []string{"--max-batch", "0"}, exitUsage, "max_batch"},
		{"argument", []string{"photo.jpg"}, exitUsage, "want 0 arguments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := vitserve(t, append([]string{"serve"}, c.args...)...)
			require.Equal(t, c.code, got.code, got.stderr)
			require.Contains(t, got.stderr, c.want)
		})
	}
}

func TestParseModel(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeFile(t, dir, "a=b/model.safetensors", nil)
	for in, want := range map[string][2]string{
		"starter": {"", "starter"}, "x=starter": {"x", "starter"}, "a=b": {"", "a=b"},
		"./odd=path": {"", "./odd=path"}, "org/vit=starter": {"org/vit", "starter"}, "a/b/c=starter": {"", "a/b/c=starter"}, "v1.0=dir=x": {"v1.0", "dir=x"},
	} {
		m := api.ParseModel(in)
		require.Equal(t, want, [2]string{m.ID, m.Path}, in)
	}
}

// TestServeConfig holds who goes before whom: flags, environment, file,
// defaults.
func TestServeConfig(t *testing.T) {
	file := writeFile(t, t.TempDir(), "serve.yaml", []byte("addr: 127.0.0.1:1\nmax_batch: 2\nmax_queue: 3\nthreads: 1\nmodels: [{id: a, path: starter}]\n"))
	t.Setenv("VITSERVE_SERVE_MAX_QUEUE", "5")
	t.Setenv("VITSERVE_SERVE_MAX_IMAGES", "7")
	got := vitserve(t, "serve", "--config", file, "--max-images", "9", "--request-timeout", "7s", "--print-config")
	require.Equal(t, exitOK, got.code, got.stderr)
	for _, want := range []string{"addr: 127.0.0.1:1\n", "max_batch: 2\n", "max_queue: 5\n", "max_images: 9\n", "request_timeout: 7s\n", "threads: 1\n", "id: a\n", "read_timeout: 30s\n"} {
		require.Contains(t, got.stdout, want)
	}
	printed := writeFile(t, t.TempDir(), "printed.yaml", []byte(got.stdout))
	t.Setenv("VITSERVE_SERVE_MAX_QUEUE", "")
	os.Unsetenv("VITSERVE_SERVE_MAX_QUEUE")
	os.Unsetenv("VITSERVE_SERVE_MAX_IMAGES")
	again := vitserve(t, "serve", "--config", printed, "--print-config")
	require.Equal(t, exitOK, again.code, again.stderr)
	require.Equal(t, got.stdout, again.stdout, "what is printed can be read")

	got = vitserve(t, "serve", "--config", file, "--model", "b=starter", "--threads", "2", "--print-config")
	require.Contains(t, got.stdout, "id: b\n")
	require.NotContains(t, got.stdout, "id: a\n")
	require.Contains(t, got.stdout, "threads: 2\n")

	wrong := writeFile(t, t.TempDir(), "wrong.yaml", []byte("adress: x\n"))
	got = vitserve(t, "serve", "--config", wrong)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "adress")
}
