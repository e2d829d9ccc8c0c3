package patch

import (
	"context"
	"encoding/binary"
	"image"
)

// upright undoes an EXIF orientation: in m's own memory where rows stay rows,
// else in a picture of its own.
func upright(ctx context.Context, m *image.NRGBA, orientation int) (*image.NRGBA, error) {
	at := storage[orientation]
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if at.transposed {
		return transposed(ctx, m, at)
	}
	if at.flipX {
		for y := range h {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			reverse(m.Pix[y*m.Stride:][:4*w])
		}
	}
	if at.flipY {
		row := make([]byte, 4*w)
		for y := range h / 2 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			a, b := m.Pix[y*m.Stride:][:4*w], m.Pix[(h-1-y)*m.Stride:][:4*w]
			copy(row, a)
			copy(a, b)
			copy(b, row)
		}
	}
	return m, nil
}

// reverse turns the order of a row's pixels.
func reverse(row []byte) {
	le := binary.LittleEndian
	for i, j := 0, len(row)-4; i < j; i, j = i+4, j-4 {
		a, b := le.Uint32(row[i:]), le.Uint32(row[j:])
		le.PutUint32(row[i:], b)
		le.PutUint32(row[j:], a)
	}
}

// transposed makes rows of columns, in squares that fit a cache.
func transposed(ctx context.Context, m *image.NRGBA, at stored) (*image.NRGBA, error) {
	const edge = 32
	le := binary.LittleEndian
	w, h := m.Rect.Dy(), m.Rect.Dx() // upright
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for top := 0; top < h; top += edge {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for left := 0; left < w; left += edge {
			for y := top; y < min(top+edge, h); y++ {
				sx, sy, step := y, left, m.Stride
				if at.flipX {
					sx = h - 1 - sx
				}
				if at.flipY {
					sy, step = w-1-sy, -step
				}
				from := sy*m.Stride + 4*sx
				for x := left; x < min(left+edge, w); x++ {
					le.PutUint32(out.Pix[y*out.Stride+4*x:], le.Uint32(m.Pix[from:]))
					from += step
				}
			}
		}
	}
	return out, nil
}
