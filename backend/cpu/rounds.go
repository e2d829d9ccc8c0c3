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
			rows = max(rows, o.y.n, o.x.n)
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
	type place struct{ batch, image int }
	seen := map[*mem]place{}
	for i := range ops {
		for _, v := range ops[i].batched() {
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
				if i == 0 {
					return 1, 0
				}
				return i, b
			}
			seen[v.mem] = p
		}
	}
	return len(ops), b
}

// batched returns the views of an operation that have its images; in the
// place of a bias or angles that all images share there is none.
func (o *op) batched() [14]*view {
	bias, cos, sin := &o.bias, &o.cos, &o.sin
	if !o.each {
		bias = &view{}
	}
	if o.cos.b == 1 {
		cos = &view{}
	}
	if o.sin.b == 1 {
		sin = &view{}
	}
	return [...]*view{&o.y, &o.x, &o.res, &o.pre, &o.k, &o.v, &o.probs, &o.dy, &o.dk, &o.dv, &o.share, bias, cos, sin}
}

// images returns o for n images from first on.
func (o op) images(first, n int) op {
	for _, v := range o.batched() {
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
