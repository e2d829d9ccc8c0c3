package patch

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"

	"golang.org/x/image/webp"
)

func webpConfig(data []byte) (image.Config, error) { return webp.DecodeConfig(bytes.NewReader(data)) }

// decodeWebP reads a still picture or the first frame of an animation, which
// is placed on its canvas over black, as PIL has it after dropping alpha.
func decodeWebP(ctx context.Context, data []byte) (*image.NRGBA, error) {
	f, moving := webpFrame(data)
	if !moving {
		return webpStill(ctx, data)
	}
	c, err := webpConfig(data)
	if err != nil {
		return nil, err
	}
	m, err := webp.DecodeConfig(bytes.NewReader(f.file))
	if err != nil {
		return nil, err
	}
	if f.x+m.Width > c.Width || f.y+m.Height > c.Height {
		return nil, fmt.Errorf("frame %d×%d at (%d, %d) leaves the canvas %d×%d", m.Width, m.Height, f.x, f.y, c.Width, c.Height)
	}
	n, err := webpStill(ctx, f.file)
	if err != nil || n.Rect == image.Rect(0, 0, c.Width, c.Height) {
		return n, err
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, c.Width, c.Height))
	for i := 3; i < len(canvas.Pix); i += 4 {
		canvas.Pix[i] = 255
	}
	for y := range n.Rect.Dy() {
		copy(canvas.Pix[canvas.PixOffset(f.x, f.y+y):], n.Pix[y*n.Stride:][:4*n.Rect.Dx()])
	}
	return canvas, nil
}

// frame is an animation's first frame as a file of its own, and its place.
type frame struct {
	file []byte
	x, y int
}

// webpFrame finds the first ANMF chunk: 16 bytes of header with the place in
// units of two pixels and the size, then the chunks of a still picture.
func webpFrame(data []byte) (frame, bool) {
	const header = 16
	body := chunk(data[12:], binary.LittleEndian, false, "ANMF")
	if len(body) < header {
		return frame{}, false
	}
	u24 := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
	chunks := body[header:]
	var out []byte
	if matches(chunks, "ALPH") {
		// Alpha needs the extended header: its flag and the frame's size.
		out = append(out, "VP8X\x0a\x00\x00\x00\x10\x00\x00\x00"...)
		out = append(out, body[6:12]...)
	}
	out = append(out, chunks...)
	riff := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(out)+4))
	return frame{append(append(riff, "WEBP"...), out...), 2 * u24(body), 2 * u24(body[3:])}, true
}

func webpStill(ctx context.Context, data []byte) (*image.NRGBA, error) {
	m, err := webp.Decode(newReader(ctx, data))
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return rgbFromWebP(m), nil
	case *image.NYCbCrA:
		return rgbFromWebP(&m.YCbCr), nil
	}
	return opaque(m)
}

// rgbFromWebP converts a decoded VP8 frame as libwebp does. Its planes are
// BT.601 of limited range, which x/image labels as JFIF's full range
// (golang.org/issue/40173), and its chroma is 4:2:0, brought to full size
// with weights 9, 3, 3, 1.
func rgbFromWebP(m *image.YCbCr) *image.NRGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	cw, ch := (w+1)/2, (h+1)/2
	u, v := make([]byte, w+1), make([]byte, w+1)
	for y := range h {
		// Rows 2k+1 and 2k+2 lie between chroma rows k and k+1; the
		// nearer one counts three times.
		near := y / 2
		far := min(max(near-1+2*(y&1), 0), ch-1)
		webpChroma(u, m.Cb[near*m.CStride:][:cw], m.Cb[far*m.CStride:][:cw])
		webpChroma(v, m.Cr[near*m.CStride:][:cw], m.Cr[far*m.CStride:][:cw])
		webpRow(out.Pix[y*out.Stride:][:4*w], m.Y[y*m.YStride:][:w], u, v)
	}
	return out
}

// webpChroma widens a row of chroma; near and far are the rows of weight 3
// and 1. The averaging in two steps, each rounded down, is libwebp's
// (src/dsp/upsampling.c).
func webpChroma(dst, near, far []byte) {
	n, f := int(near[0]), int(far[0])
	dst[0] = uint8((3*n + f + 2) >> 2)
	for x := 1; x < len(near); x++ {
		n1, f1 := int(near[x]), int(far[x])
		avg := n + n1 + f + f1 + 8
		// With (near, far) on the left and (near1, far1) on the right.
		inner := (avg + 2*(f+n1)) >> 3
		outer := (avg + 2*(n+f1)) >> 3
		dst[2*x-1] = uint8((inner + n) >> 1)
		dst[2*x] = uint8((outer + n1) >> 1)
		n, f = n1, f1
	}
	dst[2*len(near)-1] = uint8((3*n + f + 2) >> 2)
}

// webpRow is libwebp's fixed-point conversion (src/dsp/yuv.h).
func webpRow(dst, y, u, v []byte) {
	for i, l := range y {
		hi := func(v, k int) int { return v * k >> 8 }
		c := func(v int) uint8 { return clip(v >> 6) }
		yy, uu, vv := hi(int(l), 19077), int(u[i]), int(v[i])
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0] = c(yy + hi(vv, 26149) - 14234)
		d[1] = c(yy - hi(uu, 6419) - hi(vv, 13320) + 8708)
		d[2] = c(yy + hi(uu, 33050) - 17685)
		d[3] = 255
	}
}
