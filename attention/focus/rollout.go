package focus

import "slices"

// rollout multiplies the attention of all layers, residual connection
// included (Abnar and Zuidema 2020, https://arxiv.org/abs/2005.00928,
// equation 1): with F(l) the heads of layer l fused,
//
//	Â(l)ij = (F(l)ij + δij)/2 / Σk (F(l)ik + δik)/2
//	R      = Â(L) … Â(2) Â(1)
//
// and the map is the class token's row of R minus the prefix tokens' columns;
// the mean of the patches' rows for a model without class token; of one that
// pools by attention, its probe's row times R. Only that row is wanted, so a row vector is carried down from the top layer, O(N²) a
// layer, and no product of matrices is made.
//
// The discard ratio d zeroes, before the residual is added, the ⌊d·N²⌋ lowest
// elements of the whole matrix F(l) except element (0, 0), what the first
// token keeps to itself; equal elements fall in the order of their index.
// The zeroed elements count in the ratio, so do those of prefix tokens.
//
// Compat vit-explain divides column j, instead of row j, by the sum of row j:
// that program writes a / a.sum(dim=-1) without keepdim.
func rollout(r *Record, b int, o Options) (*Map, error) {
	row, err := r.flow(b, o, true)
	if err != nil {
		return nil, err
	}
	return r.newMap(row, o, 0)
}

// flow returns the row (N) of rollout. Whether the discard ratio spares
// element (0, 0) is for the caller.
func (r *Record) flow(b int, o Options, spare bool) ([]float64, error) {
	vec, err := r.begin(b, o)
	if err != nil {
		return nil, err
	}
	tokens := len(vec)
	next := make([]float64, tokens)
	row := make([]float32, tokens)
	for block := len(r.Attn) - 1; block >= blockOf(o.Start, 0); block-- {
		v := r.layer(block, b, o)
		if o.Discard > 0 {
			var err error
			if v, err = v.discard(o.Discard, spare); err != nil {
				return nil, err
			}
		}
		clear(next)
		for i := range tokens {
			if vec[i] == 0 && o.Compat == "" {
				continue // compat wants the sum of every row
			}
			if err := v.row(row, i); err != nil {
				return nil, err
			}
			row[i]++
			var sum float64
			for _, a := range row {
				sum += float64(a)
			}
			if o.Compat == VitExplain {
				for j, a := range row {
					next[j] += vec[i] * float64(a)
				}
				vec[i] = sum // row i is done with, and its sum is wanted below
				continue
			}
			w := vec[i] / sum
			for j, a := range row {
				next[j] += w * float64(a)
			}
		}
		if o.Compat == VitExplain {
			for j := range next {
				next[j] /= vec[j]
			}
		}
		vec, next = next, vec
	}
	return vec, nil
}

// discard returns the fused matrix (N, N) as a layer of one head, its ⌊ratio·N²⌋
// lowest elements zeroed. The first element may be spared, though it counts.
func (v layer) discard(ratio float64, spare bool) (layer, error) {
	n := v.tokens
	out := layer{probs: make([]float32, n*n), rows: n, tokens: n, lo: 0, hi: 1}
	for i := range n {
		if err := v.row(out.probs[i*n:(i+1)*n], i); err != nil {
			return layer{}, err
		}
	}
	k := int(float64(n*n) * ratio)
	if k == 0 {
		return out, nil
	}
	limit, first := kthLowest(slices.Clone(out.probs), k), out.probs[0]
	ties := k
	for _, a := range out.probs {
		if a < limit {
			ties--
		}
	}
	for i, a := range out.probs {
		if a < limit {
			out.probs[i] = 0
		} else if a == limit && ties > 0 {
			out.probs[i] = 0
			ties--
		}
	}
	if spare {
		out.probs[0] = first
	}
	return out, nil
}

// kthLowest returns the k-th lowest value of x, 1 ≤ k ≤ len(x), and reorders
// x: Hoare's selection with the median of three, which takes O(len(x)) steps
// on attention. NaN counts as the highest, so it ends too.
func kthLowest(x []float32, k int) float32 {
	less := func(a, b float32) bool { return a < b || (b != b && a == a) }
	lo, hi := 0, len(x)-1
	for lo < hi {
		mid := lo + (hi-lo)/2
		if less(x[mid], x[lo]) {
			x[mid], x[lo] = x[lo], x[mid]
		}
		if less(x[hi], x[lo]) {
			x[hi], x[lo] = x[lo], x[hi]
		}
		if less(x[hi], x[mid]) {
			x[hi], x[mid] = x[mid], x[hi]
		}
		pivot := x[mid]
		i, j := lo, hi
		for i <= j {
			for less(x[i], pivot) {
				i++
			}
			for less(pivot, x[j]) {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k-1 <= j:
			hi = j
		case k-1 >= i:
			lo = i
		default:
			return x[k-1]
		}
	}
	return x[k-1]
}
