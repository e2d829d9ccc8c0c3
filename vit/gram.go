package vit

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// gram returns Output.Gram from the values (n, N, C) of n images by block.
func (s *Session) gram(n int, values []*tensor.Dense) (all []*tensor.Dense, err error) {
	if err := s.makeParts(); err != nil {
		return nil, fmt.Errorf("projections of the heads: %w", err)
	}
	m := s.batch(n)
	for i, v := range values {
		g, err := s.parts[i].Gram(s.stream, m.y, m.qkv.Cols(0, s.m.cfg.Dim), v)
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// makeParts makes the parts of every block when they are first asked for: L·C²
// floats.
func (s *Session) makeParts() (err error) {
	if s.parts != nil {
		return nil
	}
	stream, err := s.m.b.NewStream(backend.StreamOptions{Priority: s.o.Priority})
	if err != nil {
		return err
	}
	var all []*attention.Parts
	defer func() {
		if err = errors.Join(err, stream.Close()); err != nil {
			err = errors.Join(err, closeParts(all))
			return
		}
		s.parts = all
	}()
	scratch := attention.NewPartsScratch(stream, s.m.cfg.Dim)
	for i := range s.m.blocks {
		p, err := s.m.blocks[i].attn.Parts(s.m.b, stream, scratch)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	return nil
}

func closeParts(all []*attention.Parts) (err error) {
	for _, p := range all {
		err = errors.Join(err, p.Close())
	}
	return err
}
