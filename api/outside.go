package api

import (
	"fmt"
	"time"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/patch/external"
)

// Decoders are programs that decode what is not decoded here, see package
// patch/external.
type Decoders struct {
	HEIC Decoder `json:"heic" yaml:"heic"`
	AVIF Decoder `json:"avif" yaml:"avif"`
	JXL  Decoder `json:"jxl" yaml:"jxl"`
}

// Decoder is a program that decodes one kind of picture.
type Decoder struct {
	Command []string `json:"command" yaml:"command"` // the program and its arguments, with {in} and {out}; no shell reads them; none: no program
	Timeout Duration `json:"timeout" yaml:"timeout"` // of one picture
	Memory  int64    `json:"memory" yaml:"memory"`   // bytes of address space of one process, which are of decode_budget
	AtOnce  int      `json:"at_once" yaml:"at_once"` // processes at the same time
}

func defaultDecoders() Decoders {
	l := external.DefaultLimits()
	d := func() Decoder {
		return Decoder{Command: []string{}, Timeout: Duration(l.Timeout), Memory: l.Memory, AtOnce: l.AtOnce}
	}
	return Decoders{HEIC: d(), AVIF: d(), JXL: d()}
}

// byFormat are the decoders by the formats of package patch.
func (d Decoders) byFormat() map[string]Decoder {
	return map[string]Decoder{patch.HEIC: d.HEIC, patch.AVIF: d.AVIF, patch.JXL: d.JXL}
}

// Set gives a format of package patch a command.
func (d *Decoders) Set(format string, command []string) error {
	switch format {
	case patch.HEIC:
		d.HEIC.Command = command
	case patch.AVIF:
		d.AVIF.Command = command
	case patch.JXL:
		d.JXL.Command = command
	default:
		return fmt.Errorf("api: decoder of %q, want %s, %s or %s", format, patch.HEIC, patch.AVIF, patch.JXL)
	}
	return nil
}

// programs finds the programs that are configured.
func (d Decoders) programs() (map[string]patch.Decoder, error) {
	found := map[string]patch.Decoder{}
	for format, c := range d.byFormat() {
		if len(c.Command) == 0 {
			continue
		}
		p, err := external.New(format, c.Command, external.Limits{Timeout: time.Duration(c.Timeout), Memory: c.Memory, AtOnce: c.AtOnce})
		if err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
		found[format] = p
	}
	return found, nil
}
