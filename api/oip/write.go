package oip

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
)

// size returns the bytes of an output: in binary, or about those of its JSON.
func (o output) size(text bool) (n int) {
	const digits = 13 // that a float32 takes about, with a comma
	for _, p := range o.parts {
		n += 4 * len(p)
		if text {
			n += (digits - 4) * len(p)
		}
	}
	for _, t := range o.texts {
		n += 4 + len(t)
	}
	return n
}

// binaryData returns an output in binary, little-endian, with the length of each
// text before it.
func (o output) binaryData() []byte {
	b := make([]byte, 0, o.size(false))
	for _, p := range o.parts {
		for _, v := range p {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	for _, t := range o.texts {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t)))
		b = append(b, t...)
	}
	return b
}

// json returns an output as a flat array: of the shortest numbers that are read
// as the same float32.
func (o output) json() (json.RawMessage, error) {
	if o.texts != nil {
		return json.Marshal(o.texts)
	}
	b := append(make([]byte, 0, o.size(true)), '[')
	for _, p := range o.parts {
		for _, v := range p {
			b = append(strconv.AppendFloat(b, float64(v), 'g', -1, 32), ',')
		}
	}
	b[len(b)-1] = ']'
	return b, nil
}
