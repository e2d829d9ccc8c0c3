// Package browsertest opens the page in Chromium as people do: by clicks and
// keys, against the real program. It is a module of its own, and wants
// VITSERVE (the program), AXE (axe.min.js) and a Chromium; ci/page.sh gives
// all three. Nothing here is skipped.
package browsertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// insecure is a name of this machine that a browser does not take for it: what
// is only for secure contexts is not there.
const insecure = "photos.test"

// browser is the one that all tests have tabs of.
var browser context.Context

func TestMain(m *testing.M) {
	for _, name := range []string{"VITSERVE", "AXE"} {
		if _, err := os.Stat(os.Getenv(name)); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v: bash ci/page.sh sets it\n", name, err)
			os.Exit(1)
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox,
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.Flag("host-resolver-rules", "MAP "+insecure+" 127.0.0.1"))
	if path := os.Getenv("CHROMIUM"); path != "" {
		options = append(options, chromedp.ExecPath(path))
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	first, endFirst := chromedp.NewContext(allocator)
	if err := chromedp.Do(first, chromedp.Navigate("about:blank")); err != nil {
		fmt.Fprintf(os.Stderr, "no Chromium: %v\n", err)
		os.Exit(1)
	}
	browser = first
	code := m.Run()
	endFirst()
	end()
	os.Exit(code)
}

// server is the program, serving.
type server struct {
	url string
	cmd *exec.Cmd
}

// serve starts the program; it ends with the test.
func serve(t *testing.T, flags ...string) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	s := &server{url: "http://" + address}
	s.start(t, append([]string{"--addr", address}, flags...)...)
	return s
}

func (s *server) start(t *testing.T, flags ...string) {
	s.cmd = exec.Command(os.Getenv("VITSERVE"), append([]string{"serve", "--log-level", "error"}, flags...)...)
	stderr, err := s.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			t.Logf("server: %s", lines.Text())
		}
	}()
	ended := s.cmd
	t.Cleanup(func() { _ = ended.Process.Kill(); _ = ended.Wait() })
	require.Eventually(t, func() bool {
		r, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond)
}

// behind is a proxy that has the server under a path.
func (s *server) behind(t *testing.T, prefix string) string {
	to, err := url.Parse(s.url)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", http.StripPrefix(prefix, proxy))
	p := httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p.URL + prefix + "/"
}

// tab is one of the browser, with what it logs and loads.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	entries  []string
	expected []*regexp.Regexp
	asked    []string // addresses
	bytes    float64
}

// open shows an address at a width. At the end of the test there is not one
// entry in the browser's log, but for what was expected.
func open(t *testing.T, at string, width int64) *tab {
	p := &tab{t: t}
	ctx, end := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.listen))
	t.Cleanup(end)
	var cancel context.CancelFunc
	p.ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(cancel)
	t.Cleanup(func() {
		if t.Failed() {
			p.shoot("failed-" + strings.ReplaceAll(t.Name(), "/", "-"))
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, e := range p.entries {
			if !p.isExpected(e) {
				t.Errorf("the browser's log has: %s", e)
			}
		}
	})
	p.do(chromedp.EmulateViewport(width, 900), chromedp.Navigate(at))
	return p
}

func (p *tab) isExpected(entry string) bool {
	for _, e := range p.expected {
		if e.MatchString(entry) {
			return true
		}
	}
	return false
}

// expect says what the browser itself writes of an answer that is an error,
// before it is brought about.
func (p *tab) expect(entry string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, regexp.MustCompile(entry))
}

func (p *tab) listen(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := ev.(type) {
	case *log.EventEntryAdded:
		p.entries = append(p.entries, fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *runtime.EventExceptionThrown:
		p.entries = append(p.entries, fmt.Sprintf("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		p.entries = append(p.entries, fmt.Sprintf("console.%s", e.Type))
	case *network.EventRequestWillBeSent:
		p.asked = append(p.asked, e.Request.URL)
	case *network.EventLoadingFinished:
		p.bytes += e.EncodedDataLength
	}
}

// loaded is what the tab has asked for, and the bytes that came.
func (p *tab) loaded() ([]string, float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.asked...), p.bytes
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.ctx, steps...))
}

