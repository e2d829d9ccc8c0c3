package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asCommand has the test program be the command.
const asCommand = "VITSERVE_TEST_AS_COMMAND"

func init() {
	if os.Getenv(asCommand) != "" {
		os.Exit(Main())
	}
}

// process is the command, serving in a process of its own.
type process struct {
	cmd  *exec.Cmd
	logs *os.File // the end that is read
	scan *bufio.Scanner
	url  string
}

// startProcess starts the command, as an argument of wrap, and waits until it
// is ready.
func startProcess(t *testing.T, wrap ...string) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	args := append(wrap, self, "serve", "--addr", "127.0.0.1:0", "--log-format", "json")
	p := &process{cmd: exec.Command(args[0], args[1:]...)}
	p.cmd.Env = append(os.Environ(), asCommand+"=1", "VITSERVE_SERVE_PORT=tcp://10.0.0.1:80")
	var w *os.File
	p.logs, w, err = os.Pipe()
	require.NoError(t, err)
	p.cmd.Stderr, p.cmd.Stdout = w, w
	require.NoError(t, p.cmd.Start())
	require.NoError(t, w.Close())
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait(); _ = p.logs.Close() })
	p.scan = bufio.NewScanner(p.logs)
	p.url = "http://" + p.until(t, "ready").Addr
	return p
}

type logLine struct {
	Msg, Addr, Names string
	Lines            int
}

// until reads the log to a message.
func (p *process) until(t *testing.T, msg string) (line logLine) {
	t.Helper()
	var said strings.Builder
	for p.scan.Scan() {
		said.WriteString(p.scan.Text() + "\n")
		line = logLine{}
		if json.Unmarshal(p.scan.Bytes(), &line) == nil && line.Msg == msg {
			return line
		}
	}
	require.Fail(t, "never said: "+msg, said.String())
	return line
}

func (p *process) classify(t *testing.T) {
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second}
	resp, err := client.Post(p.url+"/v1/classify", "", bytes.NewReader(pngBytes(t, picture(1, 40, 40))))
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// ends waits for the process and returns its exit code; -1 by a signal.
func (p *process) ends(t *testing.T) int {
	t.Helper()
	go func() {
		for p.scan.Scan() {
		}
	}()
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		require.Fail(t, "does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// TestHangup: a terminal that goes ends a server as SIGTERM does, however
// often it says so; under nohup it does not.
func TestHangup(t *testing.T) {
	p := startProcess(t)
	for range 3 {
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	}
	p.until(t, "drained")
	require.Equal(t, exitOK, p.ends(t))

	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Skip("no nohup here")
	}
	p = startProcess(t, nohup)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	time.Sleep(50 * time.Millisecond)
	p.classify(t)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, exitOK, p.ends(t))
}

// TestLogReaderGoes: a server whose log nobody reads any more goes on.
func TestLogReaderGoes(t *testing.T) {
	p := startProcess(t)
	require.NoError(t, p.logs.Close())
	for range 5 {
		p.classify(t)
		time.Sleep(20 * time.Millisecond)
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, exitOK, p.ends(t))
}

// TestLogReaderStalls: a log that nobody takes holds no request up, nor the
// end; when it is taken again it says how much is lost.
func TestLogReaderStalls(t *testing.T) {
	p := startProcess(t)
	client := http.Client{Timeout: 20 * time.Second}
	long := strings.Repeat("x", 60)
	ask := func(n int) {
		for i := range n {
			req, err := http.NewRequest(http.MethodGet, p.url+"/v1/models?"+long, nil)
			require.NoError(t, err)
			req.Header.Set("X-Request-Id", fmt.Sprintf("%s%d", long[:50], i%10))
			resp, err := client.Do(req)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			require.NoError(t, resp.Body.Close())
		}
	}
	lost := func() bool {
		resp, err := client.Get(p.url + "/metrics")
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(b), "vitserve_log_lines_lost_total ")
		return !strings.Contains(string(b), "vitserve_log_lines_lost_total 0\n")
	}
	for asked := 0; !lost(); asked += 500 {
		require.Less(t, asked, 20_000)
		ask(500)
	}
	p.classify(t)
	require.Positive(t, p.until(t, "lines of the log lost: nobody took them in time").Lines)
	for range 10 {
		ask(500) // until the pipe is full again
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		require.Fail(t, "does not end while nobody reads")
	}
	require.Equal(t, exitOK, p.cmd.ProcessState.ExitCode())
}

// TestServiceOfKubernetes: what a cluster says is passed over, with a word.
func TestServiceOfKubernetes(t *testing.T) {
	t.Setenv("VITSERVE_SERVE_SERVICE_HOST", "10.0.0.1")
	t.Setenv("VITSERVE_SERVE_PORT", "tcp://10.0.0.1:80")
	got := vitserve(t, "serve", "--addr", "127.0.0.1:99999")
	require.Contains(t, got.stderr, `names="VITSERVE_SERVE_`)
	require.Contains(t, got.stderr, "VITSERVE_SERVE_PORT")
	t.Setenv("VITSERVE_SERVE_PORT", "80")
	got = vitserve(t, "serve", "--addr", "127.0.0.1:99999")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "VITSERVE_SERVE_PORT")
}
