package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// Embed is POST /v1/embed.
func (s *Server) Embed(c echo.Context) error {
	// A value takes four bytes, and as text about twelve.
	const value, text = 4, 12
	r, ctx, err := s.receive(c)
	if err != nil {
		return err
	}
	defer r.release()
	room := s.room(r)
	each := value // a file charges for itself
	if r.send.format == formatJSON {
		each += text
	}
	shape := r.embedding.Shape(r.model.config)
	if err := room.take(int64(len(r.ups)) * int64(shape.TotalSize()) * int64(each)); err != nil {
		return err
	}
	answers, err := s.each(ctx, r, func(ctx context.Context, r *request, up upload) (*answer, error) {
		return s.embed(ctx, r, up, room)
	})
	if err != nil {
		return err
	}
	serverTiming(c, answers)
	if r.send.format != formatJSON {
		return s.sendOne(c, r, answers[0])
	}
	out := v1.EmbedAnswer{
		Model: r.model.id, Revision: r.model.revision, Note: r.model.note,
		Pool: r.embedding.Pool, L2: r.embedding.L2, Results: make([]v1.EmbedResult, len(answers)),
	}
	for i, a := range answers {
		o := &out.Results[i]
		o.Image = r.ups[i].name
		if a.err != nil {
			o.Error = problem(a.err, "")
			continue
		}
		o.Embedding, o.Grid = EmbeddingOf(a.embedded.Float32s(), shape)
		o.Geometry, o.TimingsMs, o.Batch = geometryOf(a.geometry), a.timings, a.batch
	}
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, out)
}

// embed answers one picture.
func (s *Server) embed(ctx context.Context, r *request, up upload, room *room) (*answer, error) {
	a, out, err := s.forward(ctx, r, up, r.embedding.Wants())
	if err != nil {
		return nil, err
	}
	start := time.Now()
	a.embedded = r.embedding.Of(out.Output, out.row, r.model.config)
	x := a.embedded.Float32s()
	if err := vit.CheckFinite("embedding", x); err != nil {
		return nil, err
	}
	if r.send.format == formatNpy {
		if a.encoded, err = npy(room, a.embedded.Shape(), x); err != nil {
			return nil, err
		}
	}
	a.timings.Encode = ms(time.Since(start))
	s.met.answered(r, a)
	return a, nil
}

// EmbeddingOf is an embedding in the words of the contract: a vector (D), or
// a grid (rows, columns, C). They share their memory with values.
func EmbeddingOf(values []float32, shape []int) (vector []float32, grid [][][]float32) {
	if len(shape) == 1 {
		return values, nil
	}
	for row := range slices.Chunk(values, shape[1]*shape[2]) {
		grid = append(grid, slices.Collect(slices.Chunk(row, shape[2])))
	}
	return nil, grid
}

// Preprocess is POST /v1/preprocess.
func (s *Server) Preprocess(c echo.Context) error {
	r, ctx, err := s.receive(c)
	if err != nil {
		return err
	}
	defer r.release()
	room := s.room(r)
	answers, err := s.each(ctx, r, func(ctx context.Context, r *request, up upload) (*answer, error) {
		return s.preprocess(ctx, r, up, room)
	})
	if err != nil {
		return err
	}
	serverTiming(c, answers)
	if r.send.format != formatJSON {
		return s.sendOne(c, r, answers[0])
	}
	out := v1.PreprocessAnswer{
		Model: r.model.id, Revision: r.model.revision, Note: r.model.note, Results: make([]v1.PreprocessResult, len(answers)),
	}
	for i, a := range answers {
		o := &out.Results[i]
		o.Image = r.ups[i].name
		if a.err != nil {
			o.Error = problem(a.err, "")
			continue
		}
		o.Steps, o.Shape, o.Sha256 = a.receipt.Steps, a.receipt.Shape[:], a.receipt.SHA256
		o.Geometry, o.TimingsMs = geometryOf(a.geometry), a.timings
	}
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, out)
}

// preprocess answers one picture.
func (s *Server) preprocess(ctx context.Context, r *request, up upload, room *room) (*answer, error) {
	a := &answer{}
	release, err := s.decode(ctx, r, up.data, func(o patch.Options) (err error) {
		start := time.Now()
		a.receipt, err = r.see.Receipt(ctx, up.data, o)
		a.timings.Decode = ms(time.Since(start))
		return err
	})
	if err != nil {
		return nil, err
	}
	release()
	a.geometry = a.receipt.Geometry
	if r.send.format == formatNpy {
		a.encoded = &encoded{media: types(formatNpy)[0], room: room}
		if _, err := a.encoded.Write(a.receipt.NPY); err != nil {
			return nil, err
		}
	}
	a.receipt.NPY = nil
	s.met.stage("decode", a.timings.Decode)
	s.met.answered(r, a)
	return a, nil
}
