package robust

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"sort"
	"sync"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/measure"
)

// Options are what a run is.
type Options struct {
	Mode     Mode
	Cells    []Cell // Clean first, see Cells
	Seed     uint64
	Flavour  corrupt.Flavour
	Drift    bool   // focus maps of every cell are compared with the clean one's
	Method   string // of the maps, for the report
	Decode   patch.Options
	Limit    int   // photos; 0: all
	Classes  []int // that photos and answers are restricted to; nil: all
	Only     []int // that answers alone are restricted to, of outliers; nil: as Classes
	Released bool  // pictures are files that were corrupted before: only their middle is cropped

	// Truth finds the class that a label means. An error ends the run.
	Truth func(label string) (class int, ok bool, err error)

	// Real returns the classes that are right, by ReaL; ok is false of a photo
	// that is not in its list.
	Real func(name string) (classes []int, ok bool)

	Journal  string                     // file that rows are kept in
	Progress func(photos, pictures int) // after each answer: photos that the journal had, what was done since, see Pictures; nil: nobody looks

	// Adversary is given the picture that an attack on a photo ends with,
	// rounded to bytes, and before the first of them the clean one. An error
	// ends the run. Nil: nobody looks.
	Adversary func(photo string, c Cell, p *corrupt.Picture) error

	Notes []string // that a reader of the report must know
}

// Counts are what became of the photos.
type Counts struct {
	Photos    int `json:"photos"`    // that were asked about, broken ones among them
	Unlabeled int `json:"unlabeled"` // of them, whose label no class of the model has
	LeftOut   int `json:"left_out"`  // photos of classes that the run is not restricted to
	Failed    int `json:"failed"`    // photos without an answer in some cell; there they count as wrong
}

// Run asks the target about every cell of every photo, save those that the
// journal has already.
func Run(ctx context.Context, t Target, photos iter.Seq[Photo], o Options) (Counts, error) {
	about := t.About()
	if err := o.check(&about); err != nil {
		return Counts{}, err
	}
	id, err := o.run(&about)
	if err != nil {
		return Counts{}, err
	}
	j, done, err := openJournal(o.Journal, id, len(o.Cells))
	if err != nil {
		return Counts{}, err
	}
	r := &runner{o: &o, target: t, about: &about, journal: j, skip: done}
	err = r.run(ctx, photos)
	return r.counts, errors.Join(err, j.close())
}

// task is a picture on its way to the target.
type task struct {
	of    *photo
	cell  int
	frame int

	picture *corrupt.Picture
	keep    []int
	err     error
	ready   chan struct{} // closed when picture or err are there
}

// photo is one whose cells are on their way.
type photo struct {
	*subject
	row    *Row
	left   int           // answers that are still to come
	mapped chan struct{} // closed when subject.order is there
	source Photo
	shown  bool  // Options.Adversary has the clean picture
	real   []int // nil: none

	clean    []float64 // the clean answer
	cleanMap []float32
	frames   sequenceAnswers
}

// sequenceAnswers are those of the frames of the cell that is being answered.
type sequenceAnswers struct {
	best [][]int
}

type runner struct {
	o       *Options
	target  Target
	about   *About
	journal *journal
	skip    int
	counts  Counts

	free    chan *corrupt.Picture
	waiting []*task
	attacks []*task  // that wait for the clean answers, see assault
	under   []*photo // in their order, whose rows are not written
	asked   int
	order   bool // of the clean photo, to drop patches by
}

func (r *runner) run(ctx context.Context, photos iter.Seq[Photo]) error {
	r.order = NeedMaps(r.o.Cells)
	workers := runtime.GOMAXPROCS(0)
	depth := max(r.about.Batch, 1) + 2*workers
	r.free = make(chan *corrupt.Picture, depth)
	for range depth {
		r.free <- &corrupt.Picture{}
	}
	order, work := make(chan *task, depth), make(chan *task, depth)
	within, cancel := context.WithCancel(ctx)
	var under sync.WaitGroup
	defer under.Wait()
	defer cancel()
	var listing error
	under.Go(func() {
		defer close(order)
		defer close(work)
		listing = r.list(within, photos, func(t *task) bool {
			if r.o.Cells[t.cell].how.needs().attack {
				close(t.ready)
				select {
				case order <- t:
					return true
				case <-within.Done():
					return false
				}
			}
			select {
			case t.picture = <-r.free:
				order <- t // neither blocks: both hold as many as there are pictures
				work <- t
				return true
			case <-within.Done():
				return false
			}
		})
	})
	for range workers {
		under.Go(func() {
			for t := range work {
				r.disturb(within, t)
			}
		})
	}
	err := r.answer(ctx, order)
	cancel()
	for range order { // so that the lister ends
	}
	under.Wait()
	return errors.Join(err, listing)
}

