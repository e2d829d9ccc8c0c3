package robust

import (
	"crypto/sha256"
	"slices"

	"github.com/vitserve/vitserve/robust/corrupt"
)

// subject is a photo while its cells are made. It is not changed.
type subject struct {
	picture *corrupt.Picture  // the model's input, or the photo
	sum     [sha256.Size]byte // of the file
	seed    uint64
	grid    [2]int                           // rows, columns of the model's patches
	order   []int                            // patches by the clean photo's focus map, highest first; nil: not known
	row     *Row                             // with the clean answer, for an attack that is shown
	base    func() (*corrupt.Picture, error) // a little more than the crop, for sequences
}

func (s *subject) draws(name string, severity int) corrupt.Generator {
	return corrupt.Seed(s.sum, name, severity, s.seed)
}

// disturbance makes what a target is asked about of a photo.
type disturbance interface {
	needs() needs

	// frames writes picture i of the cell. Only sequences have more than one.
	frame(dst *corrupt.Picture, s *subject, i int) (keep []int, err error)
}

// needs is what a disturbance cannot do without.
type needs struct {
	order  bool // the clean photo's focus map
	tokens bool // a target that leaves patches out
	crop   bool // the model's input and not the photo
	frames int  // pictures; 0: one
	noise  bool // frames do not follow each other
	attack bool // the target's answers, one after the other
	derive bool // and its gradients
	grid   bool // of the model's patches
}

type untouched struct{}

func (untouched) needs() needs { return needs{} }

func (untouched) frame(dst *corrupt.Picture, s *subject, _ int) ([]int, error) {
	dst.Set(s.picture.W, s.picture.H)
	copy(dst.Pix, s.picture.Pix)
	return nil, nil
}

type corruption struct {
	of       corrupt.Corruption
	severity int
	flavour  corrupt.Flavour
}

func (corruption) needs() needs { return needs{} }

func (c corruption) frame(dst *corrupt.Picture, s *subject, _ int) ([]int, error) {
	return nil, c.of.Apply(dst, s.picture, c.severity, c.flavour, s.draws(c.of.Name, c.severity))
}

// rotation is by so many quarters, counter-clockwise, as numpy.rot90 turns. A
// picture that is no square changes its sides.
type rotation int

func (rotation) needs() needs { return needs{} }

func (r rotation) frame(dst *corrupt.Picture, s *subject, _ int) ([]int, error) {
	p := s.picture
	w, h := p.W, p.H
	if r%2 == 1 {
		w, h = h, w
	}
	dst.Set(w, h)
	for y := range h {
		for x := range w {
			var sx, sy int
			switch r {
			case 1:
				sx, sy = p.W-1-y, x
			case 2:
				sx, sy = p.W-1-x, p.H-1-y
			default:
				sx, sy = y, p.H-1-x
			}
			copy(dst.Pix[3*(y*w+x):][:3], p.Pix[3*(sy*p.W+sx):])
		}
	}
	return nil, nil
}

type upsideDown struct{}

func (upsideDown) needs() needs { return needs{} }

func (upsideDown) frame(dst *corrupt.Picture, s *subject, _ int) ([]int, error) {
	p := s.picture
	dst.Set(p.W, p.H)
	row := 3 * p.W
	for y := range p.H {
		copy(dst.Pix[y*row:][:row], p.Pix[(p.H-1-y)*row:])
	}
	return nil, nil
}

// patchOrder is the order in which patches are dropped.
type patchOrder int

const (
	anyPatch patchOrder = iota
	salientPatch
	backgroundPatch
)

// patches returns the first tenths of them in an order: count·n/10 rounded
// down, as Naseer et al. have it.
func (o patchOrder) patches(s *subject, name string, level int) []int {
	n := s.grid[0] * s.grid[1]
	count := level * n / 10
	switch o {
	case salientPatch:
		return s.order[:count]
	case backgroundPatch:
		return s.order[n-count:]
	}
	return s.draws(name, level).Perm(n)[:count]
}

// patchDrop blackens patches, before normalisation. The set is the photo's own
// (the paper has one a batch).
type patchDrop struct {
	name   string
	level  int
	order  patchOrder
	offset int // squares lie a patch's edge over this beside the patches, down and right; 0: on them
}

func (d patchDrop) needs() needs { return needs{order: d.order != anyPatch, crop: true} }

func (d patchDrop) frame(dst *corrupt.Picture, s *subject, _ int) ([]int, error) {
	p := s.picture
	dst.Set(p.W, p.H)
	copy(dst.Pix, p.Pix)
	ph, pw := p.H/s.grid[0], p.W/s.grid[1]
	var dy, dx int
	if d.offset > 0 {
		dy, dx = ph/d.offset, pw/d.offset
	}
	for _, i := range d.order.patches(s, d.name, d.level) {
		y0, x0 := i/s.grid[1]*ph+dy, i%s.grid[1]*pw+dx
		for y := y0; y < min(y0+ph, p.H); y++ {
			clear(dst.Pix[3*(y*p.W+x0) : 3*(y*p.W+min(x0+pw, p.W))])
		}
	}
	return nil, nil
}

// tokenDrop leaves random tenths of the patches out of the model.
type tokenDrop int

func (tokenDrop) needs() needs { return needs{tokens: true, crop: true} }

func (d tokenDrop) frame(dst *corrupt.Picture, s *subject, i int) ([]int, error) {
	n := s.grid[0] * s.grid[1]
	keep := s.draws("token_drop", int(d)).Perm(n)[int(d)*n/10:]
	slices.Sort(keep)
	_, err := untouched{}.frame(dst, s, i)
	return keep, err
}

// shuffle moves the cells of a grid; what is left over at the right and lower
// edge stays.
type shuffle struct {
	grid  [2]int
	level int
}

func (shuffle) needs() needs { return needs{crop: true} }

func (d shuffle) frame(dst *corrupt.Picture, s *subject, i int) ([]int, error) {
	p := s.picture
	if _, err := (untouched{}).frame(dst, s, i); err != nil {
		return nil, err
	}
	h, w := p.H/d.grid[0], p.W/d.grid[1]
	for to, from := range s.draws("shuffle", d.level).Perm(d.grid[0] * d.grid[1]) {
		ty, tx := to/d.grid[1]*h, to%d.grid[1]*w
		fy, fx := from/d.grid[1]*h, from%d.grid[1]*w
		for y := range h {
			copy(dst.Pix[3*((ty+y)*p.W+tx):][:3*w], p.Pix[3*((fy+y)*p.W+fx):])
		}
	}
	return nil, nil
}
