package patch

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Kinds of files that a Decoder reads, as keys of Options.Decoders.
const (
	HEIC = "heic"
	AVIF = "avif"
	JXL  = "jxl"
)

// proper is how people write the names of the kinds.
var proper = map[string]string{HEIC: "HEIC", AVIF: "AVIF", JXL: "JPEG XL"}

// NoDecoderError says that a picture is of a kind that Options have no Decoder
// for. It is an ErrFormat.
type NoDecoderError struct {
	Format string // HEIC, AVIF or JXL
}

// Error implements error.
func (e *NoDecoderError) Error() string {
	return fmt.Sprintf("patch: this is %s, which only an external program reads: set one (--decoder %s=COMMAND, or decoders in the server's configuration) or send JPEG or PNG: %v",
		proper[e.Format], e.Format, ErrFormat)
}

// Name is how people write the kind: "HEIC", "AVIF", "JPEG XL".
func (e *NoDecoderError) Name() string { return proper[e.Format] }

// Unwrap implements errors.Unwrap.
func (e *NoDecoderError) Unwrap() error { return ErrFormat }

const (
	jxlCodestream = "\xff\x0a"
	jxlContainer  = "\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
)

// NamesKind returns which of HEIC, AVIF and JXL a file is that begins with
// head; "": none of them. 64 bytes are enough of all files but those with many
// brands.
func NamesKind(head []byte) string {
	if matches(head, jxlCodestream) || matches(head, jxlContainer) {
		return JXL
	}
	return heifKind(head)
}

// heifBrands are the brands of ftyp that say how pictures are coded (ISO/IEC
// 23008-12, annex B; AV1 Image File Format, section 6). The general ones, such
// as mif1, do not.
var heifBrands = map[string]string{
	"heic": HEIC, "heix": HEIC, "heim": HEIC, "heis": HEIC, "hevc": HEIC, "hevx": HEIC, "hevm": HEIC, "hevs": HEIC,
	"MiHE": HEIC, "MiHB": HEIC, "MiHA": HEIC,
	"avif": AVIF, "avis": AVIF, "avio": AVIF, "MA1A": AVIF, "MA1B": AVIF,
}

// generalBrands are of HEIF files of any coding.
const generalBrands = "mif1 mif2 mif3 msf1 miaf"

// heifKind returns HEIC or AVIF as the brands of a file say, the major one
// first and then those that it is compatible with; of a file with general
// brands only, its primary item decides. "": it is neither.
func heifKind(data []byte) string {
	const most = 4 << 10 // brands of one file
	if !matches(data, "????ftyp????") {
		return ""
	}
	size := min(int(min(binary.BigEndian.Uint32(data), most)), len(data))
	general := false
	for at := 8; at+4 <= size; at += 4 {
		if at == 12 { // the minor version
			continue
		}
		brand := string(data[at : at+4])
		if kind := heifBrands[brand]; kind != "" {
			return kind
		}
		general = general || strings.Contains(generalBrands, brand)
	}
	if !general {
		return ""
	}
	h, err := readHEIF(data)
	if err != nil {
		return ""
	}
	switch h.coding {
	case "hvc1", "lhv1":
		return HEIC
	case "av01":
		return AVIF
	}
	return ""
}
