package oip

import (
	"maps"
	"math"
	"sync"
	"time"

	"github.com/vitserve/vitserve/api/op"
)

// spent is where the time of a request went. Of its pictures, which are
// answered side by side, the slowest counts.
type spent struct {
	queue, input, infer, output time.Duration
	pictures                    int
	passes                      map[int]pass // by pictures in a batch
}

// pass is what passes of the model of one size took. Of a batch that pictures
// of several requests share, each request has its share.
type pass struct {
	count        float64
	input, infer time.Duration
}

func duration(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// add adds what an operation took.
func (s *spent) add(t op.Timings) {
	s.queue += duration(t.Queue)
	s.input += duration(t.Decode + t.Preprocess)
	s.infer += duration(t.Infer + t.Explain)
	s.output += duration(t.Encode)
}

// computed counts a picture's share of a pass.
func (s *spent) computed(seen op.Seen) {
	if s.passes == nil {
		s.passes = map[int]pass{}
	}
	n := max(seen.Batch, 1)
	p, t := s.passes[n], seen.Timings
	p.count += 1 / float64(n)
	p.input += duration(t.Decode+t.Preprocess) / time.Duration(n)
	p.infer += duration(t.Infer+t.Explain) / time.Duration(n)
	s.passes[n] = p
}

// executions returns the number of passes.
func (p pass) executions() uint64 { return uint64(math.Round(p.count)) }

// counted are requests and their time.
type counted struct {
	Count uint64 `json:"count"`
	Ns    uint64 `json:"ns"`
}

func (c *counted) add(d time.Duration) {
	c.Count++
	c.Ns += uint64(max(d, 0))
}

// tally is what became of the requests of a model.
type tally struct {
	last                                        time.Time
	pictures                                    uint64
	success, fail, queue, input, infer, written counted
	passes                                      map[int]pass
}

// executions returns how many passes of the model there were.
func (t *tally) executions() uint64 {
	var all pass
	for _, p := range t.passes {
		all.count += p.count
	}
	return all.executions()
}

// statistics count the requests of each model of the protocol.
type statistics struct {
	mu sync.Mutex
	by map[string]*tally
}

func newStatistics() *statistics { return &statistics{by: map[string]*tally{}} }

// add counts a request, which took all that time.
func (s *statistics) add(model string, all time.Duration, in spent, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.by[model]
	if t == nil {
		t = &tally{passes: map[int]pass{}}
		s.by[model] = t
	}
	if err != nil {
		t.fail.add(all)
		return
	}
	t.last = time.Now()
	t.pictures += uint64(in.pictures)
	t.success.add(all)
	t.queue.add(in.queue)
	t.input.add(in.input)
	t.infer.add(in.infer)
	t.written.add(in.output)
	for n, p := range in.passes {
		sum := t.passes[n]
		t.passes[n] = pass{sum.count + p.count, sum.input + p.input, sum.infer + p.infer}
	}
}

// of returns what became of the requests of a model.
func (s *statistics) of(model string) tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.by[model]
	if t == nil {
		return tally{}
	}
	c := *t
	c.passes = maps.Clone(t.passes)
	return c
}
