package patch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// ftyp is the first box of a file of some brands.
func ftyp(brands ...string) []byte {
	b := []byte("\x00\x00\x00\x00ftyp")
	for i, brand := range brands {
		b = append(b, brand...)
		if i == 0 {
			b = append(b, 0, 0, 0, 0)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// TestKindsNamed: a file is named by what it is, whichever brand comes first,
// with what to do, and nothing is claimed of what no program reads.
func TestKindsNamed(t *testing.T) {
	for _, c := range []struct {
		data []byte
		kind string
		says string
	}{
		{ftyp("heic", "mif1"), HEIC, "this is HEIC, which only an external program reads: set one (--decoder heic=COMMAND, or decoders in the server's configuration) or send JPEG or PNG"},
		{ftyp("heix"), HEIC, "HEIC"},
		{ftyp("hevc", "heic"), HEIC, "HEIC"},
		{ftyp("hevx"), HEIC, "HEIC"},
		{ftyp("heim"), HEIC, "HEIC"},
		{ftyp("heis"), HEIC, "HEIC"},
		{ftyp("mif1", "heic"), HEIC, "HEIC"},
		{ftyp("mif1", "miaf", "MiHB", "heix"), HEIC, "HEIC"},
		{ftyp("msf1", "hevc", "mif1"), HEIC, "HEIC"},
		{ftyp("avif", "mif1", "miaf"), AVIF, "AVIF"},
		{ftyp("avis", "msf1", "avif"), AVIF, "AVIF"},
		{ftyp("mif1", "avif", "miaf"), AVIF, "AVIF"},
		{ftyp("msf1", "miaf", "avis"), AVIF, "AVIF"},
		{ftyp("miaf", "MA1B"), AVIF, "AVIF"},
		{[]byte("\xff\x0a\x00\x10"), JXL, "JPEG XL"},
		{[]byte(jxlContainer + "\x00\x00\x00\x14ftypjxl "), JXL, "JPEG XL"},
		{ftyp("mif1", "jpeg"), "", "HEIF of another coding"},
		{ftyp("isom", "mp42"), "", "video"},
		{ftyp("qt  "), "", "video"},
		{[]byte("\x00\x00\x00\x0cjP  \r\n\x87\n"), "", "JPEG 2000"},
		{[]byte("ftypheic"), "", "first bytes"},
	} {
		t.Run(fmt.Sprintf("%q", c.data[:min(len(c.data), 28)]), func(t *testing.T) {
			require.Equal(t, c.kind, NamesKind(c.data))
			_, err := Decode(t.Context(), c.data, Options{})
			require.ErrorIs(t, err, ErrFormat)
			require.ErrorContains(t, err, c.says)
			var none *NoDecoderError
			require.Equal(t, c.kind != "", errors.As(err, &none))
		})
	}
}

// outsidePictures are files of the kinds that Decoders read.
func outsidePictures(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, kind := range []string{HEIC, AVIF, JXL} {
		paths, err := filepath.Glob("external/testdata/pictures/*." + kind)
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, p := range paths {
			files[filepath.Base(p)], err = os.ReadFile(p)
			require.NoError(t, err)
		}
	}
	return files
}

// TestGeneralBrands: files of general brands only are named by their primary
// item's coding.
func TestGeneralBrands(t *testing.T) {
	for name, kind := range map[string]string{"plain.heic": HEIC, "grid.heic": HEIC, "plain.avif": AVIF, "grid_irot1_exif8.avif": AVIF} {
		data := outsidePictures(t)[name]
		size := binary.BigEndian.Uint32(data)
		for at := uint32(8); at+4 <= size; at += 4 {
			if at != 12 {
				copy(data[at:], "mif1")
			}
		}
		require.Equal(t, kind, NamesKind(data), name)
	}
}

// TestTurns: irot and imir in the order of the file are what Pillow calls an
// EXIF orientation (AvifImagePlugin), and EXIF beside them says nothing.
func TestTurns(t *testing.T) {
	for _, c := range []struct {
		turns []turn
		want  int
	}{
		{nil, 1},
		{[]turn{{by: 1}}, 8}, {[]turn{{by: 2}}, 3}, {[]turn{{by: 3}}, 6},
		{[]turn{{mirror: true}}, 4}, {[]turn{{mirror: true, by: 1}}, 2},
		{[]turn{{by: 1}, {mirror: true}}, 5}, {[]turn{{by: 1}, {mirror: true, by: 1}}, 7},
		{[]turn{{by: 3}, {mirror: true}}, 7}, {[]turn{{by: 3}, {mirror: true, by: 1}}, 5},
		{[]turn{{by: 2}, {mirror: true}}, 2}, {[]turn{{by: 2}, {mirror: true, by: 1}}, 4},
		{[]turn{{mirror: true}, {by: 1}}, 7}, {[]turn{{mirror: true, by: 1}, {by: 1}}, 5},
	} {
		require.Equal(t, c.want, heif{turns: c.turns}.orientation(), "%v", c.turns)
	}
	for name, want := range map[string]int{
		"exif6.heic": 1, "irot1.avif": 8, "irot3_exif6.avif": 6, "irot2_exif8.heic": 3,
		"imir0_exif2.heic": 4, "imir1_exif3.avif": 2, "irot1_imir0_exif5.avif": 5, "grid_irot1_exif8.heic": 8,
	} {
		data := outsidePictures(t)[name]
		require.Equal(t, want, heifOrientation(data), name)
		still, err := stillHEIF(data)
		require.NoError(t, err)
		require.Equal(t, 1, heifOrientation(still), "%s as a program sees it", name)
		require.Len(t, still, len(data))
	}
}

// fakeDecoder is a Decoder that returns a file.
type fakeDecoder struct {
	file []byte
	err  error
	w, h int
}

func (d *fakeDecoder) Bytes(w, h int) int64 { return 1000 }

func (d *fakeDecoder) Decode(_ context.Context, _ []byte, w, h int) ([]byte, error) {
	d.w, d.h = w, h
	return d.file, d.err
}

// TestOutside: what a Decoder returns is checked, turned once, and its errors
// keep their kinds.
func TestOutside(t *testing.T) {
	sizes := map[string]image.Point{
		"plain.heic": {96, 64}, "odd.heic": {97, 65}, "irot1.heic": {96, 64}, "grid.heic": {180, 120},
		"plain.avif": {96, 64}, "odd.avif": {97, 65}, "grid_irot1_exif8.avif": {180, 120},
		"lossless.jxl": {96, 64}, "container.jxl": {97, 65}, "jpeg_exif6.jxl": {64, 96},
	}
	for name, data := range outsidePictures(t) {
		if want, ok := sizes[name]; ok {
			kind := filepath.Ext(name)[1:]
			d := &fakeDecoder{file: []byte("P6 1 1 255\nabc")}
			_, err := Decode(t.Context(), data, Options{Decoders: map[string]Decoder{kind: d}})
			require.ErrorIs(t, err, ErrImage)
			require.ErrorContains(t, err, fmt.Sprintf("declared %d×%d pixels, the decoder returned 1×1", want.X, want.Y))
			require.Equal(t, want, image.Pt(d.w, d.h), name)
		}
	}
	data := outsidePictures(t)["irot1.heic"]
	pixels := make([]byte, 3*96*64)
	copy(pixels[3*95:], "abc") // the stored picture's corner at the top right
	file := append([]byte("P6\n# a comment\n96 64\n255\n"), pixels...)
	o := Options{Decoders: map[string]Decoder{HEIC: &fakeDecoder{file: file}}}
	p, err := Decode(t.Context(), data, o)
	require.NoError(t, err)
	require.Equal(t, 8, p.Orientation)
	require.Equal(t, []byte("abc\xff"), p.Image.Pix[:4], "is at the top left when turned anticlockwise")
	o.IgnoreEXIF = true
	p, err = Decode(t.Context(), data, o)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 96, 64), p.Image.Rect)

	fault := errors.New("no such folder")
	_, err = Decode(t.Context(), data, Options{Decoders: map[string]Decoder{HEIC: &fakeDecoder{err: fault}}})
	require.ErrorIs(t, err, fault)
	require.NotErrorIs(t, err, ErrImage, "the picture is not to blame")

	_, err = Decode(t.Context(), data, Options{MaxPixels: 100, Decoders: o.Decoders})
	require.ErrorIs(t, err, ErrSize)
}

func TestPNM(t *testing.T) {
	for _, c := range []struct {
		file string
		want string // RGBA; "": refused
	}{
		{"P5 2 1 255 ab", "aaa\xffbbb\xff"},
		{"P6\t1\n1\n255\nabc", "abc\xff"},
		{"P6 1 1 65535\naAbBcC", "abc\xff"},
		{"P5 1 1 65535\naA", "aaa\xff"},
		{"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\nabcd", "abc\xff"},
		{"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 2\nMAXVAL 255\nENDHDR\nadbd", "aaa\xffbbb\xff"},
		{"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 5\nMAXVAL 255\nENDHDR\nabcde", ""},
		{"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nabc", ""},
		{"P6 1 1 255\nab", ""},
		{"P6 1 1 7\nabc", ""},
		{"P6 99999999999 1 255\nabc", ""},
		{"P6 1", ""},
		{"P6", ""},
		{"P6 0 1 255\n", ""},
	} {
		c2, err := pnmConfig([]byte(c.file))
		var m *image.NRGBA
		if err == nil {
			m, err = decodePNM(t.Context(), []byte(c.file))
		}
		if c.want == "" {
			require.Error(t, err, c.file)
			continue
		}
		require.NoError(t, err, c.file)
		require.Equal(t, c.want, string(m.Pix), c.file)
		require.Equal(t, c2.Width, m.Rect.Dx())
	}
}

// FuzzOutside has any bytes read as the boxes and headers of kinds that
// Decoders read, and as what Decoders return.
func FuzzOutside(f *testing.F) {
	for _, data := range outsidePictures(f) {
		f.Add(data)
	}
	f.Add([]byte("P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nENDHDR\nabcd"))
	f.Add([]byte("P6 1 1 65535\naAbBcC"))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		kind := NamesKind(data)
		o := Options{MaxPixels: 1 << 16, Decoders: map[string]Decoder{HEIC: &fakeDecoder{file: data}, AVIF: &fakeDecoder{file: data}, JXL: &fakeDecoder{file: data}}}
		if kind != "" {
			_, err := Decode(t.Context(), data, o)
			require.Error(t, err, "it has returned itself")
		}
		if still, err := stillHEIF(data); err == nil {
			require.Len(t, still, len(data))
			require.Equal(t, 1, heifOrientation(still))
		}
		if isPNM(data) {
			if c, err := pnmConfig(data); err == nil && c.Width < 1<<8 && c.Height < 1<<8 {
				_, _ = decodePNM(t.Context(), data)
			}
		}
		require.Equal(t, before, data)
	})
}
