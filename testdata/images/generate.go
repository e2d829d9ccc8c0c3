//go:build ignore

// This program draws the pictures of this folder: scenes of things that the
// embedded model knows, and files that are wrong in a way each. Run it here:
//
//	go run generate.go still.go outdoor.go
package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"log"
	"math"
	"os"
	"path/filepath"
)

const width, height = 320, 240

// A scene is a colour at each point: x to the right in 0 to 4/3, y down in
// 0 to 1.
type scene func(x, y float64) rgb

var scenes = []struct {
	file string
	draw scene
}{
	{"basketball.jpg", basketball},
	{"orange.jpg", orange},
	{"banana.jpg", banana},
	{"pizza.jpg", pizza},
	{"school_bus.png", schoolBus},
	{"ladybug.png", ladybug},
	{"umbrella.jpg", umbrella},
	{"beacon.jpg", beacon},
	{"jellyfish.jpg", jellyfish},
}

func main() {
	log.SetFlags(0)
	for _, s := range scenes {
		m := render(s.draw)
		var data []byte
		if filepath.Ext(s.file) == ".png" {
			data = encodePNG(m)
		} else {
			data = encodeJPEG(m)
		}
		write(s.file, data)
		switch s.file {
		case "basketball.jpg":
			write("sideways.jpg", withOrientation(encodeJPEG(turn(m)), 6))
			write("broken.jpg", data[:len(data)*2/3])
		case "orange.jpg":
			gray := image.NewGray(m.Rect)
			for i := range gray.Pix {
				gray.Pix[i] = color.GrayModel.Convert(m.At(i%width, i/width)).(color.Gray).Y
			}
			write("gray.jpg", encodeJPEG(gray))
		}
	}
	write("text.png", []byte("This is a text, whatever its name says.\n"))
}

// render takes nine samples a pixel, so that edges are smooth.
func render(s scene) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	const n = 3
	for y := range height {
		for x := range width {
			var sum rgb
			for j := range n {
				for i := range n {
					sum = sum.add(s((float64(x)+(float64(i)+0.5)/n)/height, (float64(y)+(float64(j)+0.5)/n)/height))
				}
			}
			grain := (hash(float64(x), float64(y)) - 0.5) * 0.02
			c := sum.scale(1.0 / (n * n)).add(rgb{grain, grain, grain})
			m.SetNRGBA(x, y, color.NRGBA{c.byte(0), c.byte(1), c.byte(2), 255})
		}
	}
	return m
}

// turn rotates by 90° against the clock, which orientation 6 undoes.
func turn(m *image.NRGBA) *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, height, width))
	for y := range width {
		for x := range height {
			out.SetNRGBA(x, y, m.NRGBAAt(width-1-y, x))
		}
	}
	return out
}

func encodeJPEG(m image.Image) []byte {
	var b bytes.Buffer
	check(jpeg.Encode(&b, m, &jpeg.Options{Quality: 88}))
	return b.Bytes()
}

func encodePNG(m image.Image) []byte {
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestCompression}
	check(e.Encode(&b, m))
	return b.Bytes()
}

// withOrientation puts an APP1 segment with one EXIF tag after a JPEG's first
// marker.
func withOrientation(data []byte, n uint16) []byte {
	tiff := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	binary.BigEndian.PutUint16(tiff[18:], n)
	body := append([]byte("Exif\x00\x00"), tiff...)
	app1 := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(body)+2))
	return bytes.Join([][]byte{data[:2], app1, body, data[2:]}, nil)
}

func write(name string, data []byte) { check(os.WriteFile(name, data, 0o644)) }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// rgb is a linear mixture of red, green and blue, 0 to 1.
type rgb [3]float64

func (a rgb) add(b rgb) rgb            { return rgb{a[0] + b[0], a[1] + b[1], a[2] + b[2]} }
func (a rgb) scale(k float64) rgb      { return rgb{a[0] * k, a[1] * k, a[2] * k} }
func (a rgb) mix(b rgb, t float64) rgb { return a.scale(1 - t).add(b.scale(t)) }
func (a rgb) byte(c int) uint8         { return uint8(math.Round(255 * min(max(a[c], 0), 1))) }
