package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/models"
	"pgregory.net/rapid"
)

func TestPublic(t *testing.T) {
	for _, addr := range []string{
		"127.0.0.1:80", "127.1.2.3:443", "10.1.2.3:80", "172.16.0.1:80", "192.168.1.1:80", "169.254.169.254:80", "0.0.0.0:80", "100.64.1.1:80",
		"224.0.0.1:80", "255.255.255.255:80", "198.18.0.1:80", "[::1]:80", "[::]:80", "[fe80::1]:80", "[fc00::1]:80", "[ff02::1]:80",
		"[::ffff:127.0.0.1]:80", "[::ffff:10.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80", "8.8.8.8:22", "8.8.8.8:8080",
	} {
		require.ErrorIs(t, public(netip.MustParseAddrPort(addr)), errFetch, addr)
	}
	for _, addr := range []string{"8.8.8.8:80", "1.1.1.1:443", "[2606:4700:4700::1111]:443", "[::ffff:8.8.8.8]:443"} {
		require.NoError(t, public(netip.MustParseAddrPort(addr)), addr)
	}
}

// TestFetch fetches through a transport that may reach this machine.
func TestFetch(t *testing.T) {
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/picture":
			_, _ = io.WriteString(w, "picture")
		case "/large":
			_, _ = w.Write(make([]byte, 1001))
		case "/elsewhere":
			http.Redirect(w, r, "http://example.org/", http.StatusFound)
		case "/around":
			http.Redirect(w, r, "/around", http.StatusFound)
		case "/moved":
			http.Redirect(w, r, "/picture", http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer there.Close()
	cfg := DefaultConfig()
	cfg.ImageHosts = []string{"Pictures.example"}
	cfg.MaxBody = 1000
	s := &Server{cfg: cfg, fetch: newFetcher(cfg)}
	s.bodies.free.Store(4 << 20)
	s.fetch.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, there.Listener.Addr().String())
	}
	defer s.fetch.CloseIdleConnections()
	get := func(ctx context.Context, path string) (string, error) {
		b := body{of: &s.bodies}
		defer b.release()
		data, err := s.get(ctx, "http://pictures.example"+path, &b)
		return string(data), err
	}
	for _, path := range []string{"/picture", "/moved"} {
		data, err := get(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, "picture", data)
	}
	for path, want := range map[string]string{"/large": "larger than", "/elsewhere": "not on this server's list", "/around": "redirects", "/none": "404"} {
		_, err := get(t.Context(), path)
		require.ErrorIs(t, err, errFetch)
		require.ErrorContains(t, err, want)
		require.Equal(t, http.StatusUnprocessableEntity, kindOf(err).HTTP())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := get(ctx, "/slow")
	require.Equal(t, http.StatusGatewayTimeout, kindOf(err).HTTP())
	require.EqualValues(t, 4<<20, s.bodies.free.Load())
	u, err := url.Parse("https://x")
	require.NoError(t, err)
	require.ErrorContains(t, allowed(u, nil), "fetches no pictures")
}

func TestStatus(t *testing.T) {
	for want, err := range map[int]error{
		499: fmt.Errorf("x: %w", context.Canceled),
		500: errors.New("device lost"),
		404: fmt.Errorf("x: %w", models.ErrNotFound),
		429: hint{batch.ErrBusy, 90 * time.Second},
		503: batch.ErrClosed,
		504: fmt.Errorf("x: %w", context.DeadlineExceeded),
		422: errLoad,
	} {
		require.Equal(t, want, kindOf(err).HTTP())
	}
	after := func(err error) time.Duration { return failure(err, "").RetryAfter }
	require.Equal(t, time.Minute, after(hint{batch.ErrBusy, 90 * time.Second}), "an estimate is no promise")
	require.Equal(t, 2100*time.Millisecond, after(hint{batch.ErrBusy, 2100 * time.Millisecond}))
	require.Equal(t, time.Second, after(batch.ErrBusy))
	require.Zero(t, after(errors.New("x")))
	p := problem(failure(fmt.Errorf("open /secret/path: %w", errors.New("x")), "id"))
	require.NotContains(t, p.Detail, "secret", "what went wrong inside stays inside")
}

func TestBodyRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 1 << 20
		n := rapid.IntRange(0, 200_000).Draw(t, "bytes")
		size := rapid.SampledFrom([]int64{-1, int64(n), int64(n) / 2, int64(n) * 2}).Draw(t, "said")
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(i * 7)
		}
		of := &budget{}
		of.free.Store(most)
		b := &body{of: of}
		var r io.Reader = bytes.NewReader(want)
		if rapid.Bool().Draw(t, "halves") {
			r = iotest.HalfReader(r)
		}
		got, err := b.read(r, size)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Fatalf("read %d bytes of %d", len(got), n)
		}
		if b.held < int64(cap(got)) || b.held != most-of.free.Load() || b.held > max(int64(4*n), 32<<10) {
			t.Fatalf("%d bytes charged for a capacity of %d, %d bytes", b.held, cap(got), n)
		}
		if n < scratchBytes && b.held != int64(n) {
			t.Fatalf("%d bytes charged for %d", b.held, n)
		}
		b.release()
		if of.free.Load() != most {
			t.Fatal("not all was given back")
		}
	})
	of := &budget{}
	of.free.Store(100_000)
	b := &body{of: of}
	_, err := b.read(strings.NewReader(strings.Repeat("x", 100_001)), -1)
	require.ErrorIs(t, err, errBodies)
	b.release()
	require.EqualValues(t, 100_000, of.free.Load())
}

func TestLimiter(t *testing.T) {
	l := newLimiter(Config{RateBurst: 2})
	now := time.Unix(0, 0)
	require.Zero(t, l.take("a", 0, now), "no limit")
	require.Empty(t, l.buckets)
	require.Zero(t, l.take("a", 10, now))
	require.Zero(t, l.take("a", 10, now))
	require.Equal(t, 100*time.Millisecond, l.take("a", 10, now))
	require.Equal(t, 50*time.Millisecond, l.take("a", 10, now.Add(50*time.Millisecond)))
	require.Zero(t, l.take("a", 10, now.Add(100*time.Millisecond)))
	require.Zero(t, l.take("b", 10, now))
	require.NotZero(t, l.take("a", 10, now.Add(-time.Hour)), "a clock that goes back gives nothing")

	for i := range 3 * mostBuckets {
		l.take(strconv.Itoa(i), 0.1, now)
	}
	require.LessOrEqual(t, len(l.buckets), mostBuckets)
}

func TestClip(t *testing.T) {
	require.Equal(t, `"a\n\x00"`, op.Clip("a\n\x00"))
	require.Less(t, len(op.Clip(strings.Repeat("x", 1<<20))), 100)
}

// TestDeafen tests that a deafened listener is found by nobody, that what was
// made before can be accepted and used, and that it is seen to wait.
func TestDeafen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can be told")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.False(t, pending(l))
	before, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer before.Close()
	deafen(l)
	_, err = net.Dial("tcp", l.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.True(t, pending(l))
	c, err := l.Accept()
	require.NoError(t, err)
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	b, err := io.ReadAll(before)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	require.False(t, pending(l))
}

func TestThreadsOf(t *testing.T) {
	for _, c := range []struct{ threads, load, n, want int }{
		{8, 1, 1, 8}, {8, 2, 1, 4}, {8, 3, 1, 2}, {8, 9, 1, 1}, {8, 4, 4, 8}, {8, 5, 4, 4}, {8, 64, 4, 1}, {2, 2, 1, 1}, {1, 1, 1, 1},
	} {
		require.Equal(t, c.want, threadsOf(c.threads, c.load, c.n), "%+v", c)
	}
}

func TestSender(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::9": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "", "pipe": "pipe",
	} {
		require.Equal(t, want, sender(address))
	}
	of := budget{each: 10}
	of.free.Store(15)
	a, b, c := body{of: &of, from: "a"}, body{of: &of, from: "a"}, body{of: &of, from: "b"}
	require.NoError(t, a.charge(6))
	require.ErrorIs(t, b.charge(5), errSender)
	require.NoError(t, b.charge(4))
	require.ErrorIs(t, c.charge(6), errBodies)
	require.NoError(t, c.charge(5))
	a.repay(2)
	require.NoError(t, c.answer(2), "what is sent is of no address")
	for _, one := range []*body{&a, &b, &c} {
		one.release()
	}
	require.EqualValues(t, 15, of.free.Load())
	require.Empty(t, of.held)
}
