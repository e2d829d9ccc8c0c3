package robust

import "github.com/vitserve/vitserve/robust/corrupt"

// sequence is a perturbation of ImageNet-P.
type sequence struct{ of corrupt.Perturbation }

func sequences(corrupt.Flavour) (cells []Cell) {
	for _, p := range corrupt.Perturbations() {
		cells = append(cells, Cell{"imagenet-p", "sequence_" + p.Name, 0, "", sequence{p}})
	}
	return cells
}

func (d sequence) needs() needs { return needs{crop: true, frames: d.of.Frames, noise: d.of.Noise} }

func (d sequence) frame(dst *corrupt.Picture, s *subject, i int) ([]int, error) {
	base, err := s.base()
	if err != nil {
		return nil, err
	}
	seed := 0
	if d.of.Noise {
		seed = i
	}
	return nil, d.of.Frame(dst, base, i, s.picture.W, s.picture.H, s.draws("sequence_"+d.of.Name, seed))
}
