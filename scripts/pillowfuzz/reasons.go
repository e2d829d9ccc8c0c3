package main

import (
	"bytes"
	"slices"
	"strings"
)

// finding is a difference between the two.
type finding struct {
	kind      string // verdict, size or pixels
	file      []byte
	ours, ref string // errors; "": a picture
}

// reason is a difference that is meant, and how it is known.
type reason struct {
	name string
	is   func(f finding) bool
}

// reasons are at most ten for a format; the first that holds counts.
func reasons(format string) []reason {
	lacks := func(f finding) bool {
		return f.ref == "" && strings.HasSuffix(f.ours, "not an image of a supported format")
	}
	both := []reason{
		{"a kind of file that the decoder lacks (415)", lacks},
		{"the reference died or ran out of memory", func(f finding) bool {
			return f.ours == "" && (f.ref == died || strings.HasPrefix(f.ref, "MemoryError"))
		}},
	}
	if format != "jpeg" {
		return append(both,
			reason{"damage outside of the pixels or behind the last of them, that Pillow refuses and this package reads", func(f finding) bool {
				return f.ours == "" && f.ref != ""
			}},
			reason{"fewer bytes than the declared pixels can be coded in", func(f finding) bool {
				return f.ref == "" && strings.Contains(f.ours, " at most, ")
			}},
		)
	}
	both[0] = reason{"hierarchical coding, lossless arithmetic coding, 12 bits (415)", func(f finding) bool {
		kind := func(text string) bool { return strings.Contains(f.ours, text) }
		return lacks(f) && slices.ContainsFunc([]string{"lossless arithmetic coding", "hierarchical coding", "precision of"}, kind)
	}}
	return append(both,
		reason{"no marker behind the data: whether they suffice depends on how libjpeg-turbo fills its bit buffer", func(f finding) bool {
			cut := f.ref == "" && strings.Contains(f.ours, "the file is cut off") ||
				f.ours == "" && strings.HasPrefix(f.ref, "OSError: image file is truncated")
			scan := bytes.LastIndex(f.file, []byte{0xff, 0xda})
			return cut && scan >= 0 && !bytes.Contains(f.file[scan:], []byte{0xff, 0xd9})
		}},
		reason{"lossless YCbCr and YCCK, of which libjpeg-turbo makes no RGB and this package does", func(f finding) bool {
			return f.ours == "" && strings.HasPrefix(f.ref, "OSError: broken data stream") && bytes.Contains(f.file, []byte{0xff, 0xc3})
		}},
		reason{"Pillow's own look at the header refuses what libjpeg-turbo reads", func(f finding) bool {
			return f.ours == "" && strings.HasPrefix(f.ref, "UnidentifiedImageError")
		}},
	)
}
