package patch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"strconv"
)

// pnm is the header of a binary PGM, PPM or PAM file (netpbm: pgm(5), ppm(5),
// pam(5)).
type pnm struct {
	width, height int
	channels      int // gray, gray and alpha, RGB, RGB and alpha
	most          int // the value that is white: 255 or 65535
	at            int // where the pixels begin
}

// isPNM reports whether readPNM reads a file.
func isPNM(data []byte) bool {
	return matches(data, "P5") || matches(data, "P6") || matches(data, "P7\n")
}

func readPNM(data []byte) (p pnm, err error) {
	p.channels, p.at = 1, 2
	switch data[1] {
	case '7':
		err = p.pam(data)
	case '6':
		p.channels = 3
		fallthrough
	default:
		err = p.numbers(data, &p.width, &p.height, &p.most)
		p.at++ // one white space
	}
	if err != nil {
		return p, err
	}
	if p.channels < 1 || p.channels > 4 {
		return p, fmt.Errorf("PNM of %d channels, want 1 to 4", p.channels)
	}
	if p.most != 255 && p.most != 65535 {
		return p, fmt.Errorf("PNM of %d grey levels, want 255 or 65535", p.most)
	}
	return p, nil
}

// numbers reads the next numbers of the header.
func (p *pnm) numbers(data []byte, to ...*int) (err error) {
	for _, n := range to {
		if *n, err = p.number(data); err != nil {
			return err
		}
	}
	return nil
}

// pam reads the lines of a PAM's header.
func (p *pnm) pam(data []byte) error {
	const longest = 1 << 10
	for head := data[p.at+1 : min(len(data), longest)]; ; {
		line, rest, whole := bytes.Cut(head, []byte("\n"))
		if !whole {
			return errors.New("PNM without an end of its header")
		}
		p.at = len(data[:min(len(data), longest)]) - len(rest)
		head = rest
		name, value, _ := bytes.Cut(line, []byte(" "))
		to := map[string]*int{"WIDTH": &p.width, "HEIGHT": &p.height, "DEPTH": &p.channels, "MAXVAL": &p.most}[string(name)]
		if string(name) == "ENDHDR" {
			return nil
		}
		if to == nil {
			continue // a comment, or TUPLTYPE, which the depth says
		}
		n, err := strconv.ParseUint(string(value), 10, 24)
		if err != nil {
			return fmt.Errorf("PNM: %s %q in its header", name, value)
		}
		*to = int(n)
	}
}

// number reads the next number of the header, behind white space and comments.
func (p *pnm) number(data []byte) (n int, err error) {
	const most = 1 << 24
	for ; p.at < len(data); p.at++ {
		switch c := data[p.at]; c {
		case '#':
			for p.at+1 < len(data) && data[p.at] != '\n' {
				p.at++
			}
			continue
		case ' ', '\t', '\r', '\n', '\v', '\f':
			continue
		}
		break
	}
	from := p.at
	for ; p.at < len(data) && data[p.at] >= '0' && data[p.at] <= '9' && n < most; p.at++ {
		n = 10*n + int(data[p.at]-'0')
	}
	if p.at == from || n >= most {
		return 0, errors.New("PNM without a number in its header")
	}
	return n, nil
}

func pnmConfig(data []byte) (image.Config, error) {
	p, err := readPNM(data)
	return image.Config{Width: p.width, Height: p.height}, err
}

// decodePNM reads 8 bits of each sample.
func decodePNM(ctx context.Context, data []byte) (*image.NRGBA, error) {
	p, err := readPNM(data)
	if err != nil {
		return nil, err
	}
	sample := 1
	if p.most > 255 {
		sample = 2
	}
	row := p.width * p.channels * sample
	if have := len(data) - p.at; p.at > len(data) || p.width <= 0 || p.height <= 0 || row > have/p.height {
		return nil, fmt.Errorf("truncated PNM: %d×%d pixels, %d bytes", p.width, p.height, max(have, 0))
	}
	m := image.NewNRGBA(image.Rect(0, 0, p.width, p.height))
	green, blue := 0, 0
	if p.channels >= 3 {
		green, blue = sample, 2*sample
	}
	for y := range p.height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		src := data[p.at+y*row:][:row]
		dst := m.Pix[y*m.Stride:][:4*p.width]
		for i := 0; i < len(dst); i += 4 {
			dst[i], dst[i+1], dst[i+2], dst[i+3] = src[0], src[green], src[blue], 255
			src = src[p.channels*sample:]
		}
	}
	return m, nil
}
