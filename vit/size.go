package vit

// Params returns the number of weights and biases of a model whose optional
// biases and positions are all there.
func Params(c Config) (n int64) {
	w := &Weights{Blocks: make([]BlockWeights, c.Depth)}
	for _, s := range w.slots(c) {
		if s.shape != nil && s.kind != angle {
			n += int64(s.shape.TotalSize())
		}
	}
	return n
}

// FLOPs returns the floating-point operations that classifying one image
// executes: two for each multiply-add of the linear layers, of QKᵀ and of
// the probabilities with V. Tokens of the last block that no feature is made
// of are not computed and do not count; published figures count them.
func FLOPs(c Config) int64 {
	var (
		n, dim   = int64(c.Tokens()), int64(c.Dim)
		patches  = n - int64(c.Prefix)
		hidden   = int64(c.Hidden)
		last     = int64(c.pooledRows())
		fc1Width = hidden
	)
	if c.Gated() {
		fc1Width *= 2
	}
	// block is the multiply-adds of a block that computes rows of its tokens.
	block := func(rows int64) int64 {
		projections := n*2*dim*dim + rows*2*dim*dim // keys and values; queries and output
		attention := 2 * rows * n * dim
		mlp := rows * (dim*fc1Width + hidden*dim)
		return projections + attention + mlp
	}
	probe := int64(0)
	if p := c.Probe; p.Heads > 0 {
		probe = n*2*dim*dim + 2*n*dim + dim*dim + 2*int64(p.Hidden)*dim
	}
	embed := patches * dim * 3 * int64(c.Patch[0]) * int64(c.Patch[1])
	head := int64(c.pooledWidth()) * int64(c.outputs())
	return 2 * (embed + int64(c.Depth-1)*block(n) + block(last) + probe + head)
}
