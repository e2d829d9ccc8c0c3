package op

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// dataURL returns what a data: URL holds, in base64: RFC 2397.
func dataURL(text []byte) ([]byte, error) {
	const longest = 1 << 10 // of a head
	head, _, found := bytes.Cut(text[:min(len(text), longest)], []byte(","))
	if !found {
		return nil, fmt.Errorf("a data: URL without a comma in its first %d characters", longest)
	}
	if !strings.HasSuffix(strings.ToLower(strings.TrimSpace(string(head))), ";base64") {
		return nil, fmt.Errorf("a data: URL %s, want one in base64", Clip(string(head)))
	}
	text = text[len(head)+1:]
	if bytes.IndexByte(text, '%') < 0 {
		return text, nil
	}
	plain, err := url.PathUnescape(string(text))
	if err != nil {
		return nil, fmt.Errorf("a data: URL: %w", err)
	}
	return []byte(plain), nil
}

// base64Of decodes base64 as clients write it: of the standard alphabet or of
// that for URLs (RFC 4648, 4 and 5), padded or not, wrapped into lines or not.
func base64Of(text []byte) ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	if n, err := base64.StdEncoding.Decode(out, text); err == nil {
		return out[:n], nil
	}
	// The usual kind is decoded by the standard library; here are all others.
	out = append(out[:0], 0, 0, 0)[:0] // room for what is not padded
	var bits, count uint32
	digits, padded := 0, 0
	for at, c := range text {
		v, kind := digit(c)
		switch {
		case kind == space:
		case kind == padding && digits%4 >= 2 && padded < 4-digits%4:
			padded++
		case kind == sixBits && padded == 0:
			digits++
			bits, count = bits<<6|v, count+6
			if count >= 8 {
				count -= 8
				out = append(out, byte(bits>>count))
			}
		default:
			return nil, fmt.Errorf("illegal base64 data at character %d", at)
		}
	}
	if digits%4 == 1 {
		return nil, errors.New("base64 data that ends in the midst of a byte")
	}
	return out, nil
}

// Kinds of characters in base64.
const (
	illegal = iota
	sixBits
	padding
	space
)

// digit returns the value of a character of either alphabet.
func digit(c byte) (v uint32, kind int) {
	switch {
	case c >= 'A' && c <= 'Z':
		return uint32(c - 'A'), sixBits
	case c >= 'a' && c <= 'z':
		return uint32(c-'a') + 26, sixBits
	case c >= '0' && c <= '9':
		return uint32(c-'0') + 52, sixBits
	case c == '+' || c == '-':
		return 62, sixBits
	case c == '/' || c == '_':
		return 63, sixBits
	case c == '=':
		return 0, padding
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		return 0, space
	}
	return 0, illegal
}
