package patch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/png"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/hostile"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// standard are the decoders that the package's own stand in for: they need
// more memory, or do not end with a context, and must otherwise be equalled.
var standard = map[string]func(io.Reader) (image.Image, error){
	"png":  png.Decode,
	"bmp":  bmp.Decode,
	"gif":  standardGIF,
	"tiff": standardTIFF,
	"webp": standardWebP,
}

// likeStandard: the own reader reads what the other does, to the same pixels.
// (What Pillow reads beside that, TestTrials and scripts/pillowfuzz hold.)
func likeStandard(t *testing.T, name string, data []byte) {
	f, err := sniff(data)
	if err != nil || f.name != name {
		return
	}
	if name == "png" {
		data = resum(data)
	}
	if name == "webp" {
		if _, _, moving := webpFrame(data); moving || wildVP8(data) {
			return
		}
	}
	o := Options{MaxPixels: 1 << 18}
	if c, err := f.config(data); err == nil && (c.Width <= 0 || c.Height <= 0 || c.Width > o.MaxPixels/c.Height) {
		return
	}
	if c, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil && (c.Width <= 0 || c.Height <= 0 || c.Width > o.MaxPixels/c.Height) {
		return
	}
	var want *image.NRGBA
	var wrong error
	func() {
		defer func() {
			if p := recover(); p != nil {
				wrong = io.ErrUnexpectedEOF
			}
		}()
		var m image.Image
		if m, wrong = standard[name](bytes.NewReader(data)); wrong == nil {
			want, wrong = opaque(m)
		}
	}()
	p, err := Decode(t.Context(), data, Options{MaxPixels: 1 << 18, IgnoreEXIF: true})
	if wrong == nil {
		require.NoError(t, err)
		require.Equal(t, want, p.Image)
	}
}

