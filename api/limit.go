package api

import (
	"sync"
	"time"
)

// limiter holds everyone to a rate with a token bucket each.
type limiter struct {
	burst float64

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time // when tokens was true
}

// mostBuckets bounds the memory that strangers can take. Beyond it the
// buckets that are full again are forgotten, which changes nothing, and then
// any, down to half: forgetting looks at all, so it must not happen often.
const mostBuckets = 10_000

func newLimiter(cfg Config) *limiter {
	return &limiter{burst: float64(cfg.RateBurst), buckets: map[string]*bucket{}}
}

// take takes a token of who's bucket, which fills at rate a second, or
// returns how long until there is one. A rate of 0 is no limit.
func (l *limiter) take(who string, rate float64, now time.Time) time.Duration {
	if rate == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[who]
	if b == nil {
		if len(l.buckets) >= mostBuckets {
			l.forget(rate, now)
		}
		b = &bucket{tokens: l.burst, at: now}
		l.buckets[who] = b
	}
	b.tokens = min(l.burst, b.tokens+rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) / rate * float64(time.Second))
	}
	b.tokens--
	return 0
}

func (l *limiter) forget(rate float64, now time.Time) {
	for who, b := range l.buckets {
		if b.tokens+rate*now.Sub(b.at).Seconds() >= l.burst {
			delete(l.buckets, who)
		}
	}
	for who := range l.buckets {
		if len(l.buckets) <= mostBuckets/2 {
			return
		}
		delete(l.buckets, who)
	}
}
