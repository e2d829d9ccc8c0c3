package cpu

import (
	"slices"

	"github.com/vitserve/vitserve/backend"
)

// fusible reports whether operation i and the one behind it are the halves of
// an MLP whose hidden layer need not exist: the first writes a Temp that the
// second alone reads. Where there are fewer rows than workers it does, for
// them to share the columns.
func fusible(ops []op, i, workers int) bool {
	if i+1 >= len(ops) || ops[i].code != opLinear {
		return false
	}
	first, next := &ops[i], &ops[i+1]
	if first.y.b*first.y.n < workers || !first.y.mem.temp || first.y != next.x || first.res.mem != nil {
		return false
	}
	switch next.code {
	case opLinear:
		if next.act != backend.Identity || !next.pre.none() || !first.pre.none() && overlap(next.y, first.pre) {
			return false
		}
	case opLinearGrad:
		if first.act != backend.Identity || !first.pre.none() || overlap(next.y, next.pre) {
			return false
		}
	default:
		return false
	}
	return !overlap(next.y, first.x) && (next.res.none() || next.res == next.y || !overlap(next.res, next.y)) &&
		!readAgain(ops[i+2:], first.y)
}

// readAgain reports whether any of the operations reads what a Temp holds,
// and not what another has written in its place.
func readAgain(ops []op, temp view) bool {
	var over []view // what has been written since
	for i := range ops {
		o := &ops[i]
		for _, v := range []*view{&o.x, &o.k, &o.v, &o.dy} {
			if v.none() || !overlap(*v, temp) {
				continue
			}
			if !slices.ContainsFunc(over, func(w view) bool { return w.covers(*v) }) {
				return true
			}
		}
		if o.y.mem != temp.mem {
			continue
		}
		if o.y.covers(temp) {
			return false
		}
		over = append(over, o.y)
	}
	return false
}
