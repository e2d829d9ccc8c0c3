package vit

import (
	"fmt"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Kept classifies one image (1, 3, H, W) in [0, 1] as often as keep has
// lists, up to MaxBatch, and returns the logits (len(keep), K). Each time the
// model is given its prefix tokens and the patches of the list alone, with
// their own positions; patches are counted row by row from 0. The other
// tokens are dropped, as if the image had never had them, so that fewer
// patches take less time. The lists are ascending, of one length and not
// empty; a mean over patches is a mean over those kept.
//
// Naseer et al., "Intriguing Properties of Vision Transformers",
// https://arxiv.org/abs/2105.10497, section 3.1 (PatchDrop).
func (s *Session) Kept(pixels *tensor.Dense, keep [][]int) (*tensor.Dense, error) {
	c := s.m.cfg
	if err := s.checkKept(pixels, keep); err != nil {
		return nil, fmt.Errorf("vit: kept: %w", err)
	}
	n, tokens := len(keep), c.Prefix+len(keep[0])
	if s.whole.IsZero() {
		whole := s.stream.Alloc(1, c.Tokens(), c.Dim)
		if err := s.stream.Sync(); err != nil {
			return nil, fmt.Errorf("vit: kept: memory for the image: %w", err)
		}
		s.whole = whole
	}
	places, err := s.keptPlaces(n, tokens)
	if err != nil {
		return nil, fmt.Errorf("vit: kept: memory for places: %w", err)
	}
	m := *s.batch(n)
	for _, t := range []*backend.Tensor{&m.x, &m.y, &m.qkv, &m.hidden} {
		*t = t.Rows(0, tokens)
	}

	one := s.batch(1)
	s.stream.Write(one.pixels, pixels)
	s.m.enter(s.stream, s.whole, one.pixels, entry{})
	rows := make([]int, 0, n*tokens)
	for _, patches := range keep {
		for i := range c.Prefix {
			rows = append(rows, i)
		}
		for _, p := range patches {
			rows = append(rows, c.Prefix+p)
		}
	}
	all := s.whole // one image for all lists
	all.Shape, all.Batch = tensor.Shape{n, c.Tokens(), c.Dim}, 0
	s.stream.Gather(m.x, all, rows)

	c.Pool = keptSpans(c.Pool, tokens)
	m.places = places
	m.places.Tokens = rows
	for i := range s.m.blocks {
		rows := tokens
		if i == c.Depth-1 {
			rows = min(c.pooledRows(), tokens)
		}
		if i == 0 || c.RopeLearned {
			s.keepRope(places.Rope, s.m.blocks[i].attn.Rope, keep)
		}
		s.m.blocks[i].forward(s.stream, &m, rows, attention.Capture{}, false, nil)
	}
	if err := s.m.pool(s.stream, &m, c, attention.Capture{}); err != nil {
		return nil, fmt.Errorf("vit: kept patches of %d images: %w", n, err)
	}
	s.stream.Linear(m.logits, m.pooled, s.m.head, backend.Epilogue{})
	logits := read(s.stream, m.logits)
	if err := s.stream.Sync(); err != nil {
		return nil, fmt.Errorf("vit: kept patches of %d images: %w", n, err)
	}
	if err := logits.Reshape(n, c.Classes); err != nil {
		return nil, fmt.Errorf("vit: kept: %w", err)
	}
	return logits, nil
}

// keptSpans cuts spans off where the tokens now end. A span over patches
// begins at the first of them, so none becomes empty.
func keptSpans(spans []backend.Span, tokens int) []backend.Span {
	cut := make([]backend.Span, len(spans))
	for i, p := range spans {
		cut[i] = backend.Span{Lo: min(p.Lo, tokens-1), Hi: min(p.Hi, tokens)}
	}
	return cut
}

// checkKept says what is wrong with the arguments.
func (s *Session) checkKept(pixels *tensor.Dense, keep [][]int) error {
	c := s.m.cfg
	if s.m.cfg.Classes == 0 {
		return fmt.Errorf("the model has no head, so there are no logits")
	}
	n, err := s.check(pixels, Wants{})
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%d images, want 1", n)
	}
	if len(keep) < 1 || len(keep) > s.o.MaxBatch {
		return fmt.Errorf("%d lists of patches, want 1 to %d", len(keep), s.o.MaxBatch)
	}
	patches := c.Tokens() - c.Prefix
	for i, k := range keep {
		if len(k) == 0 || len(k) != len(keep[0]) {
			return fmt.Errorf("list %d has %d patches, the first %d, want one number over 0", i, len(k), len(keep[0]))
		}
		last := -1
		for _, p := range k {
			if p <= last || p >= patches {
				return fmt.Errorf("list %d has patch %d after %d, want an ascending list of 0 to %d", i, p, last, patches-1)
			}
			last = p
		}
	}
	return nil
}
