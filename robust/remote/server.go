package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitserve/vitserve/robust"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/measure"
)

// Options say which server is asked.
type Options struct {
	URL     string
	Key     string // sent as a bearer token; "": none
	Model   string // of the protocol, or its name in the report
	Labels  []string
	IDs     func(labels []string) []string // of classes in their data set; nil: nobody knows
	Mapping Mapping
	Batch   int // requests at a time
	Kind    string
	HTTP    *http.Client // nil: one with a time limit
}

// Server is a target.
type Server struct {
	o     Options
	about robust.About
	class map[string]int // by label, in lower case

	unmatched atomic.Int64 // scores of labels that no class has
}

var _ robust.Target = (*Server)(nil)

// longest bounds how long one answer may take, and most how large it may be.
const (
	longest = 2 * time.Minute
	most    = 64 << 20 // bytes
	tries   = 8
)

// Open asks the server about a gray picture, to learn its labels.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: longest}
	}
	s := &Server{o: o, class: map[string]int{}}
	labels := o.Labels
	if labels == nil {
		labels = o.Mapping.Labels
	}
	if labels == nil {
		gray := corrupt.New(224, 224)
		for i := range gray.Pix {
			gray.Pix[i] = 128
		}
		first, err := s.ask(ctx, gray, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.URL, err)
		}
		labels = labelsOf(first)
	}
	if len(labels) < 2 {
		return nil, fmt.Errorf("%s: want an answer about 2 classes or more, found %d", o.URL, len(labels))
	}
	for i, l := range labels {
		s.class[strings.ToLower(l)] = i
	}
	s.about = robust.About{Kind: o.Kind, Model: o.Model, Labels: labels, Logits: o.Mapping.Logits, Batch: max(o.Batch, 1)}
	if s.about.Model == "" {
		s.about.Model = o.URL
	}
	if o.IDs != nil {
		s.about.IDs = o.IDs(labels)
	}
	return s, nil
}

// About implements robust.Target.
func (s *Server) About() robust.About {
	a := s.about
	if n := s.unmatched.Load(); n > 0 {
		a.Notes = append(a.Notes, fmt.Sprintf("%d scores were of labels that no class has; they were left out", n))
	}
	return a
}

// Answer implements robust.Target: a request for each picture, all at a time.
func (s *Server) Answer(ctx context.Context, in []robust.Input) ([]robust.Answer, error) {
	out := make([]robust.Answer, len(in))
	failures := make([]error, len(in))
	var g sync.WaitGroup
	for i := range in {
		g.Go(func() {
			named, err := s.ask(ctx, in[i].Picture, len(s.about.Labels))
			if err != nil {
				out[i].Err, failures[i] = err, ended(ctx, err)
				return
			}
			out[i] = s.answer(named)
		})
	}
	g.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// statusError is what a server says in place of an answer.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("status %d: %s", e.status, e.text)
}

// ended returns err if the run cannot go on after it: the server refuses all,
// or is gone. What is wrong with one picture is that picture's.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var e *statusError
	if errors.As(err, &e) && e.status != http.StatusUnauthorized && e.status != http.StatusForbidden && e.status != http.StatusNotFound {
		return nil
	}
	return err
}

// ask sends one picture.
func (s *Server) ask(ctx context.Context, p *corrupt.Picture, classes int) ([]named, error) {
	file, err := encode(p.Image())
	if err != nil {
		return nil, err
	}
	body, kind := s.o.Mapping.request(file, classes)
	answer, err := post(ctx, &s.o, s.o.URL, body, http.Header{"Content-Type": {kind}})
	if err != nil {
		return nil, err
	}
	return s.o.Mapping.read(answer)
}

func encode(m image.Image) ([]byte, error) {
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestSpeed}
	err := e.Encode(&b, m)
	return b.Bytes(), err
}

// post sends a request, again where the server is busy.
func post(ctx context.Context, o *Options, url string, body []byte, header http.Header) ([]byte, error) {
	for try := 1; ; try++ {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		for k, v := range header {
			r.Header[k] = v
		}
		for k, v := range o.Mapping.Headers {
			r.Header.Set(k, v)
		}
		if o.Key != "" {
			r.Header.Set("Authorization", "Bearer "+o.Key)
		}
		answer, wait, err := send(o.HTTP, r)
		if err == nil || wait < 0 || try == tries {
			return answer, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// send returns how long to wait before the next try; negative: not at all.
func send(c *http.Client, r *http.Request) (answer []byte, wait time.Duration, err error) {
	resp, err := c.Do(r)
	if err != nil {
		return nil, -1, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, -1, err
	case len(answer) > most:
		return nil, -1, fmt.Errorf("an answer of more than %d MiB", most>>20)
	case resp.StatusCode == http.StatusOK:
		return answer, 0, nil
	}
	wait = -1
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		wait = time.Second
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			wait = time.Duration(min(max(seconds, 0), 60)) * time.Second
		}
	}
	return nil, wait, &statusError{resp.StatusCode, strings.TrimSpace(string(answer[:min(len(answer), 300)]))}
}

// answer makes scores by class. Classes that the server left out share what is
// missing to one.
func (s *Server) answer(all []named) (a robust.Answer) {
	k := len(s.about.Labels)
	scores := make([]float64, k)
	seen := make([]bool, k)
	sum, count := 0.0, 0
	for _, n := range all {
		class, ok := n.index, n.index >= 0 && n.index < k
		if n.label != "" {
			if byName, found := s.class[strings.ToLower(n.label)]; found {
				class, ok = byName, true
			}
		}
		if !ok || math.IsNaN(n.score) || math.IsInf(n.score, 0) || seen[class] {
			s.unmatched.Add(1)
			continue
		}
		scores[class], seen[class] = n.score, true
		sum += n.score
		count++
	}
	if s.o.Mapping.Logits {
		if count < k {
			a.Err = fmt.Errorf("logits of %d classes, want %d", count, k)
			return a
		}
		for _, v := range scores {
			a.Logits = append(a.Logits, float32(v))
		}
		a.Scores = measure.Softmax(a.Logits, 1)
		return a
	}
	if count == 0 {
		a.Err = fmt.Errorf("no score of a class that is known")
		return a
	}
	if left := 1 - sum; count < k {
		for i := range scores {
			if !seen[i] {
				scores[i] = max(left, 0) / float64(k-count)
			}
		}
		sum += max(left, 0)
	}
	if math.Abs(sum-1) > 1e-9 && sum > 0 {
		for i := range scores {
			scores[i] /= sum
		}
	}
	a.Scores = scores
	return a
}

// decode reads JSON.
func decode(data []byte, to any) error {
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}