// list loads photos and emits the tasks of each.
func (r *runner) list(ctx context.Context, photos iter.Seq[Photo], emit func(*task) bool) error {
	n := 0
	for source := range photos {
		class, ok, err := r.o.Truth(source.Label)
		if err != nil {
			return fmt.Errorf("%s: %w", source.Name, err)
		}
		if !ok {
			class = -1
		}
		if r.o.Classes != nil && !slices.Contains(r.o.Classes, class) {
			r.counts.LeftOut++
			continue
		}
		if r.o.Limit > 0 && n >= r.o.Limit {
			return nil
		}
		n++
		r.counts.Photos++
		if class < 0 {
			r.counts.Unlabeled++
		}
		if n <= r.skip {
			continue
		}
		p := &photo{source: source, row: &Row{Name: source.Name, Label: source.Label, Class: class}, mapped: make(chan struct{})}
		if r.o.Real != nil {
			p.real, _ = r.o.Real(source.Name)
		}
		for range r.o.Cells {
			p.row.Records = append(p.row.Records, unknown())
		}
		if !r.o.Released {
			if p.subject, err = r.o.load(ctx, r.about, source); err != nil {
				if ctx.Err() != nil {
					return nil // the answers say why
				}
				p.row.Errors = map[string]string{"photo": err.Error()}
				p.subject = nil
			}
		}
		p.left = tasks(r.o.Cells)
		for i, c := range r.o.Cells {
			for f := range max(1, c.how.needs().frames) {
				if !emit(&task{of: p, cell: i, frame: f, ready: make(chan struct{})}) {
					return nil
				}
			}
		}
	}
	return nil
}

// disturb makes the picture of a task.
func (r *runner) disturb(ctx context.Context, t *task) {
	defer close(t.ready)
	c := r.o.Cells[t.cell]
	if r.o.Released {
		t.err = r.released(ctx, t, c)
		return
	}
	if t.of.subject == nil {
		t.err = errNoPhoto
		return
	}
	if c.how.needs().order {
		select {
		case <-t.of.mapped:
		case <-ctx.Done():
			t.err = ctx.Err()
			return
		}
		if t.of.order == nil {
			t.err = errors.New("no focus map of the clean photo")
			return
		}
	}
	t.keep, t.err = c.how.frame(t.picture, t.of.subject, t.frame)
}

// errNoPhoto is the error of every cell of a photo that is broken: the row has
// one for them all.
var errNoPhoto = errors.New("no photo")

// released reads the picture of a cell from its own file.
func (r *runner) released(ctx context.Context, t *task, c Cell) error {
	data, err := t.of.source.Read(ctx, c)
	if err != nil {
		return err
	}
	if data == nil {
		return errNotReleased
	}
	p, err := r.o.picture(ctx, r.o.transform(r.about), data)
	if err == nil {
		*t.picture = *p
	}
	return err
}

// errNotReleased is of cells that the released files do not have.
var errNotReleased = errors.New("there is no such file")

