package patch

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// exifOf is a TIFF structure of one tag.
func exifOf(orientation byte) string {
	return "MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + string(orientation) + "\x00\x00\x00\x00\x00\x00"
}

func app1(body string) string {
	return "\xff\xe1" + string(binary.BigEndian.AppendUint16(nil, uint16(len(body)+2))) + body
}

func deflated(text string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

func webpOf(flags byte, chunks ...string) string {
	out := "VP8X\x0a\x00\x00\x00" + string(flags) + "\x00\x00\x00\x0f\x00\x00\x0f\x00\x00"
	for i := 0; i < len(chunks); i += 2 {
		out += chunks[i] + string(binary.LittleEndian.AppendUint32(nil, uint32(len(chunks[i+1])))) + chunks[i+1]
		if len(chunks[i+1])%2 == 1 {
			out += "\x00"
		}
	}
	return "RIFF\x00\x00\x00\x00WEBP" + out
}

// TestMetadata: where a file says how it lies, as ImageOps.exif_transpose has it.
func TestMetadata(t *testing.T) {
	attribute := `<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>`
	element := `<rdf:Description><tiff:Orientation>8</tiff:Orientation></rdf:Description>`
	exif := func(n byte) string { return exifHeader + exifOf(n) }
	raw := func(n byte) string {
		h := hex.EncodeToString([]byte(exif(n)))
		return fmt.Sprintf("\nexif\n%8d\n%s\n%s\n", len(h)/2, h[:40], h[40:])
	}
	jpeg := func(parts ...string) string {
		return "\xff\xd8" + string(bytes.Join(func() (b [][]byte) {
			for _, p := range parts {
				b = append(b, []byte(p))
			}
			return b
		}(), nil)) + "\xff\xda\x00\x02"
	}
	png := func(chunks ...string) string {
		out := "\x89PNG\r\n\x1a\n"
		for i := 0; i < len(chunks); i += 2 {
			out += string(pngChunk(chunks[i], []byte(chunks[i+1])))
		}
		return out
	}
	idat := []string{"IDAT", "pixels"}
	for _, c := range []struct {
		name, format, file string
		want               int
	}{
		{"EXIF", "jpeg", jpeg(app1(exif(5))), 5},
		{"EXIF before XMP", "jpeg", jpeg(app1(xmpHeader+attribute), app1(exif(3))), 3},
		{"EXIF that says 1, XMP that does not", "jpeg", jpeg(app1(exif(1)), app1(xmpHeader+attribute)), 1},
		{"XMP attribute", "jpeg", jpeg(app1(xmpHeader + attribute)), 6},
		{"XMP element", "jpeg", jpeg(app1(xmpHeader + element)), 8},
		{"the last XMP", "jpeg", jpeg(app1(xmpHeader+attribute), app1(xmpHeader+element)), 8},
		{"EXIF in two", "jpeg", jpeg(app1(exif(7)[:19]), app1(exifHeader+exif(7)[19:])), 7},
		{"an empty EXIF first", "jpeg", jpeg(app1(exifHeader), app1(exif(2))), 2},
		{"bytes between segments", "jpeg", jpeg("\x00\x01junk", app1("other"), "\xff\xff", app1(exif(4))), 4},
		{"EXIF behind the scan", "jpeg", jpeg() + app1(exif(4)), 1},
		{"EXIF", "png", png("eXIf", exifOf(6)), 6},
		{"late EXIF", "png", png(append(idat, "eXIf", exifOf(6))...), 6},
		{"EXIF behind the end", "png", png(append(idat, "IEND", "", "eXIf", exifOf(6))...), 1},
		{"the last EXIF", "png", png("eXIf", exifOf(6), "eXIf", exifOf(3)), 3},
		{"raw profile", "png", png("tEXt", rawEXIF+"\x00"+raw(6)), 6},
		{"raw profile, compressed", "png", png("zTXt", rawEXIF+"\x00\x00"+deflated(raw(8))), 8},
		{"EXIF before a raw profile", "png", png("tEXt", rawEXIF+"\x00"+raw(6), "eXIf", exifOf(3)), 3},
		{"XMP", "png", png("iTXt", xmpText+"\x00\x00\x00\x00\x00"+attribute), 6},
		{"XMP, compressed, in a language", "png", png("iTXt", xmpText+"\x00\x01\x00en\x00word\x00"+deflated(element)), 8},
		{"text of another name", "png", png("tEXt", "Comment\x00"+attribute), 1},
		{"a text that is no Deflate", "png", png("zTXt", rawEXIF+"\x00\x00no"), 1},
		{"EXIF", "webp", webpOf(8, "VP8 ", "x", "EXIF", exifOf(6)), 6},
		{"EXIF with a header", "webp", webpOf(8, "EXIF", exif(6)), 6},
		{"EXIF without its flag", "webp", webpOf(0, "EXIF", exifOf(6)), 1},
		{"XMP", "webp", webpOf(4, "VP8L", "x", "XMP ", attribute), 6},
		{"both", "webp", webpOf(12, "XMP ", attribute, "EXIF", exifOf(5)), 5},
		{"big EXIF", "tiff", "II+\x00\x08\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00" +
			"\x12\x01\x03\x00\x01\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00", 8},
		{"XMP", "tiff", "II*\x00\x08\x00\x00\x00\x01\x00\xbc\x02\x07\x00" + string(rune(len(element))) + "\x00\x00\x00\x1a\x00\x00\x00\x00\x00\x00\x00" + element, 8},
	} {
		require.Equal(t, c.want, orientation(c.format, []byte(c.file)), "%s: %s", c.format, c.name)
		for n := range c.file { // of any part of it something may be made, and nothing breaks
			_ = orientation(c.format, []byte(c.file[:max(n, 12)]))
		}
	}
	bomb := png("zTXt", rawEXIF+"\x00\x00"+deflated(string(make([]byte, 50<<20))))
	require.Less(t, allocated(func() { orientation("png", []byte(bomb)) }), uint64(10<<20))
}
