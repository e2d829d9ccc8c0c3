package cpu

// rounds returns ops in the order in which they are run. What comes in a
// large batch goes through all operations that are of one batch a few images
// at a time: the activations of one image a worker stay in the second-level
// cache from one operation to the next, those of a batch do not. The weights
// are read as often either way, see maxRows.
func (c *compiler) rounds(ops []op) []op {
	var out []op
	for len(ops) > 0 {
		n, b := alike(ops)
		rows := 1
		for _, o := range ops[:n] {
			if o.code != opRelativeBias { // its rows are not of tokens
				rows = max(rows, o.y.n, o.x.n)
			}
		}
		size := c.workers * max(1, c.s.atOnce/rows)
		if b%c.workers != 0 || b <= size {
			out = append(out, ops[:n]...) // in uneven rounds somebody would have to wait
			b = 0
		}
		for first := 0; first < b; first += size {
			for _, o := range ops[:n] {
				out = append(out, o.images(first, min(size, b-first)))
			}
		}
		ops = ops[n:]
	}
	return out
}

// alike returns how many of the first operations, at least one, are of the
// same batch, of b images, and see no image in the memory of another; b is 0
// for one that does not.
func alike(ops []op) (n, b int) {
	// place is where images lie in a memory or, for what all of them share,
	// what was written first.
	type place struct {
		batch, image int
		all          bool
		written      view
	}
	seen := map[*mem]place{}
	for i := range ops {
		batched, shared := ops[i].batched()
		for _, v := range batched {
			if v.none() {
				continue
			}
			if b == 0 {
				b = v.b
			}
			p := place{batch: v.batch}
			if v.batch > 0 {
				p.image = v.off / v.batch
			}
			if q, ok := seen[v.mem]; v.b != b || ok && p != q {
				return group(i, b)
			}
			seen[v.mem] = p
		}
		for j, v := range shared {
			if v.none() {
				continue
			}
			p, ok := seen[v.mem]
			switch write := j == 0; {
			case !ok:
				p.all = true
				if write {
					p.written = *v
				}
				seen[v.mem] = p
			case !p.all, write && p.written.none(), !p.written.none() && !p.written.covers(*v):
				// The next round would find what this one leaves.
				return group(i, b)
			}
		}
	}
	return len(ops), b
}

// covers reports whether w, which begins where v does, has no other values.
func (v view) covers(w view) bool {
	return v.off == w.off && v.batch == w.batch && (v.row == w.row || w.n == 1) && v.b == w.b && w.n <= v.n && w.c <= v.c
}

// group is the first n operations, or the first alone if it is like nothing.
func group(n, b int) (int, int) {
	if n == 0 {
		return 1, 0
	}
	return n, b
}

// batched returns the views of an operation that have its images, and those
// of places that all images share. A bias that is written for all is written
// in every round, because the next layer's takes its place.
func (o *op) batched() (images [14]*view, shared [4]*view) {
	none := &view{}
	images = [...]*view{&o.y, &o.x, &o.res, &o.pre, &o.k, &o.v, &o.probs, &o.dy, &o.dk, &o.dv, &o.share, &o.bias, &o.cos, &o.sin}
	shared = [...]*view{none, none, none, none}
	if o.code == opRelativeBias && !o.each {
		images[0], shared[0] = shared[0], images[0]
	}
	for i, each := range []bool{o.each, o.cos.b > 1, o.sin.b > 1} {
		if !each {
			images[11+i], shared[1+i] = shared[1+i], images[11+i]
		}
	}
	return images, shared
}

// images returns o for n images from first on.
func (o op) images(first, n int) op {
	batched, _ := o.batched()
	for _, v := range batched {
		if !v.none() && n < v.b {
			v.off += first * v.batch
			v.b = n
			if n == 1 {
				v.batch = 0
			}
		}
	}
	o.image = first
	return o
}
