package vit

import (
	"math"
	"slices"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// naive is a Vision Transformer in float64 that shares no code with the
// encoder or with a backend: one image, matrices as slices of rows, straight
// from the papers' equations. Everything is computed for every token.
type naive struct {
	logits, features []float64
	probe            [][]float64     // [head][key]
	tokens           [][][]float64   // [block+1][token][dim], the embedding first
	probs            [][][][]float64 // [block][head][query][key]
}

func runNaive(c Config, w *Weights, image []float32) *naive { return runKept(c, w, image, nil) }

// runKept is runNaive of the prefix tokens and some patches; nil: of all.
func runKept(c Config, w *Weights, image []float32, keep []int) *naive {
	out := &naive{}
	x := naiveEmbed(c, w, image)
	var tokens []int // that are kept
	for i := range x {
		if keep == nil || i < c.Prefix || slices.Contains(keep, i-c.Prefix) {
			x[len(tokens)] = x[i]
			tokens = append(tokens, i)
		}
	}
	x = x[:len(tokens)]
	c.Pool = keptSpans(c.Pool, len(tokens))
	if c.PreNorm {
		x = naiveNorm(x, w.PreNorm, c.Eps)
	}
	out.tokens = append(out.tokens, x)
	for i, b := range w.Blocks {
		attn := func(x [][]float64) [][]float64 {
			y, probs := naiveAttention(c, w, i, tokens, x)
			out.probs = append(out.probs, probs)
			return y
		}
		switch y := naiveNorm(x, b.Norm1, c.Eps); c.Form {
		case FormPre:
			x = naiveAdd(x, attn(y))
			x = naiveAdd(x, naiveMLP(c, b, naiveNorm(x, b.Norm2, c.Eps)))
		case FormParallel:
			x = naiveAdd(naiveAdd(x, attn(y)), naiveMLP(c, b, y))
		case FormPost:
			x = naiveAdd(x, naiveNorm(attn(x), b.Norm1, c.Eps))
			x = naiveAdd(x, naiveNorm(naiveMLP(c, b, x), b.Norm2, c.Eps))
		}
		out.tokens = append(out.tokens, x)
	}
	if c.FinalNorm == NormTokens || c.FinalNorm == NormTwice {
		x = naiveNorm(x, w.Norm, c.Eps)
	}
	if c.Probe.Heads > 0 {
		out.features = naiveProbe(c, w.Probe, x, &out.probe)
	}
	if c.Refine {
		x = naiveRefine(c, x)
	}
	for _, s := range c.Pool {
		if c.Probe.Heads > 0 {
			break
		}
		if c.Reduce != ReduceMean {
			out.features = naiveMax(c, x[s.Lo:s.Hi])
			break
		}
		mean := make([]float64, c.Dim)
		for _, token := range x[s.Lo:s.Hi] {
			for j, v := range token {
				mean[j] += v / float64(s.Hi-s.Lo)
			}
		}
		out.features = append(out.features, mean...)
	}
	if c.FinalNorm == NormPooled || c.FinalNorm == NormTwice {
		out.features = naiveNorm([][]float64{out.features}, w.Norm, c.Eps)[0]
	}
	if w.Head == nil {
		return out
	}
	if y := naiveLinear([][]float64{out.features}, w.Head, w.HeadBias)[0]; c.Projection > 0 {
		out.features = y
	} else {
		out.logits = y
	}
	return out
}

// naiveAttention returns what the attention of block i makes of x, and its
// probabilities by head, query and key.
func naiveAttention(c Config, w *Weights, i int, tokens []int, x [][]float64) (y [][]float64, probs [][][]float64) {
	b, d := w.Blocks[i], c.Dim/c.Heads
	qkv := naiveLinear(x, b.QKV, b.QKVBias)
	for _, row := range qkv {
		for h := 0; h < c.Heads && c.QKNorm; h++ {
			q, k := row[h*d:(h+1)*d], row[c.Dim+h*d:c.Dim+(h+1)*d]
			copy(q, naiveNorm([][]float64{q}, b.QueryNorm, c.Eps)[0])
			copy(k, naiveNorm([][]float64{k}, b.KeyNorm, c.Eps)[0])
		}
	}
	naiveRope(c, w, i, tokens, qkv)
	o := make([][]float64, len(x))
	for i := range o {
		o[i] = make([]float64, c.Dim)
	}
	for h := 0; h < c.Heads; h++ {
		var p [][]float64
		for i := range x {
			row := make([]float64, len(x))
			sum := 0.0
			for j := range x {
				var qk float64
				for t := 0; t < d; t++ {
					qk += qkv[i][h*d+t] * qkv[j][c.Dim+h*d+t]
				}
				// No maximum is taken off: the test's logits are small.
				row[j] = math.Exp(qk/math.Sqrt(float64(d)) + naiveRelative(c, b, h, tokens[i], tokens[j]))
				sum += row[j]
			}
			for j := range row {
				row[j] /= sum
				for t := 0; t < d; t++ {
					o[i][h*d+t] += row[j] * qkv[j][2*c.Dim+h*d+t]
				}
			}
			p = append(p, row)
		}
		probs = append(probs, p)
	}
	if c.InnerNorm {
		o = naiveNorm(o, b.Inner, c.Eps)
	}
	return naiveLinear(o, b.Proj, b.ProjBias), probs
}

func naiveMLP(c Config, b BlockWeights, x [][]float64) [][]float64 {
	hidden := naiveLinear(x, b.FC1, b.FC1Bias)
	for i := range hidden {
		hidden[i] = naiveAct(c, hidden[i])
	}
	if c.HiddenNorm {
		hidden = naiveNorm(hidden, b.HiddenNorm, c.Eps)
	}
	return naiveLinear(hidden, b.FC2, b.FC2Bias)
}

// naiveMax returns the maximum of each channel, or its mean with the mean.
func naiveMax(c Config, x [][]float64) []float64 {
	pooled := make([]float64, c.Dim)
	for j := range pooled {
		top, sum := math.Inf(-1), 0.0
		for _, token := range x {
			top, sum = math.Max(top, token[j]), sum+token[j]
		}
		if pooled[j] = top; c.Reduce == ReduceMeanMax {
			pooled[j] = 0.5 * (top + sum/float64(len(x)))
		}
	}
	return pooled
}

// naiveRefine lets tokens attend to each other with themselves for queries,
// keys and values.
func naiveRefine(c Config, x [][]float64) (refined [][]float64) {
	d := c.Dim / c.Heads
	for _, q := range x {
		row := make([]float64, c.Dim)
		for h := 0; h < c.Heads; h++ {
			sum, of := 0.0, make([]float64, len(x))
			for j, k := range x {
				var qk float64
				for t := h * d; t < (h+1)*d; t++ {
					qk += q[t] * k[t]
				}
				of[j] = math.Exp(qk / math.Sqrt(float64(d)))
				sum += of[j]
			}
			for j, v := range x {
				for t := h * d; t < (h+1)*d; t++ {
					row[t] += of[j] / sum * v[t]
				}
			}
		}
		refined = append(refined, row)
	}
	return refined
}

// naiveProbe pools tokens by attention.
func naiveProbe(c Config, w ProbeWeights, x [][]float64, probs *[][]float64) []float64 {
	kv, o, d := naiveLinear(x, w.KV, w.KVBias), make([]float64, c.Dim), c.Dim/c.Probe.Heads
	for h := 0; h < c.Probe.Heads; h++ {
		row, sum := make([]float64, len(x)), 0.0
		for j := c.Pool[0].Lo; j < len(x); j++ {
			var qk float64
			for t := h * d; t < (h+1)*d; t++ {
				qk += at(w.Query, 0, t) * kv[j][t]
			}
			row[j] = math.Exp(qk / math.Sqrt(float64(d)))
			sum += row[j]
		}
		for j := range row {
			row[j] /= sum
			for t := h * d; t < (h+1)*d; t++ {
				o[t] += row[j] * kv[j][c.Dim+t]
			}
		}
		*probs = append(*probs, row)
	}
	p := naiveLinear([][]float64{o}, w.Proj, w.ProjBias)
	if c.Probe.Hidden == 0 {
		return p[0]
	}
	hidden := naiveLinear(naiveNorm(p, w.Norm, c.Eps), w.FC1, w.FC1Bias)[0]
	return naiveAdd(p, naiveLinear([][]float64{naiveAct(Config{Act: c.Probe.Act}, hidden)}, w.FC2, w.FC2Bias))[0]
}

// naiveRope turns the queries and keys of the patches, in place.
func naiveRope(c Config, w *Weights, block int, tokens []int, qkv [][]float64) {
	if c.Rope == RopeNone {
		return
	}
	d := c.Dim / c.Heads
	for i, row := range qkv {
		i := tokens[i] - c.Prefix
		for h := 0; h < c.Heads && i >= 0; h++ {
			for p := 0; p < d/2; p++ {
				first, second := p, p+d/2
				if c.Rope == RopePairs {
					first, second = 2*p, 2*p+1
				}
				var angle float64
				if c.RopeLearned {
					angle = at(w.Blocks[block].Angles, i, h*d/2+p)
				} else {
					angle = at(w.Angles, i, p)
				}
				sin, cos := math.Sincos(angle)
				for _, of := range []int{h * d, c.Dim + h*d} { // query, key
					a, b := row[of+first], row[of+second]
					row[of+first], row[of+second] = a*cos-b*sin, b*cos+a*sin
				}
			}
		}
	}
}

// naiveRelative is the bias between tokens i and j, by the distance of their
// patches.
func naiveRelative(c Config, b BlockWeights, h, i, j int) float64 {
	if !c.Relative {
		return 0
	}
	rows, cols := c.Grid()
	distances := (2*rows - 1) * (2*cols - 1)
	i, j = i-c.Prefix, j-c.Prefix
	switch {
	case i < 0 && j < 0:
		return at(b.Table, distances+2, h)
	case j < 0:
		return at(b.Table, distances+1, h)
	case i < 0:
		return at(b.Table, distances, h)
	}
	down, right := i/cols-j/cols, i%cols-j%cols
	return at(b.Table, (down+rows-1)*(2*cols-1)+right+cols-1, h)
}

// naiveEmbed is the patch projection as the convolution that it is.
func naiveEmbed(c Config, w *Weights, image []float32) (x [][]float64) {
	for i := 0; i < c.Prefix; i++ {
		var token []float64
		for j := 0; j < c.Dim; j++ {
			token = append(token, at(w.Prefix, i, j))
		}
		x = append(x, token)
	}
	for top := 0; top+c.Patch[0] <= c.Image[0]; top += c.Patch[0] {
		for left := 0; left+c.Patch[1] <= c.Image[1]; left += c.Patch[1] {
			n := len(x) - c.Prefix
			token := make([]float64, c.Dim)
			for j := range token {
				k := 0
				for channel := 0; channel < 3; channel++ {
					for i := 0; i < c.Patch[0]; i++ {
						for l := 0; l < c.Patch[1]; l++ {
							pixel := image[(channel*c.Image[0]+top+i)*c.Image[1]+left+l]
							token[j] += float64(pixel) * at(w.PatchProj, j, k)
							k++
						}
					}
				}
				if w.PatchBias != nil {
					token[j] += at(w.PatchBias, j)
				}
			}
			if c.EmbedNorm {
				token = naiveNorm([][]float64{token}, w.EmbedNorm, c.Eps)[0]
			}
			for j := range token {
				if w.Pos != nil {
					token[j] += at(w.Pos, n, j)
				}
			}
			x = append(x, token)
		}
	}
	return x
}

func naiveNorm(x [][]float64, n NormWeights, eps float32) (y [][]float64) {
	for _, token := range x {
		var sum, squares float64
		for _, v := range token {
			sum += v
			squares += v * v
		}
		mean := sum / float64(len(token))
		if n.Bias == nil { // root mean square
			mean = 0
		}
		variance := squares/float64(len(token)) - mean*mean
		row := make([]float64, len(token))
		for j, v := range token {
			row[j] = (v - mean) / math.Sqrt(variance+float64(eps)) * at(n.Weight, j)
			if n.Bias != nil {
				row[j] += at(n.Bias, j)
			}
		}
		y = append(y, row)
	}
	return y
}

func naiveLinear(x [][]float64, weight, bias *tensor.Dense) (y [][]float64) {
	for _, token := range x {
		row := make([]float64, weight.Shape()[0])
		for i := range row {
			for j, v := range token {
				row[i] += v * at(weight, i, j)
			}
			if bias != nil {
				row[i] += at(bias, i)
			}
		}
		y = append(y, row)
	}
	return y
}

func naiveAct(c Config, x []float64) (y []float64) {
	phi := func(v float64) float64 { return (1 + math.Erf(v/math.Sqrt2)) / 2 }
	logistic := func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
	if c.Act == backend.SwiGLU {
		for i := 0; i < c.Hidden; i++ {
			y = append(y, x[i]*logistic(x[i])*x[c.Hidden+i])
		}
		return y
	}
	for _, v := range x {
		switch c.Act {
		case backend.GELU:
			v *= phi(v)
		case backend.GELUTanh:
			v *= (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*math.Pow(v, 3)))) / 2
		case backend.QuickGELU:
			v *= logistic(1.702 * v)
		}
		y = append(y, v)
	}
	return y
}

func naiveAdd(x, y [][]float64) (z [][]float64) {
	for i := range x {
		row := make([]float64, len(x[i]))
		for j := range row {
			row[j] = x[i][j] + y[i][j]
		}
		z = append(z, row)
	}
	return z
}

// at returns an element of a host tensor.
func at(t *tensor.Dense, index ...int) float64 {
	i := 0
	for d, n := range t.Shape() {
		i = i*n + index[d]
	}
	return float64(t.Float32s()[i])
}
