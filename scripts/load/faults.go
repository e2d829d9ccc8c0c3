package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// traced asks on a connection of its own and says whether the request was
// written whole before it failed: on a kept connection nobody can tell a
// request that was lost from one that came too late.
func (b *bench) traced(ctx context.Context, i int) (sent bool, err error) {
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(i httptrace.WroteRequestInfo) { wrote.Store(i.Err == nil) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/v1/classify", bytes.NewReader(b.photos[i%len(b.photos)]))
	if err != nil {
		return false, err
	}
	req.Close = true
	resp, err := b.client.Do(req)
	if err != nil {
		return wrote.Load(), err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return true, err
	}
	if resp.StatusCode != http.StatusOK {
		return true, fmt.Errorf("status %d", resp.StatusCode)
	}
	return true, nil
}

// faults is a crowd of which half misbehaves.
func faults(ctx context.Context, b *bench) error {
	alone := make([][]float32, len(b.photos))
	for i := range alone {
		r, err := b.classify(ctx, i, "logits=true")
		if err != nil || r.logits == nil {
			return fmt.Errorf("photo %d alone: %w, status %d", i, err, r.status)
		}
		alone[i] = r.logits
	}
	hostile := [][]byte{
		b.photos[0][:500], []byte("\x89PNG\r\n\x1a\n"), []byte("GIF89a\xff\xff\xff\xff"), bytes.Repeat([]byte{0}, 5000),
		[]byte("BM\xff\xff\xff\xff\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\xff\xff\xff\x7f\xff\xff\xff\x7f\x01\x00\x18\x00"),
	}
	goroutines, err := b.metric("go_goroutines")
	if err != nil {
		return err
	}
	addr := strings.TrimPrefix(b.url, "http://")
	var next, hungUp, truncated, slow, spoilt, right, refused atomic.Int64
	var mu sync.Mutex
	var wrong []string
	complain := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		wrong = append(wrong, fmt.Sprintf(format, args...))
	}
	var wg, background sync.WaitGroup
	begin := time.Now()
	for w := range b.clients {
		rng := rand.New(rand.NewPCG(9, uint64(w)))
		wg.Go(func() {
			for next.Add(1) <= int64(b.options.faults) && ctx.Err() == nil {
				i := rng.IntN(len(b.photos))
				switch rng.IntN(10) {
				case 0, 1:
					gone, cancel := context.WithTimeout(ctx, time.Duration(rng.IntN(300))*time.Millisecond)
					_, _ = b.classify(gone, i, "logits=true")
					cancel()
					hungUp.Add(1)
				case 2:
					head := fmt.Sprintf("POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(b.photos[i]))
					if err := raw(addr, head, b.photos[i][:rng.IntN(len(b.photos[i]))], 0); err != nil {
						complain("truncated: %v", err)
					}
					truncated.Add(1)
				case 3:
					// One byte a second, beside the others' work; some longer than
					// any server's patience.
					bytes := 10
					if slow.Add(1)%50 == 1 {
						bytes = 60
					}
					background.Go(func() {
						if err := raw(addr, "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", b.photos[i][:bytes], time.Second); err != nil {
							complain("slow: %v", err)
						}
					})
				case 4:
					r, err := b.post(ctx, "/v1/classify", hostile[rng.IntN(len(hostile))])
					if err != nil || r.status/100 != 4 {
						complain("hostile: %v, status %d", err, r.status)
					}
					spoilt.Add(1)
				default:
					r, err := b.classify(ctx, i, "logits=true")
					switch {
					case err != nil:
						complain("photo %d: %v", i, err)
					case r.status == http.StatusTooManyRequests:
						refused.Add(1)
					case (r.status == http.StatusServiceUnavailable || r.status == http.StatusGatewayTimeout) && r.detail != "":
						refused.Add(1) // with its cause
					case r.status != http.StatusOK:
						complain("photo %d: status %d", i, r.status)
					case !equal(r.logits, alone[i]):
						complain("photo %d: the scores of another", i)
					default:
						right.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	background.Wait()
	fmt.Printf("%d requests in %v: %d answered, %d refused; %d hung up, %d truncated, %d slow, %d hostile\n",
		b.options.faults, round(time.Since(begin)), right.Load(), refused.Load(), hungUp.Load(), truncated.Load(), slow.Load(), spoilt.Load())
	for _, w := range wrong[:min(len(wrong), 10)] {
		fmt.Println(w)
	}
	first := "none"
	if len(wrong) > 0 {
		first = wrong[0]
	}
	b.hold(len(wrong) == 0 && right.Load() > 0, fmt.Sprintf("a crowd of %d requests: wrong answers", b.options.faults), "none; each for its own photo to the bit",
		"%d, the first: %s; %d right, %d refused, %d hung up, %d truncated, %d at 1 byte/s, %d hostile",
		len(wrong), first, right.Load(), refused.Load(), hungUp.Load(), truncated.Load(), slow.Load(), spoilt.Load())
	text, err := b.metrics()
	if err != nil {
		return err
	}
	failures := serverFault.FindAllString(text, -1)
	b.hold(len(failures) == 0, "the same: what the server counts as 5xx", "503 and 504 alone", "%d others %v", len(failures), failures)
	b.client.CloseIdleConnections()
	var left float64
	for range 50 {
		if left, err = b.metric("go_goroutines"); err != nil {
			return err
		}
		if left <= goroutines+2 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	b.hold(left <= goroutines+2, "the same: goroutines left behind", "none", "%.0f before, %.0f after", goroutines, left)
	return nil
}

// serverFault is a count of answers that no server should give.
var serverFault = regexp.MustCompile(`vitserve_request_duration_seconds_count\{code="5(0[0-25-9]|[1-9][0-9])".*`)

// raw sends head and body, with a pause before each byte if one is given, and
// expects to be refused or hung up on.
func raw(addr, head string, body []byte, pause time.Duration) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, head)
	if pause == 0 {
		_, _ = conn.Write(body)
	}
	for i := 0; pause > 0 && i < len(body); i++ {
		time.Sleep(pause)
		if _, err := conn.Write(body[i : i+1]); err != nil {
			return nil
		}
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return errors.New("neither an answer nor an end")
		}
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 4 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
