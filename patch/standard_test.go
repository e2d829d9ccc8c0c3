package patch

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/hostile"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// standard are the decoders that the package's own stand in for: they need
// more memory, or do not end with a context, and must otherwise be equalled.
var standard = map[string]func(io.Reader) (image.Image, error){
	"png":  png.Decode,
	"bmp":  bmp.Decode,
	"tiff": standardTIFF,
}

// likeStandard: the own reader and the other read the same files, to the same
// pixels.
func likeStandard(t *testing.T, name string, data []byte) {
	f, err := sniff(data)
	if err != nil || f.name != name {
		return
	}
	if name == "png" {
		data = resum(data)
	}
	o := Options{MaxPixels: 1 << 18}
	if c, err := f.config(data); err == nil && (c.Width <= 0 || c.Height <= 0 || c.Width > o.MaxPixels/c.Height) {
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
	require.Equal(t, wrong == nil, err == nil, "the standard decoder says %v, this package %v", wrong, err)
	if err == nil {
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
	compression, _ := tiffValue(data, tiffCompression)
	photometric, _ := tiffValue(data, tiffPhotometric)
	if g, ok := m.(*image.Gray); ok && (compression == group3 || compression == group4) && photometric == blackIsZero {
		for i, v := range g.Pix {
			g.Pix[i] = 255 - v
		}
	}
	return m, nil
}

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
