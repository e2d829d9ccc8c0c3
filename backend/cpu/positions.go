package cpu

// What attention knows of places: rotary positions, biases, a causal mask.

// biases returns the rows of head h of image b from query r on.
func (a *attention) biases(b, h, r int) rows {
	if a.each {
		return a.bias.at(b, h*a.q.n+r)
	}
	return a.bias.at(h, r)
}

// panels returns how many panels of keys the rows of a strip see any of.
func (a *attention) panels(p part) int {
	if a.causal {
		return (p.hi-1)/a.keys.cols + 1
	}
	return a.keys.count()
}

// causal is softmax of r rows, of token t and those behind it, over the keys
// up to the row's own; the others of the n get 0. It goes row by row, so that
// no row's sum depends on those beside it.
func (k *kernels) causal(x rows, t, r, n int, scale float32) {
	for i := range r {
		seen := t + i + 1
		k.softmax(x.row(i), x.ld, 1, seen, scale)
		clear(floats(x.row(i), n)[seen:])
	}
}

// angles returns the cosines and sines of head h of token t of image b and of
// those behind it.
func (a *attention) angles(b, h, t int) (cos, sin rows) {
	col := func(v view) int {
		if v.c == a.d {
			return 0 // all heads have the same
		}
		return h * a.d
	}
	t -= a.unturned
	return a.cos.at(b, t).from(0, col(a.cos)), a.sin.at(b, t).from(0, col(a.sin))
}

// turn copies n rows of queries or keys of head h, of token t of image b and
// those behind it, turned by their rotary positions and scaled.
func (a *attention) turn(k *kernels, dst, src rows, b, h, t, n int, scale float32) {
	still := n // rows that have no position
	if !a.cos.none() {
		still = min(max(a.unturned-t, 0), n)
	}
	for i := range still {
		y := floats(dst.row(i), a.d)
		for j, x := range floats(src.row(i), a.d) {
			y[j] = x * scale
		}
	}
	if still == n {
		return
	}
	rotate := k.rotate
	if a.interleaved {
		rotate = k.rotatePairs
	}
	cos, sin := a.angles(b, h, t+still)
	rotate(dst.row(still), dst.ld, src.row(still), src.ld, cos.p, cos.ld, sin.p, sin.ld, n-still, a.d, scale)
}
