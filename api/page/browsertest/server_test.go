package browsertest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestKey: a server with keys asks for one, and a wrong one is told.
func TestKey(t *testing.T) {
	sum := sha256.Sum256([]byte("s3cret"))
	config := filepath.Join(t.TempDir(), "settings.yaml")
	require.NoError(t, os.WriteFile(config, []byte("keys:\n  - {name: me, sha256: "+hex.EncodeToString(sum[:])+"}\n"), 0o600))
	s := serve(t, "--config", config)
	p := open(t, s.url, 360)
	p.expect(`^network error: .* 401 \(Unauthorized\) .*/v1/models`)
	p.wait("document.querySelector('#keyform').checkVisibility()")
	p.accessible()
	p.do(focus("#key"))
	p.key("wrong\r")
	p.wait("document.querySelector('#error-words').textContent.includes('this key is unknown')")
	p.do(focus("#key"))
	eval[bool](p, "document.querySelector('#key').select(), true")
	p.key("s3cret\r")
	p.wait("document.querySelector('#model').options.length === 1 && !document.querySelector('#error').checkVisibility()")
	p.give(image("banana.jpg"))
	p.answered("banana.jpg")
	require.Contains(t, p.text("#request-text"), "X-API-Key: $KEY")
	require.NotContains(t, eval[string](p, "location.href + document.documentElement.outerHTML"), "s3cret", "it stands nowhere")
	p.click("#panel summary")
	p.wait("document.querySelectorAll('#panel table').length === 2")
}

// TestPanel: models, what waits, versions, links.
func TestPanel(t *testing.T) {
	s := serve(t, "--model", "one=starter", "--model", "two=starter")
	p := open(t, s.url, 1280)
	p.click("#panel summary")
	p.wait("document.querySelectorAll('#panel table').length === 2")
	said := p.text("#panel")
	for _, want := range []string{"one", "two", "ready", "In its queues", "MB", "cpu/", "go1."} {
		require.Contains(t, said, want)
	}
	require.Equal(t, "docs openapi.json readyz metrics", eval[string](p, "[...document.querySelectorAll('#panel a')].map((a) => a.getAttribute('href').slice(location.href.length)).join(' ')"))
	p.accessible()
	p.do(chromedp.Navigate(s.url + "/docs"))
	p.wait("document.querySelectorAll('#operations section').length > 5")
	p.accessible()
}

// TestEnd: a server that goes away is told in words; when it is back, asking
// again is enough.
func TestEnd(t *testing.T) {
	s := serve(t)
	p := open(t, s.url, 1280)
	p.give(image("banana.jpg"))
	p.answered("banana.jpg")
	p.expect(`^network error: Failed to load resource: net::ERR_`)
	require.NoError(t, s.cmd.Process.Signal(os.Interrupt))
	_ = s.cmd.Wait()
	p.choose("#method", "raw")
	p.wait("document.querySelector('#error').checkVisibility()")
	require.Contains(t, p.text("#error-words"), "The server does not answer.")
	p.accessible()
	at, err := url.Parse(s.url)
	require.NoError(t, err)
	s.start(t, "--addr", at.Host)
	p.click("#retry")
	p.caption("Map of raw")
	require.False(t, p.shown("#error"))
}

// TestPrefix: behind a proxy under a path everything works as without.
func TestPrefix(t *testing.T) {
	s := serve(t)
	at := s.behind(t, "/a/vit")
	for _, width := range []int64{360, 1280} {
		p := open(t, at, width)
		p.click("#samples button")
		p.answered("banana.jpg")
		p.click("#heads-card summary")
		p.wait("document.querySelectorAll('#heads button').length === 18")
		p.choose("#corruption", "fog")
		p.set("#severity", "2", "input")
		p.wait("document.querySelector('#corrupt-told').textContent !== ''")
		p.click("#panel summary")
		p.wait("document.querySelectorAll('#panel table').length === 2")
		require.Contains(t, p.text("#request-text"), at+"v1/explain")
		asked, _ := p.loaded()
		for _, a := range asked {
			require.True(t, strings.HasPrefix(a, at) || strings.HasPrefix(a, "data:") || strings.HasPrefix(a, "blob:"), a)
		}
	}
}

// TestFragment: settings are in the fragment, and nothing is kept elsewhere.
func TestFragment(t *testing.T) {
	s := serve(t)
	p := open(t, s.url+"#method=raw&layer=3&head=2&colors=jet&alpha=40&smooth=0&unknown=1", 1280)
	p.give(image("banana.jpg"))
	p.answered("banana.jpg")
	p.caption("Map of raw, layer 3, head 2.")
	require.Equal(t, "jet 40 false", eval[string](p, "[document.querySelector('#colors').value, document.querySelector('#alpha').value, document.querySelector('#smooth').checked].join(' ')"))
	eval[bool](p, "location.hash = 'method=gradcam&layer=2', true")
	p.caption("Map of gradcam, layer 2, for banana.")
	eval[bool](p, "location.hash = 'corruption=fog&severity=3&map=0', true")
	p.wait("document.querySelector('#corrupt-told').textContent !== '' && !document.querySelector('#map').checked")
	require.Equal(t, "0 0 ", eval[string](p, "`${localStorage.length} ${sessionStorage.length} ${document.cookie}`"))
	require.Zero(t, eval[int](p, "indexedDB.databases().then((d) => d.length)"))
	asked, _ := p.loaded()
	for _, a := range asked {
		require.True(t, strings.HasPrefix(a, s.url+"/"), a)
	}
	// What is nonsense in it is answered in words, as by the API.
	p.expect(`^network error: .* 422 .*/v1/explain`)
	eval[bool](p, "location.hash = 'method=raw&layer=99', true")
	p.wait("document.querySelector('#error-words').textContent.includes('layer 99')")
}

