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

// WeightBytes returns what a model takes on its backend in f32: Params, the
// cosines and sines of rotary positions, and what poolings have made of none.
func WeightBytes(c Config) int64 {
	n := Params(c)
	patches := int64(c.Tokens() - c.Prefix)
	switch {
	case c.RopeLearned: // of each head of each block
		n += int64(c.Depth) * 2 * patches * int64(c.Dim)
	case c.Rope != RopeNone:
		n += 2 * patches * int64(c.Dim/c.Heads)
	}
	if c.Probe.Heads > 0 && c.Pool[0].Lo > 0 {
		n += int64(c.Tokens()) // what it hides
	}
	if c.Refine {
		n += 3 * int64(c.Dim) * int64(c.Dim)
	}
	return 4 * n
}

// SessionBytes returns the activations that a Session of so many images takes.
// What is captured comes to it, and the tokens of Session.Kept.
func SessionBytes(c Config, images int) int64 {
	n, dim := int64(c.Tokens()), int64(c.Dim)
	each := pixels(c) + n*(5*dim+int64(c.Hidden)) + int64(c.pooledWidth()+c.outputs()) + probedFloats(c)
	return 4 * (int64(images)*each + biasFloats(c))
}

// TracerBytes returns what a session's traces of so many images take, with
// what is derived of them: TraceBytes of each, and the gradients on their way.
func TracerBytes(c Config, images int) int64 {
	n, dim := int64(c.Tokens()), int64(c.Dim)
	each := pixels(c) + n*(6*dim+int64(c.Hidden)) + 2*int64(c.pooledWidth()) + int64(c.outputs()) + probedFloats(c) + int64(c.Probe.Hidden)
	for _, more := range []bool{c.EmbedNorm, c.PreNorm, c.Form == FormPost} {
		if more {
			each += n * dim
		}
	}
	return int64(images)*(TraceBytes(c)+4*each) + 4*biasFloats(c)
}

func pixels(c Config) int64 { return 3 * int64(c.Image[0]) * int64(c.Image[1]) }

// probedFloats are those of newProbed.
func probedFloats(c Config) int64 {
	if c.Probe.Heads == 0 {
		return 0
	}
	return int64(2*c.Dim + c.Probe.Hidden)
}

// biasFloats are those of Config.bias.
func biasFloats(c Config) int64 {
	if !c.Relative {
		return 0
	}
	return int64(c.Heads) * int64(c.Tokens()) * int64(c.Tokens())
}

// KeptBytes returns what Session.Kept of so many images takes beside the
// session: the tokens of one image, and places of each.
func KeptBytes(c Config, images int) int64 {
	n, width := int64(c.Tokens()), int64(0)
	switch {
	case c.RopeLearned:
		width = int64(c.Dim)
	case c.Rope != RopeNone:
		width = int64(c.Dim / c.Heads)
	}
	return 4 * (n*int64(c.Dim) + int64(images)*(biasFloats(c)+2*(n-int64(c.Prefix))*width))
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
