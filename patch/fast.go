package patch

import (
	"context"

	"github.com/vitserve/vitserve/patch/jpeg"
)

// The fast way with a JPEG: blocks are decoded no larger than the model can
// use, and the planes are resized one by one, chroma from the few samples that
// it has, so that colours are converted for the model's pixels only.

// blockSize is the smallest of 8, 4, 2 and 1 that still leaves two decoded
// samples for each of the resized picture's, for a photo of w × h pixels.
func (p plan) blockSize(w, h int) int {
	size := 8
	for size > 1 && w*size/16 >= 2*p.rw && h*size/16 >= 2*p.rh {
		size /= 2
	}
	return size
}

// worthFast reports whether chroma of 1/hs × 1/vs samples is hardly enlarged
// by the resize, for a photo of w × h upright pixels. Where it would be, the
// filter that the exact way enlarges it with shows, and the photo is small.
func (p plan) worthFast(w, h, hs, vs int, transposed bool) bool {
	if transposed {
		hs, vs = vs, hs
	}
	return 5*w >= 4*hs*p.rw && 5*h >= 4*vs*p.rh
}

// sees returns the stored pixels that the window depends on, for a photo of
// w × h upright ones, if a sample is up to wide pixels.
func (p plan) sees(w, h, wide int, at stored) (x0, y0, x1, y1 int) {
	edge := func(pixels, out, from, n int, flip bool) (lo, hi int) {
		scale := float64(pixels) / float64(out)
		reach := filters[p.how.how].support*max(scale, float64(wide)) + float64(wide)
		lo, hi = max(0, int(float64(from)*scale-reach)), min(pixels, int(float64(from+n)*scale+reach)+1)
		if flip {
			lo, hi = pixels-hi, pixels-lo
		}
		return lo, hi
	}
	rw, rh, in := p.rw, p.rh, p.inside
	if at.transposed {
		w, h, rw, rh, in = h, w, rh, rw, window{in.y, in.x, in.h, in.w}
	}
	x0, x1 = edge(w, rw, in.x, in.w, at.flipX)
	y0, y1 = edge(h, rh, in.y, in.h, at.flipY)
	return x0, y0, x1, y1
}

// sampleFast is sample for the planes of a JPEG.
func (p plan) sampleFast(ctx context.Context, out []float32, planes []jpeg.Plane, orientation int) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	n := p.inside.w * p.inside.h
	for i, c := range planes {
		s.planes[i] = grow(s.planes[i], n+rowSlack)
		if err := s.samplePlane(ctx, s.planes[i][:n], p, c, storage[orientation]); err != nil {
			return err
		}
	}
	s.window = grow(s.window, 4*n)
	if len(planes) == 1 {
		jpeg.Gray(s.window, s.planes[0][:n])
	} else {
		jpeg.YCC(s.window, s.planes[0], s.planes[1], s.planes[2], n)
	}
	p.write(out, s.window, storage[orientation].transposed)
	return nil
}

// samplePlane resizes one component, columns first: that pass is one of whole
// rows, and leaves little for the other.
func (s *scratch) samplePlane(ctx context.Context, dst []byte, p plan, c jpeg.Plane, at stored) error {
	// A sample is a whole number of pixels wide; the picture may end within
	// the last one.
	set := func(a *axis, in int, span float64, flip bool, out, from, n int) {
		origin := 0.0
		if flip {
			origin = float64(in) - span
		}
		a.set(p.how, in, origin, span, out, from, n)
		if flip {
			a.mirror(in)
		}
	}
	rw, rh, in := p.rw, p.rh, p.inside
	if at.transposed {
		rw, rh, in = rh, rw, window{in.y, in.x, in.h, in.w}
	}
	set(&s.h, c.Width, c.SpanX, at.flipX, rw, in.x, in.w)
	set(&s.v, c.Height, c.SpanY, at.flipY, rh, in.y, in.h)
	left, cols := s.h.rebase()
	top, _ := s.v.rebase()
	s.mid = grow(s.mid, cols*in.h+rowSlack)
	if err := verticals(ctx, s.mid, c.Pix[top*c.Stride+left:], c.Stride, cols, &s.v); err != nil {
		return err
	}
	for y := range in.h {
		line(dst[y*in.w:][:in.w], s.mid[y*cols:], &s.h)
	}
	return nil
}
