package focus

// raw is the attention row of the class token in one layer, minus the
// prefix tokens' columns: of one head, or of the heads' mean, maximum or
// minimum. A model without class token answers with the mean of its patches'
// rows, because the mean of its patches is what it classifies; one that pools
// by attention with what its probe looks at, unless a layer is named.
func raw(r *Record, b int, o Options) (*Map, error) {
	if r.looksByProbe(o) {
		row, err := r.probe(b, o)
		if err != nil {
			return nil, err
		}
		return r.newMap(row, o, 0)
	}
	_, _, _, tokens := r.shape()
	block := blockOf(o.Layer, len(r.Attn)-1)
	v := r.layer(block, b, o)
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
	return r.newMap(sum, o, layerOf(block))
}
