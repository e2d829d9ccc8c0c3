package focus

import "context"

// occlusion is how much probability the class loses when a window of patches
// is taken away from the model: the tokens are dropped, not painted over, so
// that no colour of ours is looked at, and the passes are shorter. A patch's
// value is the mean of the windows that cover it; it is negative where the
// patch speaks against the class.
//
// Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks",
// https://arxiv.org/abs/1311.2901, section 4.2; dropping tokens: Naseer et
// al., "Intriguing Properties of Vision Transformers",
// https://arxiv.org/abs/2105.10497, section 3.1.
func occlusion(ctx context.Context, q asked, o Options) (*Map, error) {
	window := max(1, o.Window)
	rows, cols := q.Grid[0], q.Grid[1]
	var keep [][]int
	for row := range rows - window + 1 {
		for col := range cols - window + 1 {
			var k []int
			for i := range rows * cols {
				if r, c := i/cols-row, i%cols-col; r < 0 || r >= window || c < 0 || c >= window {
					k = append(k, i)
				}
			}
			keep = append(keep, k)
		}
	}
	whole, err := q.kept(ctx, [][]int{q.all()})
	if err != nil {
		return nil, err
	}
	without, err := q.kept(ctx, keep)
	if err != nil {
		return nil, err
	}
	loss, covered := make([]float64, rows*cols), make([]float64, rows*cols)
	for i, p := range without {
		row, col := i/(cols-window+1), i%(cols-window+1)
		for r := row; r < row+window; r++ {
			for c := col; c < col+window; c++ {
				loss[r*cols+c] += whole[0] - p
				covered[r*cols+c]++
			}
		}
	}
	for i := range loss {
		loss[i] /= covered[i]
	}
	return q.newMap(loss, o)
}

// occlusionPasses: the whole image, and a pass a window, of one target.
func occlusionPasses(o Options, s Shape) (once, each float64) {
	window := max(1, o.Window)
	windows := float64((s.Grid[0] - window + 1) * (s.Grid[1] - window + 1))
	return 1, 1 + windows*float64(s.tokens()-window*window)/float64(s.tokens())
}
