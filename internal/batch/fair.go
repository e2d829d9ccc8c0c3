package batch

import "time"

// company is how many times as dear as the first item of a batch another may
// be: an item is answered when its whole batch is.
const company = 4

// fairness has clients take turns, by start-time fair queueing (Goyal, Vin and
// Cheng, Start-time Fair Queueing, SIGCOMM 1996, section 2): an item may start
// when the one before it, of its client, has had what it costs, in a time that
// runs by what is served. It knows the clients that have places.
type fairness struct {
	now     float64 // the start of what was last taken
	clients map[string]*client
}

type client struct {
	places int
	until  float64 // what it has asked for is served then
}

// turn is when an item may start.
type turn struct {
	who   string
	start float64
	cost  float64
}

// admits reports whether a client may have one more of most places, of which
// so many are taken.
func (f *fairness) admits(who string, taken, most int) bool {
	if taken < most {
		return true
	}
	clients, mine := len(f.clients), 0
	if c := f.clients[who]; c != nil {
		mine = c.places
	} else {
		clients++
	}
	return taken < 2*most && mine < max(1, most/clients) && clients > 1
}

func (f *fairness) enter(who string) {
	c := f.clients[who]
	if c == nil {
		if f.clients == nil {
			f.clients = map[string]*client{}
		}
		c = &client{}
		f.clients[who] = c
	}
	c.places++
}

func (f *fairness) leave(who string) {
	c := f.clients[who]
	if c.places--; c.places == 0 {
		delete(f.clients, who)
	}
}

// queue gives an item of a client that has a place its turn.
func (f *fairness) queue(who string, cost float64) turn {
	c := f.clients[who]
	t := turn{who: who, start: max(f.now, c.until), cost: cost}
	c.until = t.start + cost
	return t
}

func (f *fairness) began(t turn) { f.now = max(f.now, t.start) }

// work is what running items cost and how fast that is done.
type work struct {
	running float64
	began   time.Time     // when the last of them did
	least   time.Duration // the least that the cost 1 took, of late; 0: not known
}

func (w *work) begin(cost float64) {
	w.running += cost
	w.began = time.Now()
}

// ended takes note of a batch.
func (w *work) ended(cost float64, ran time.Duration, failed bool) {
	running := w.running
	if w.running -= cost; failed || cost <= 0 {
		return
	}
	each := time.Duration(float64(ran) / running) // those of other lanes take as long
	if w.least == 0 {
		w.least = each
	}
	w.least = min(each, w.least+w.least/64+1)
}

// left returns how long what runs will go on.
func (w *work) left() time.Duration {
	return max(time.Duration(w.running*float64(w.least))-time.Since(w.began), 0)
}

// Estimate returns about how long an item of a client would take by itself, on
// a device as fast as it has been of late, and how long it would wait before
// that. They are 0 while nothing has been measured. Whoever acts on them by
// refusing says so with Doubt, or a wrong estimate would keep away what could
// mend it.
func (q *Queue[In, Out]) Estimate(p Priority, who string, cost float64) (wait, takes time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := &q.fair[p]
	start := f.now
	if c := f.clients[who]; c != nil {
		start = max(start, c.until)
	}
	var before float64
	for at := range q.waiting {
		for e := q.waiting[at].Front(); e != nil; e = e.Next() {
			it := e.Value.(*item[In, Out])
			if at < int(p) || at == int(p) && it.start <= start {
				before += it.cost
			}
		}
	}
	wait = (time.Duration(before*float64(q.done.least)) + q.done.left()) / time.Duration(q.o.Lanes)
	return wait, time.Duration(cost * float64(q.done.least))
}

// Doubt takes what has been measured for a little less than it was.
func (q *Queue[In, Out]) Doubt() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done.least -= q.done.least / 32
}
