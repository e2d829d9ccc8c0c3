package api

import (
	"context"
	"fmt"
	"time"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/vit"
)

// Embed implements op.Call.
func (c *call) Embed(ctx context.Context, a op.Embed, pictures []op.Picture) (*op.Answer[op.Embedded], error) {
	// A value takes four bytes, and as text about twelve.
	const value, text = 4, 12
	j := c.job("embed", a.Options)
	check := func() error {
		if err := a.Embedding.Check(j.model.model.Config()); err != nil {
			return fmt.Errorf("%w: %v", errValue, err)
		}
		each := value // a file charges for itself
		if a.Text {
			each += text
		}
		return j.Take(int64(len(pictures)) * int64(a.Embedding.Shape(j.model.model.Config()).TotalSize()) * int64(each))
	}
	return answer(ctx, j, pictures, check, func(ctx context.Context, _ int, p op.Picture) (x op.Embedded, err error) {
		s, out, err := j.forward(ctx, p, a.Embedding.Wants())
		if err != nil {
			return x, err
		}
		start := time.Now()
		x = op.Embedded{Seen: s, Vectors: a.Embedding.Of(out.Output, out.row, j.model.model.Config())}
		if err := vit.CheckFinite("embedding", x.Vectors.Float32s()); err != nil {
			return x, err
		}
		x.Timings.Encode = ms(time.Since(start))
		j.answered(x.Timings)
		return x, nil
	})
}

// Preprocess implements op.Call.
func (c *call) Preprocess(ctx context.Context, a op.Preprocess, pictures []op.Picture) (*op.Answer[op.Prepared], error) {
	j := c.job("preprocess", a.Options)
	check := func() error { return nil }
	return answer(ctx, j, pictures, check, func(ctx context.Context, _ int, p op.Picture) (x op.Prepared, err error) {
		if p.Pixels != nil {
			return x, fmt.Errorf("%w: pixels are prepared already", errValue)
		}
		t, err := j.model.model.Transform(j.look)
		if err != nil {
			return x, err
		}
		release, err := j.decode(ctx, p.Data, func() (err error) {
			start := time.Now()
			x.Receipt, err = t.Receipt(ctx, p.Data, j.look.Options)
			x.Timings.Decode = ms(time.Since(start))
			return err
		})
		if err != nil {
			return x, err
		}
		release()
		x.Geometry = x.Receipt.Geometry
		if !a.File {
			x.Receipt.NPY = nil
		} else if err := j.Take(int64(len(x.Receipt.NPY))); err != nil {
			return x, err
		}
		j.s.met.stage("decode", x.Timings.Decode)
		j.answered(x.Timings)
		return x, nil
	})
}