// TestTransfer: the page is at most 150 kB in at most 12 requests, and paints
// within a second.
func TestTransfer(t *testing.T) {
	s := serve(t)
	p := open(t, s.url, 1280)
	p.wait("document.querySelector('#model').options.length === 1 && document.querySelector('#method').options.length > 5 && document.readyState === 'complete' && [...document.images].every((i) => i.complete)")
	asked, bytes := p.loaded()
	t.Logf("%d requests, %.0f bytes with headers: %v", len(asked), bytes, asked)
	require.LessOrEqual(t, len(asked), 12)
	require.LessOrEqual(t, bytes, 150_000.0)
	paint := eval[float64](p, "new Promise((wake) => new PerformanceObserver((l) => wake(l.getEntries()[0].startTime)).observe({ type: 'paint', buffered: true }))")
	t.Logf("first paint after %.0f ms", paint)
	require.LessOrEqual(t, paint, 1000.0)

	// Again, nothing comes that is there.
	p.do(chromedp.Reload())
	p.wait("document.querySelector('#method').options.length > 5 && document.readyState === 'complete'")
	_, after := p.loaded()
	t.Logf("again: %.0f bytes", after-bytes)
	require.Less(t, after-bytes, 20_000.0)
}

// TestWidths: from 360 to 2560 pixels, dark and light, nothing sticks out and
// all can be read.
func TestWidths(t *testing.T) {
	s := serve(t)
	for _, width := range []int64{360, 768, 1280, 1920, 2560} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%d %s", width, scheme), func(t *testing.T) {
				p := open(t, "about:blank", width)
				p.do(emulate(emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}), chromedp.Navigate(s.url))
				p.give(image("banana.jpg"), image("pizza.jpg"), image("broken.jpg"))
				p.answered("banana.jpg")
				for _, card := range []string{"evidence", "heads", "request", "json"} {
					p.click("#" + card + "-card summary")
				}
				p.click("#panel summary")
				p.wait("document.querySelectorAll('#panel table').length === 2 && document.querySelectorAll('#heads button').length === 18")
				require.LessOrEqual(t, eval[int](p, "document.documentElement.scrollWidth"), int(width))
				p.accessible()
				p.shoot(fmt.Sprintf("width-%d-%s", width, scheme))
			})
		}
	}
}

// TestTabs: every control is reached by the Tab key, in the order of the page.
func TestTabs(t *testing.T) {
	s := serve(t)
	p := open(t, s.url, 1280)
	p.give(image("banana.jpg"))
	p.answered("banana.jpg")
	eval[bool](p, "document.activeElement.blur(), window.scrollTo(0, 0), true")
	want := strings.Fields(eval[string](p, `[...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0'], canvas[tabindex]")]
		.filter((e) => e.checkVisibility() && !e.disabled && e.tabIndex >= 0).map((e) => (e.dataset.n = Math.random().toString(36).slice(2))).join(" ")`))
	require.Greater(t, len(want), 25)
	var got []string
	for range want {
		p.key("\t")
		got = append(got, eval[string](p, "document.activeElement.dataset.n ?? document.activeElement.outerHTML.slice(0, 90)"))
	}
	require.Equal(t, want, got)
}

// TestPictures: what the README shows. Map and labels stand side by side where
// there is room, and one under the other where there is none.
func TestPictures(t *testing.T) {
	s := serve(t)
	for width, height := range map[int64]int64{360: 860, 1280: 1000} {
		p := open(t, s.url, width)
		p.do(chromedp.EmulateViewport(width, height))
		p.give(image("banana.jpg"))
		p.answered("banana.jpg")
		for i := 0; i < 10 && len(p.text("[data-stage=all]")) > len("99 ms"); i++ { // a quiet moment
			p.set("#class", []string{"banana", ""}[i%2], "change")
			p.answered("banana.jpg")
		}
		beside := eval[bool](p, "document.querySelector('#labels').getBoundingClientRect().top < document.querySelector('#view canvas').getBoundingClientRect().bottom")
		require.Equal(t, width == 1280, beside)
		if width == 360 {
			eval[bool](p, "document.querySelector('#status').scrollIntoView(), true")
		}
		p.window(fmt.Sprintf("page-%d", width))
	}
}
