package patch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/riff"
	"golang.org/x/image/webp"
)

func webpConfig(data []byte) (image.Config, error) {
	c, err := webp.DecodeConfig(bytes.NewReader(data))
	return c, webpTruncated(data, err)
}

// webpTruncated says how much of a file there is, where it is not whole.
func webpTruncated(data []byte, err error) error {
	if whole := 8 + int64(binary.LittleEndian.Uint32(data[4:])); err != nil && int64(len(data)) < whole {
		return fmt.Errorf("truncated WebP: %d of %d bytes: %w", len(data), whole, err)
	}
	return err
}

// webpFile is a still picture in its container (RFC 9649, section 2), without
// what does not matter here.
type webpFile struct {
	lossy         bool
	stream        []byte // VP8 or VP8L
	opaque        bool   // says the header of a still picture
	alpha         []byte // of a lossy picture: a byte that says how it is coded, and the code; nil: none
	moving        bool   // it is a frame of several
	extended      bool   // a VP8X chunk says the size,
	width, height int    // this one
}

var errWebP = errors.New("no picture in the container")

// openWebP finds the picture's chunks.
func openWebP(data []byte) (f webpFile, err error) {
	src := bytes.NewReader(data)
	_, chunks, err := riff.NewReader(src)
	if err != nil {
		return f, err
	}
	for {
		id, length, _, err := chunks.Next()
		if errors.Is(err, io.EOF) {
			err = errWebP
		}
		if err != nil {
			return f, err
		}
		done, err := f.take(string(id[:]), int64(length), data[len(data)-src.Len():])
		if done || err != nil {
			return f, err
		}
	}
}

// take reads a chunk of a length, which data begins with, and reports whether it
// is the last that matters.
func (f *webpFile) take(id string, length int64, data []byte) (done bool, err error) {
	body := data[:min(length, int64(len(data)))]
	// Codes may go on in the byte that makes a length even (libwebp's demux.c).
	padded := data[:min(length+length&1, int64(len(data)))]
	switch id {
	case "VP8X":
		if f.extended || length != 10 || len(body) < 10 {
			return false, errWebP
		}
		f.extended, f.width, f.height = true, u24(body[4:])+1, u24(body[7:])+1
		f.opaque = body[0]&0x10 == 0
	case "ALPH":
		// The first counts; of a still picture that is said to have none, none.
		if !f.extended && !f.moving || len(body) == 0 {
			return false, errWebP
		}
		if f.alpha == nil && !f.opaque {
			f.alpha = body
		}
	case "VP8 ":
		if int64(len(body)) < length {
			return false, fmt.Errorf("a frame of %d bytes, found %d: %w", length, len(body), io.ErrUnexpectedEOF)
		}
		f.lossy, f.stream = true, padded
		return true, nil
	case "VP8L":
		f.stream, f.alpha = padded, nil // it has its own
		return true, nil
	}
	return false, nil
}

func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// decodeWebP reads a still picture or the first frame of an animation, which
// is placed on its canvas over black, as PIL has it after dropping alpha.
func decodeWebP(ctx context.Context, data []byte) (*image.NRGBA, error) {
	m, err := decodeWebPFrame(ctx, data)
	return m, webpTruncated(data, err)
}

func decodeWebPFrame(ctx context.Context, data []byte) (*image.NRGBA, error) {
	f, at, moving := webpFrame(data)
	if !moving {
		f, err := openWebP(data)
		if err != nil {
			return nil, err
		}
		return webpStill(ctx, f, image.Config{}, image.Point{})
	}
	c, err := webpConfig(data)
	if err != nil {
		return nil, err
	}
	m, err := f.size()
	if err != nil {
		return nil, err
	}
	if at.X+m.Width > c.Width || at.Y+m.Height > c.Height {
		return nil, fmt.Errorf("frame %d×%d at (%d, %d) leaves the canvas %d×%d", m.Width, m.Height, at.X, at.Y, c.Width, c.Height)
	}
	return webpStill(ctx, f, c, at)
}

// webpFrame finds an animation's first frame and its place. An ANMF chunk has 16
// bytes of header, with the place in units of two pixels, and the chunks of a
// still picture, which say the size; one without a picture is passed over.
func webpFrame(data []byte) (f webpFile, at image.Point, moving bool) {
	const header, name = 16, 8
	for rest := data[12:]; ; {
		body, after := nextChunk(rest, "ANMF")
		if len(body) < header {
			return f, at, moving
		}
		f, at, moving = webpFile{moving: true}, image.Pt(2*u24(body), 2*u24(body[3:])), true
		for chunks := body[header:]; len(chunks) >= name; {
			length := int64(binary.LittleEndian.Uint32(chunks[4:]))
			done, err := f.take(string(chunks[:4]), length, chunks[name:])
			if done {
				return f, at, true
			}
			if err != nil {
				break
			}
			chunks = chunks[min(name+length+length&1, int64(len(chunks))):]
		}
		rest = after
	}
}

// size is what the picture's own header says.
func (f webpFile) size() (image.Config, error) {
	switch {
	case f.stream == nil:
		return image.Config{}, errWebP
	case f.lossy:
		return vp8Config(f.stream)
	}
	return vp8lConfig(f.stream)
}

