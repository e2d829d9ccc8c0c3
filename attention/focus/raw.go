package focus

// raw is the attention row of the class token in one layer, minus the
// prefix tokens' columns: of one head, or of the heads' mean, maximum or
// minimum. A model without class token answers with the mean of its patches'
// rows, because the mean of its patches is what it classifies.
func raw(r *Record, b int, o Options) (*Map, error) {
	_, heads, _, tokens := r.shape()
	if err := check("raw", rawOptions, o, r.Grid, len(r.Attn), heads); err != nil {
		return nil, err
	}
	l := o.Layer
	if l == 0 {
		l = len(r.Attn)
	}
	v := r.layer(l, b, o)
	asking := r.asking(o)
	sum, row := make([]float64, tokens), make([]float32, tokens)
	for _, q := range asking {
		if err := v.row(row, q); err != nil {
			return nil, err
		}
		for j, p := range row {
			sum[j] += float64(p) / float64(len(asking))
		}
	}
	return r.newMap(sum, o, l)
}
