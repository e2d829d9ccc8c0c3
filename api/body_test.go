package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

// dialFrom connects to the server from an address of this machine.
func dialFrom(c *client, from string) net.Conn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	require.NoError(c.t, err)
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

// send sends the head of a request and what there is of its body.
func send(t testing.TB, conn net.Conn, head, body string) {
	_, err := fmt.Fprintf(conn, "POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n%s", head, body)
	require.NoError(t, err)
}

// status waits for the answer on a connection.
func status(t testing.TB, conn net.Conn) (int, string) {
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, string(b)
}

var heldLine = regexp.MustCompile(`(?m)^vitserve_body_bytes (\S+)$`)

// held waits until the bodies in memory are between two sizes.
func held(c *client, least, most float64) {
	c.t.Helper()
	var v float64
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var err error
		v, err = strconv.ParseFloat(heldLine.FindStringSubmatch(string(c.get("/metrics").body))[1], 64)
		require.NoError(c.t, err)
		if v >= least && v <= most {
			return
		}
	}
	require.Fail(c.t, "bytes of bodies", "%g, want %g to %g", v, least, most)
}

const (
	declared = "Content-Length: 1000000\r\n"
	formHead = declared + "Content-Type: multipart/form-data; boundary=x\r\n"
)

// TestTinyParts: what has arrived is charged, whatever it is cut into.
func TestTinyParts(t *testing.T) {
	c := start(t, nil)
	var parts strings.Builder
	for i := range 60 {
		fmt.Fprintf(&parts, "--x\r\nContent-Disposition: form-data; name=file; filename=a%d\r\n\r\nG\r\n", i)
	}
	for _, b := range []struct {
		name, head, body string
		least, most      float64
	}{
		{"pictures of a form", formHead, parts.String(), 100, float64(parts.Len())},
		{"fields of a form", formHead, "--x\r\nContent-Disposition: form-data; name=top_k\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; name=logits\r\n\r\ntrue\r\n--x\r\nContent-Disp", 1, 500},
		{"the headers of a part", formHead, "--x\r\n" + strings.Repeat("A: b\r\n", 500) + "B: " + strings.Repeat("b", 300_000), 200_000, 310_000},
		{"a picture", declared, "\xff\xd8\xff", 3, 3},
		{"JSON", declared + "Content-Type: application/json\r\n", `{"images":[`, 11, 11},
		{"chunks", "Transfer-Encoding: chunked\r\n", "3\r\n\xff\xd8\xff\r\n", 3, 3},
		{"a large picture", declared, "\xff\xd8" + strings.Repeat("\xff", 99_998), 100_000, 200_000},
	} {
		t.Run(b.name, func(t *testing.T) {
			conn := dialFrom(c, "127.0.0.1")
			send(t, conn, b.head, b.body)
			held(c, b.least, b.most)
			require.NoError(t, conn.Close())
			held(c, 0, 0)
		})
	}
}

// TestPace: who sends too slowly is told, in every kind of body; who sends
// just fast enough is answered, and may ask again.
func TestPace(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.BodyRate, cfg.BodyRateAfter = 1000, api.Duration(500*time.Millisecond) })
	for name, head := range map[string]string{
		"picture": declared, "form": formHead, "JSON": declared + "Content-Type: application/json\r\n", "chunks": "Transfer-Encoding: chunked\r\n",
	} {
		for kind, body := range map[string]string{"nothing": "", "silence": strings.Repeat(" ", 50_000)} {
			if name == "chunks" && body != "" {
				body = fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
			}
			if name == "form" && body != "" {
				body = "--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n" + body
			}
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				conn := dialFrom(c, "127.0.0.1")
				began := time.Now()
				send(t, conn, head, body)
				code, said := status(t, conn)
				require.Equal(t, http.StatusRequestTimeout, code, said)
				require.Contains(t, said, "less than 1000 bytes a second")
				require.GreaterOrEqual(t, time.Since(began), 500*time.Millisecond)
				require.Less(t, time.Since(began), 5*time.Second)
			})
		}
	}
	t.Run("refused in the midst", func(t *testing.T) {
		t.Parallel()
		conn := dialFrom(c, "127.0.0.1")
		began := time.Now()
		send(t, conn, formHead, strings.Repeat(" ", 50_000))
		code, said := status(t, conn)
		require.Equal(t, http.StatusBadRequest, code, said)
		require.Less(t, time.Since(began), 5*time.Second, "the rest is not waited for")
	})
	t.Run("a trickle", func(t *testing.T) {
		t.Parallel()
		conn := dialFrom(c, "127.0.0.1")
		began := time.Now()
		send(t, conn, declared, "")
		go func() {
			for {
				if _, err := conn.Write([]byte{0xff, 0xff}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		code, said := status(t, conn)
		require.Equal(t, http.StatusRequestTimeout, code, said)
		require.Less(t, time.Since(began), 5*time.Second, "a tenth of the rate")
	})
	t.Run("fast enough", func(t *testing.T) {
		t.Parallel()
		conn := dialFrom(c, "127.0.0.1")
		banana := photo(t, "banana.jpg")
		for range 2 {
			send(t, conn, fmt.Sprintf("Content-Length: %d\r\n", len(banana)), "")
			for rest := banana; len(rest) > 0; {
				n := min(len(rest), max(len(banana)/10, 1))
				_, err := conn.Write(rest[:n])
				require.NoError(t, err)
				rest = rest[n:]
				time.Sleep(100 * time.Millisecond)
			}
			code, said := status(t, conn)
			require.Equal(t, http.StatusOK, code, said)
			time.Sleep(600 * time.Millisecond)
		}
	})
}

// TestShareOfAnAddress: one address has half of the budget, another the rest.
func TestShareOfAnAddress(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.MaxBody, cfg.BodyBudget = 1<<20, 4_010_000 })
	var greedy []net.Conn
	for range 2 {
		conn := dialFrom(c, "127.0.0.2")
		send(t, conn, declared, strings.Repeat("\xff", 990_000))
		greedy = append(greedy, conn)
	}
	held(c, 2_000_002, 2_000_002)
	more := dialFrom(c, "127.0.0.2")
	banana := photo(t, "banana.jpg")
	send(t, more, fmt.Sprintf("Content-Length: %d\r\n", len(banana)), string(banana))
	code, said := status(t, more)
	require.Equal(t, http.StatusTooManyRequests, code)
	require.Contains(t, said, "from one address")
	require.Equal(t, http.StatusOK, c.post("/v1/classify", banana).status, "of another address")
	for _, conn := range greedy {
		require.NoError(t, conn.Close())
	}
	held(c, 0, 0)
	again := dialFrom(c, "127.0.0.2")
	send(t, again, fmt.Sprintf("Content-Length: %d\r\n", len(banana)), string(banana))
	code, said = status(t, again)
	require.Equal(t, http.StatusOK, code, said)
}