// eval is the value of an expression, which may be a promise.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err, expression)
	return v
}

// wait waits until an expression is true.
func (p *tab) wait(expression string) {
	p.t.Helper()
	until := time.Now().Add(40 * time.Second)
	for !eval[bool](p, "Boolean("+expression+")") {
		if time.Now().After(until) {
			p.t.Fatalf("never true: %s; at %s, status %q, error %q", expression, eval[string](p, "location.href"), p.text("#status"), p.text("#error-words"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector)))
}

func (p *tab) key(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// choose chooses of a list, as a person would: the list tells its change.
func (p *tab) choose(selector, value string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("[...document.querySelector(%q).options].some((o) => o.value === %q)", selector, value))
	p.set(selector, value, "change")
}

// set gives a control a value and tells so.
func (p *tab) set(selector, value, event string) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.value = %q;
		return e.dispatchEvent(new Event(%q, { bubbles: true }));
	})()`, selector, value, event))
}

func (p *tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf("document.querySelector(%q).textContent", selector))
}

func (p *tab) shown(selector string) bool {
	p.t.Helper()
	return eval[bool](p, fmt.Sprintf("document.querySelector(%q).checkVisibility()", selector))
}

// give chooses files and waits for the answer to the first of them.
func (p *tab) give(files ...string) {
	p.t.Helper()
	p.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), files))
}

// answered waits until the status tells of a photo.
func (p *tab) answered(name string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("document.querySelector('#status').textContent.startsWith(%q)", name+": "))
}

// shoot keeps a picture of the page where SHOTS names a folder.
func (p *tab) shoot(name string) {
	folder := os.Getenv("SHOTS")
	if folder == "" {
		return
	}
	if png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100)); err == nil {
		_ = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644)
	}
}

// image is a photo of the project.
func image(name string) string {
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "testdata", "images", name))
	if err != nil {
		panic(err)
	}
	return path
}

// accessible has axe look at the page as it stands: nothing serious, nothing
// critical.
func (p *tab) accessible() {
	p.t.Helper()
	axe, err := os.ReadFile(os.Getenv("AXE"))
	require.NoError(p.t, err)
	eval[bool](p, string(axe)+"\n;true")
	found := eval[string](p, `axe.run().then((r) => JSON.stringify(r.violations.map((v) => ({ id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map((n) => n.html) }))))`)
	var violations []struct {
		ID, Impact, Help string
		Nodes            []string
	}
	require.NoError(p.t, json.Unmarshal([]byte(found), &violations))
	for _, v := range violations {
		if v.Impact == "serious" || v.Impact == "critical" {
			p.t.Errorf("axe: %s, %s: %s: %s", v.Impact, v.ID, v.Help, strings.Join(v.Nodes, " | "))
		} else {
			p.t.Logf("axe: %s, %s: %.200s", v.Impact, v.ID, strings.Join(v.Nodes, " | "))
		}
	}
}

func focus(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Focus(chromedp.CSS(selector))
}

func clickAt(x, y float64) chromedp.Action[chromedp.Void] { return chromedp.MouseClickXY(x, y) }

// emulate has the browser prefer something, as its settings do.
func emulate(f emulation.MediaFeature) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{&f}})
		return chromedp.Void{}, err
	}
}

// window keeps a picture of what is in the window, as shoot does.
func (p *tab) window(name string) {
	folder := os.Getenv("SHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644))
}

// saves has the browser save what is downloaded in a folder.
func saves(folder string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
			Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: folder,
			BrowserContextID: chromedp.FromContext(ctx).BrowserContextID,
		})
		return chromedp.Void{}, err
	}
}