// webpStill decodes a picture and places it on a canvas, which is its own if
// that is empty.
func webpStill(ctx context.Context, f webpFile, canvas image.Config, at image.Point) (*image.NRGBA, error) {
	size, err := f.size()
	if err != nil {
		return nil, err
	}
	if f.extended && (size.Width != f.width || size.Height != f.height) {
		return nil, fmt.Errorf("%d×%d pixels in a file of %d×%d", size.Width, size.Height, f.width, f.height)
	}
	if canvas.Width == 0 {
		canvas = size
	}
	m := image.NewNRGBA(image.Rect(0, 0, canvas.Width, canvas.Height))
	// A frame lies at the end of the memory until it is placed.
	part := m.Pix[len(m.Pix)-4*size.Width*size.Height:]
	if f.lossy {
		if f.alpha != nil {
			if err := f.checkAlpha(ctx, size, part); err != nil {
				return nil, err
			}
		}
		err = decodeVP8(ctx, f.stream, part)
	} else {
		err = decodeVP8L(ctx, f.stream, part)
	}
	if err != nil {
		return nil, err
	}
	return m, place(ctx, m, part, image.Rectangle{at, at.Add(image.Pt(size.Width, size.Height))})
}

// place moves a picture from the end of m's memory to its place, over black,
// and makes all opaque.
func place(ctx context.Context, m *image.NRGBA, part []byte, to image.Rectangle) error {
	n := 4 * to.Dx()
	var row []byte
	if to != m.Rect {
		row = make([]byte, n)
	}
	for y := range m.Rect.Dy() {
		if err := ctx.Err(); err != nil {
			return err
		}
		dst := m.Pix[y*m.Stride:][:m.Stride]
		if to != m.Rect {
			inside := y >= to.Min.Y && y < to.Max.Y
			if inside {
				copy(row, part[(y-to.Min.Y)*n:])
			}
			clear(dst) // the rows that are still to be placed lie behind
			if inside {
				copy(dst[4*to.Min.X:], row)
			}
		}
		for i := 3; i < len(dst); i += 4 {
			dst[i] = 255
		}
	}
	return nil
}

// checkAlpha reads the alpha of a lossy picture, which must be whole, into
// memory that is used for the colours next: alpha is dropped.
func (f webpFile) checkAlpha(ctx context.Context, size image.Config, pix []byte) error {
	switch code := f.alpha[1:]; f.alpha[0] & 3 {
	case 0:
		if len(code) < size.Width*size.Height {
			return fmt.Errorf("alpha of %d×%d pixels in %d bytes: %w", size.Width, size.Height, len(code), io.ErrUnexpectedEOF)
		}
		return nil
	case 1: // VP8L without its header, in green
		d := lossless{ctx: ctx, vp8lBits: vp8lBits{data: code}, width: size.Width, height: size.Height, alpha: true}
		return d.decode(pix)
	}
	return errWebP
}

// rgb converts a decoded frame to RGBA as libwebp does. Its planes are BT.601
// of limited range, and its chroma is 4:2:0, brought to full size with weights
// 9, 3, 3, 1.
func (f *vp8Frame) rgb(ctx context.Context, pix []byte) error {
	w, h := f.width, f.height
	cw, ch := (w+1)/2, (h+1)/2
	u, v := make([]byte, w+1), make([]byte, w+1)
	for y := range h {
		if err := ctx.Err(); err != nil {
			return err
		}
		// Rows 2k+1 and 2k+2 lie between chroma rows k and k+1; the
		// nearer one counts three times.
		near := y / 2
		far := min(max(near-1+2*(y&1), 0), ch-1)
		webpChroma(u, f.u.row(near, cw), f.u.row(far, cw))
		webpChroma(v, f.v.row(near, cw), f.v.row(far, cw))
		webpRow(pix[4*w*y:][:4*w], f.y.row(y, w), u, v)
	}
	return nil
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

// webpCost is the canvas; beside it a lossy picture has its planes and what is
// kept of each macroblock, and a lossless one the three small pictures that
// describe it and its codes.
func webpCost(data []byte, w, h int) (int64, error) {
	n, err := webpFrameCost(data, w, h)
	return n, webpTruncated(data, err)
}

func webpFrameCost(data []byte, w, h int) (int64, error) {
	bytes := 4 * int64(w) * int64(h)
	f, _, moving := webpFrame(data)
	if !moving {
		var err error
		if f, err = openWebP(data); err != nil {
			return 0, err
		}
	}
	size, err := f.size()
	if err != nil {
		return 0, err
	}
	if f.lossy {
		frame, err := openVP8(f.stream)
		if err == nil {
			err = frame.whole()
		}
		if err != nil {
			return 0, err
		}
		n := int64(frame.across) * int64(frame.down)
		bytes += n*(384+8) + 64*int64(frame.across+frame.down)
	}
	if n := size.Width * size.Height; f.lossy && len(f.alpha) > 0 && f.alpha[0]&3 == 0 && len(f.alpha)-1 < n {
		return 0, fmt.Errorf("alpha of %d×%d pixels in %d bytes: %w", size.Width, size.Height, len(f.alpha)-1, io.ErrUnexpectedEOF)
	}
	if !f.lossy || f.alpha != nil {
		const codes, code = 20, 5 * 1024 // a group of codes takes so many bits at least, and bytes of memory at most twice as many
		n := int64(tiles(w, 2)) * int64(tiles(h, 2))
		groups := min(8*int64(max(len(f.stream), len(f.alpha)))/codes+1, n, 2600)
		bytes += 3*4*n + groups*2*code
	}
	return bytes, nil
}