// mutatedLikeStandard compares for the fixtures of a format, other files, and
// spoilt ones of both.
func mutatedLikeStandard(t *testing.T, name string, files [][]byte) {
	for _, data := range fixtures(t) {
		if f, err := sniff(data); err == nil && f.name == name {
			files = append(files, data)
		}
	}
	require.NotEmpty(t, files)
	for _, data := range files {
		likeStandard(t, name, data)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 4000 {
		likeStandard(t, name, hostile.Mutate(rng, files[i%len(files)]))
	}
}

// resum gives the chunks of a PNG the checksums that they ought to have.
func resum(data []byte) []byte {
	data = bytes.Clone(data)
	for rest := data[8:]; len(rest) >= 12; {
		n := uint64(binary.BigEndian.Uint32(rest))
		if n > uint64(len(rest)-12) {
			break
		}
		binary.BigEndian.PutUint32(rest[8+n:], crc32.ChecksumIEEE(rest[4:8+n]))
		rest = rest[12+n:]
	}
	return data
}

// standardTIFF is x/image's, and undoes its negatives of faxes.
func standardTIFF(r io.Reader) (image.Image, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	m, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if _, err := tiffConfig(data); err != nil { // of what x/image takes for something else
		return nil, err
	}
	d, err := openDirectory(data)
	if err != nil {
		return nil, err
	}
	compression, photometric := d.number(tiffCompression, 1), d.number(tiffPhotometric, 0)
	if g, ok := m.(*image.Gray); ok && (compression == group3 || compression == group4) && photometric == blackIsZero {
		for i, v := range g.Pix {
			g.Pix[i] = 255 - v
		}
	}
	return m, nil
}

// standardWebP is x/image's, which labels the planes of a lossy picture as
// another colour space, and knows no animations.
func standardWebP(r io.Reader) (image.Image, error) {
	m, err := webp.Decode(r)
	if err != nil {
		return nil, err
	}
	var c *image.YCbCr
	switch m := m.(type) {
	case *image.YCbCr:
		c = m
	case *image.NYCbCrA:
		c = &m.YCbCr
	default:
		return m, nil
	}
	out := image.NewNRGBA(c.Rect)
	w, h := c.Rect.Dx(), c.Rect.Dy()
	cw, ch := (w+1)/2, (h+1)/2
	u, v := make([]byte, w+1), make([]byte, w+1)
	for y := range h {
		near := y / 2
		far := min(max(near-1+2*(y&1), 0), ch-1)
		webpChroma(u, c.Cb[near*c.CStride:][:cw], c.Cb[far*c.CStride:][:cw])
		webpChroma(v, c.Cr[near*c.CStride:][:cw], c.Cr[far*c.CStride:][:cw])
		webpRow(out.Pix[y*out.Stride:][:4*w], c.Y[y*c.YStride:][:w], u, v)
	}
	return out, nil
}

// wildVP8 reports whether an arithmetic code begins with a byte beyond its
// range of 255, which no encoder writes. libwebp reads on, and this package as
// it does; x/image reads something else.
func wildVP8(data []byte) bool {
	w, err := openWebP(data)
	if err != nil || !w.lossy {
		return false
	}
	f, err := openVP8(w.stream)
	if err != nil || f.readHeader() != nil {
		return false
	}
	for _, b := range append(f.tokens, f.modes) {
		if len(b.data) > 0 && b.data[0] == 255 {
			return true
		}
	}
	return false
}

// TestVP8BeyondRange holds such a frame against libwebp.
func TestVP8BeyondRange(t *testing.T) {
	const file = "524946464a00000057454250565038203e000000f002009d012a110001003e6d2c91280046a00000feee78b84e471fb98e3fff78cfffef19" +
		"fffde33ff97da46fc398c000000046a00000feee78b84e471fb98e3fff78cfffef19fffde33ff97da46fc398c00000"
	const pixels = "ffffffffffffffffffffffffd2c7d2d2c7d2d1c9d0cfc9d0a5a2a5a5a2a5a3a3a3a0a0a09b9b9b9b9b9ba0a0a0a2a2a2a0a0a0"
	data, err := hex.DecodeString(file)
	require.NoError(t, err)
	require.True(t, wildVP8(data))
	p, err := Decode(t.Context(), data, Options{})
	require.NoError(t, err)
	var rgb []byte
	for i := 0; i < len(p.Image.Pix); i += 4 {
		rgb = append(rgb, p.Image.Pix[i:i+3]...)
	}
	require.Equal(t, pixels, hex.EncodeToString(rgb))
}

func TestWebPLikeStandard(t *testing.T) { mutatedLikeStandard(t, "webp", nil) }

// standardGIF is image/gif's frame, on its canvas and in its own colours.
func standardGIF(r io.Reader) (image.Image, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	m, err := gif.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	f, err := openGIF(data)
	if err != nil {
		return nil, err
	}
	frame := m.(*image.Paletted)
	background := 0
	if 3*f.transparent+3 <= len(f.colors) && f.transparent >= 0 {
		background = f.transparent
		frame.Palette[background] = color.NRGBA{f.colors[3*background], f.colors[3*background+1], f.colors[3*background+2], 255}
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, f.width, f.height))
	draw.Draw(canvas, canvas.Rect, image.NewUniform(frame.Palette[background]), image.Point{}, draw.Src)
	n, err := opaque(frame)
	if err != nil {
		return nil, err
	}
	draw.Draw(canvas, frame.Rect, n, image.Point{}, draw.Src)
	return canvas, nil
}

func TestGIFLikeStandard(t *testing.T) { mutatedLikeStandard(t, "gif", nil) }

func TestTIFFLikeStandard(t *testing.T) { mutatedLikeStandard(t, "tiff", nil) }

func TestBMPLikeStandard(t *testing.T) { mutatedLikeStandard(t, "bmp", nil) }

// FuzzLikeStandard compares the decoders for any bytes.
func FuzzLikeStandard(f *testing.F) {
	for _, data := range fixtures(f) {
		f.Add(data)
	}
	for _, k := range pngKinds(11, 7) {
		f.Add(k.write(6, func(row []byte) { row[0] = 4 }))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if found, err := sniff(data); err == nil && standard[found.name] != nil {
			likeStandard(t, found.name, data)
		}
	})
}
