package patch

import (
	"context"
	"image"
	"sync"
)

// scratch is the memory of one request's resize, kept for the next.
type scratch struct {
	h, v   axis
	rows   []byte // one row of pixels
	mid    []byte // between the passes
	line   []byte // a row between them, when the columns go first
	window []byte // the result, RGBA
	planes [3][]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) row(n int) []byte {
	s.rows = grow(s.rows, 4*n+rowSlack)
	return s.rows
}

// picture is an image as a source.
type picture struct{ m *image.NRGBA }

func (p picture) pixels(_ []byte, y, x, n int) []byte {
	return p.m.Pix[y*p.m.Stride+4*x:]
}

func (picture) only(x, y, w, h int) {}

// grays is a source whose pixels are those of another in gray.
type grays struct{ rgbaSource }

func (g grays) pixels(buf []byte, y, x, n int) []byte {
	of := g.rgbaSource.pixels(buf, y, x, n)
	buf = buf[:4*n]
	for i := 0; i < 4*n; i += 4 {
		v := luma(of[i], of[i+1], of[i+2])
		buf[i], buf[i+1], buf[i+2], buf[i+3] = v, v, v, of[i+3]
	}
	return buf
}

// luma is Pillow's gray of a colour: libImaging/Convert.c, L24, after ITU-R BT.601.
func luma(r, g, b byte) byte {
	return byte((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 0x8000) >> 16)
}

// stored is how the pixels of a file lie to the upright photo (EXIF 2.32,
// 4.6.4): upright x runs along stored y when transposed, and along a stored
// axis from its far end when that is flipped.
type stored struct{ transposed, flipX, flipY bool }

var storage = [9]stored{
	2: {flipX: true},
	3: {flipX: true, flipY: true},
	4: {flipY: true},
	5: {transposed: true},
	6: {transposed: true, flipY: true},
	7: {transposed: true, flipX: true, flipY: true},
	8: {transposed: true, flipX: true},
}

// sample writes what the model sees of a photo of w × h upright pixels, which
// src holds in its orientation, to out (3, H, W). The weights are the upright
// photo's, read from the other end or along the other axis as need be, so that
// the result is that of turning the photo first.
func (p plan) sample(ctx context.Context, out []float32, src rgbaSource, w, h, orientation int) error {
	if p.gray {
		src = grays{src}
	}
	if p.how.by == TorchvisionFloat {
		return p.sampleFloats(ctx, out, src, w, h, orientation)
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	at := storage[orientation]
	x, y := &s.h, &s.v // along the stored axes; x is upright y if transposed
	if at.transposed {
		x, y = y, x
	}
	x.set(p.how, w, 0, float64(w), p.rw, p.inside.x, p.inside.w)
	y.set(p.how, h, 0, float64(h), p.rh, p.inside.y, p.inside.h)
	s.orient(at, w, h)
	s.window = grow(s.window, p.inside.w*p.inside.h*4)
	columns := p.how.by != Torchvision && h > p.rh && h-p.rh > 2*(w-p.rw)
	if err := s.run(ctx, s.window, src, &s.h, &s.v, columns != at.transposed); err != nil {
		return err
	}
	p.write(out, s.window, at.transposed)
	return nil
}

// orient turns the axes that are flipped; w and h are upright.
func (s *scratch) orient(at stored, w, h int) {
	if at.transposed {
		w, h = h, w
	}
	if at.flipX {
		s.h.mirror(w)
	}
	if at.flipY {
		s.v.mirror(h)
	}
}

// unit is v/255 for each byte, as torchvision's to_tensor has it.
var unit = func() (t [256]float32) {
	for v := range t {
		t[v] = float32(v) / 255
	}
	return t
}()

// paint fills out where some of it lies outside the photo.
func (p plan) paint(out []float32) {
	if p.inside == p.crop {
		return
	}
	n := p.crop.w * p.crop.h
	for c, v := range p.fill {
		plane := out[c*n : (c+1)*n]
		for i := range plane {
			plane[i] = unit[v]
		}
	}
}

// write spreads RGBA pixels of p.inside over the channels of out (3, H, W)
// and fills what lies outside the photo. Transposed pixels come column by
// column.
func (p plan) write(out []float32, rgba []byte, transposed bool) {
	n := p.crop.w * p.crop.h
	p.paint(out)
	dx, dy := p.inside.x-p.crop.x, p.inside.y-p.crop.y
	right, down := 4, 4*p.inside.w
	if transposed {
		right, down = 4*p.inside.h, 4
	}
	for y := range p.inside.h {
		at := (dy+y)*p.crop.w + dx
		r, g, b := out[at:][:p.inside.w], out[n+at:][:p.inside.w], out[2*n+at:][:p.inside.w]
		from := y * down
		for x := range r {
			px := rgba[from : from+4 : from+4]
			r[x], g[x], b[x] = unit[px[0]], unit[px[1]], unit[px[2]]
			from += right
		}
	}
}
