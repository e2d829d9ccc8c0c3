package ref

import "github.com/vitserve/vitserve/backend"

func (s *stream) Gather(y, x backend.Tensor, rows []int) {
	backend.CheckGather(y, x, rows)
	rows = append([]int(nil), rows...)
	s.do(func() {
		each(y, func(b, i int) { copy(row(y, b, i), row(x, b, listed(rows, y, b, i))) })
	})
}

func (s *stream) GatherGrad(dx, dy backend.Tensor, rows []int) {
	backend.CheckGatherGrad(dx, dy, rows)
	rows = append([]int(nil), rows...)
	s.do(func() {
		each(dx, func(b, r int) {
			sum := make([]float64, dx.Shape[2])
			for i := range dy.Shape[1] {
				if listed(rows, dy, b, i) != r {
					continue
				}
				for j, v := range row(dy, b, i) {
					sum[j] += float64(v)
				}
			}
			round(row(dx, b, r), sum)
		})
	})
}

// listed returns which token row i of image b of y is, by a list for all
// images or for each.
func listed(rows []int, y backend.Tensor, b, i int) int {
	if len(rows) > y.Shape[1] {
		return rows[b*y.Shape[1]+i]
	}
	return rows[i]
}

func (s *stream) RelativeBias(y backend.Tensor, p *backend.Relative, tokens []int) {
	backend.CheckRelativeBias(y, p, tokens)
	e := *p
	tokens = append([]int(nil), tokens...)
	if len(tokens) == 0 {
		for t := range e.Tokens() {
			tokens = append(tokens, t)
		}
	}
	d := len(y.Shape)
	heads, queries, n := y.Shape[d-3], y.Shape[d-2], y.Shape[d-1]
	s.do(func() {
		for b := range len(tokens) / n {
			for h := range heads {
				for i := range queries {
					at, r := b, h*queries+i
					if d == 3 {
						at, r = h, i
					}
					for j := range n {
						row(y, at, r)[j] = row(e.Table, 0, e.Row(tokens[b*n+i], tokens[b*n+j]))[h]
					}
				}
			}
		}
	})
}