// answer asks the target in the tasks' order.
func (r *runner) answer(ctx context.Context, order <-chan *task) error {
	batch := max(r.about.Batch, 1)
	for {
		select {
		case t, more := <-order:
			if !more {
				return r.assault(ctx)
			}
			select {
			case <-t.ready:
			case <-ctx.Done():
				return ctx.Err()
			}
			if n := len(r.under); n == 0 || r.under[n-1] != t.of {
				r.under = append(r.under, t.of)
			}
			ask := r.flush
			if r.o.Cells[t.cell].how.needs().attack {
				if r.attacks = append(r.attacks, t); len(r.attacks) < assaultTasks*batch {
					continue
				}
				ask = r.assault
			} else if r.waiting = append(r.waiting, t); len(r.waiting) < batch && !(r.order && t.cell == 0) {
				continue
			}
			if err := ask(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flush asks about the pictures that wait.
func (r *runner) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var in []Input
	for _, t := range r.waiting {
		if t.err == nil {
			in = append(in, Input{Picture: t.picture, Whole: r.o.Mode == PhotoMode, Keep: t.keep, Map: r.o.Drift || r.order && t.cell == 0})
		}
	}
	var answers []Answer
	if len(in) > 0 {
		var err error
		if answers, err = r.target.Answer(ctx, in); err != nil {
			return err
		}
	}
	for _, t := range r.waiting {
		a := Answer{Err: t.err}
		if t.err == nil {
			a, answers = answers[0], answers[1:]
		}
		r.free <- t.picture
		r.count(1)
		if err := r.take(t, a); err != nil {
			return err
		}
	}
	r.waiting = r.waiting[:0]
	return nil
}

// take enters an answer into its photo's row.
func (r *runner) take(t *task, a Answer) error {
	p := t.of
	c := r.o.Cells[t.cell]
	rec := &p.row.Records[t.cell]
	if a.Err != nil && !errors.Is(a.Err, errNoPhoto) && !errors.Is(a.Err, errNotReleased) {
		if p.row.Errors == nil {
			p.row.Errors = map[string]string{}
		}
		p.row.Errors[c.Key()] = a.Err.Error()
	}
	if a.Err == nil {
		n := c.how.needs()
		if n.frames == 0 {
			r.score(p, rec, a)
		} else {
			r.step(p, rec, a, t.frame, n)
		}
	}
	if t.cell == 0 {
		if a.Err == nil && a.Map != nil && p.subject != nil {
			p.order = highestFirst(a.Map)
		}
		close(p.mapped)
	}
	p.left--
	for len(r.under) > 0 && r.under[0].left == 0 {
		if err := r.journal.add(r.under[0].row); err != nil {
			return err
		}
		r.under = r.under[1:]
	}
	return nil
}

// count tells that so much more is done, in pictures that a target is asked
// about.
func (r *runner) count(n int) {
	r.asked += n
	if r.o.Progress != nil {
		r.o.Progress(r.skip, r.asked)
	}
}

// tasks returns how many answers make a row.
func tasks(cells []Cell) int {
	n := 0
	for _, c := range cells {
		n += max(1, c.how.needs().frames)
	}
	return n
}

// Pictures returns how many pictures a target is asked about of each photo, at
// most: an attack ends when a picture is fooled. A gradient counts as three.
func Pictures(cells []Cell) int {
	n := tasks(cells)
	for _, c := range cells {
		if d, ok := c.how.(adversary); ok {
			n += d.cost() - 1
		}
	}
	return n
}

// HasAttacks reports whether some of the cells are attacks, and whether some of
// them need no gradients.
func HasAttacks(cells []Cell) (some, black bool) {
	for _, c := range cells {
		n := c.how.needs()
		some, black = some || n.attack, black || n.attack && !n.derive
	}
	return some, black
}

// NeedMaps reports whether cells are made by the clean photo's focus map.
func NeedMaps(cells []Cell) bool {
	return slices.ContainsFunc(cells, func(c Cell) bool { return c.how.needs().order })
}

// score measures the answer of a cell of one picture.
func (r *runner) score(p *photo, rec *Record, a Answer) {
	scores, class := a.Scores, p.row.Class
	logits := a.Logits
	only := r.o.Classes
	if only == nil {
		only = r.o.Only
	}
	if only != nil {
		scores = measure.Only(scores, only)
		class = slices.Index(only, class)
		if logits != nil {
			logits = nil
			for _, k := range only {
				logits = append(logits, a.Logits[k])
			}
		}
	}
	best := measure.Best(scores)
	rec.Answered, rec.Class, rec.Confidence, rec.Entropy = true, best, scores[best], measure.Entropy(scores)
	if only != nil {
		rec.Class = only[best]
	}
	if class >= 0 {
		rec.Rank, rec.NLL, rec.Brier = measure.Rank(scores, class), measure.NLL(scores, class), measure.Brier(scores, class)
	}
	if len(p.real) > 0 {
		rec.Real = 0
		if slices.Contains(p.real, rec.Class) {
			rec.Real = 1
		}
	}
	if logits != nil {
		rec.MaxLogit, rec.Energy = float64(slices.Max(logits)), measure.Energy(logits)
	}
	if p.clean == nil {
		if rec == &p.row.Records[0] {
			p.clean, p.cleanMap = scores, a.Map
			rec.KL = 0
			p.row.Logits = logits
			if logits == nil {
				for _, v := range scores {
					p.row.Logits = append(p.row.Logits, float32(math.Log(max(v, math.SmallestNonzeroFloat32))))
				}
			}
		}
	} else {
		rec.KL = measure.KL(p.clean, scores)
	}
	if r.o.Drift && p.cleanMap != nil && a.Map != nil {
		rec.Drift = measure.Compare(p.cleanMap, a.Map)
	}
}

// step takes a frame of a sequence; the last one measures them all.
func (r *runner) step(p *photo, rec *Record, a Answer, frame int, n needs) {
	if frame == 0 {
		p.frames = sequenceAnswers{}
	}
	best := best5(a.Scores)
	p.frames.best = append(p.frames.best, best)
	if frame != n.frames-1 || len(p.frames.best) != n.frames {
		return
	}
	first := make([]int, len(p.frames.best))
	for i, b := range p.frames.best {
		first[i] = b[0]
	}
	rec.Answered, rec.Class = true, best[0]
	rec.Flips, rec.Top5Distance = measure.FlipProbability(first, n.noise, 1), measure.TopDistance(p.frames.best, n.noise, 1)
}

// best5 are the classes of the five highest scores.
func best5(scores []float64) []int {
	var best []int
	for range min(5, len(scores)) {
		at := -1
		for k, v := range scores {
			if (at < 0 || v > scores[at]) && !slices.Contains(best, k) {
				at = k
			}
		}
		best = append(best, at)
	}
	return best
}

// highestFirst is the order of values, the highest first.
func highestFirst(v []float32) []int {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return v[order[i]] > v[order[j]] })
	return order
}
