package cli

import (
	"fmt"
	"strings"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/patch/external"
)

// decoderFlag is --decoder FORMAT=COMMAND, given once for each format.
type decoderFlag map[string][]string

const decoderUsage = "FORMAT=COMMAND of a program that decodes heic, avif or jxl, such as heic='heif-convert {in} {out}.png'; may be given for each format"

// String implements pflag.Value.
func (f decoderFlag) String() string { return "" }

// Type implements pflag.Value.
func (f decoderFlag) Type() string { return "format=command" }

// Set implements pflag.Value.
func (f *decoderFlag) Set(text string) error {
	format, command, ok := strings.Cut(text, "=")
	words := external.SplitCommand(command)
	switch {
	case !ok || len(words) == 0:
		return fmt.Errorf("%q, want FORMAT=COMMAND such as heic=%q", text, "heif-convert {in} {out}.png")
	case format != patch.HEIC && format != patch.AVIF && format != patch.JXL:
		return fmt.Errorf("format %q, want %s, %s or %s", format, patch.HEIC, patch.AVIF, patch.JXL)
	case (*f)[format] != nil:
		return fmt.Errorf("%s given twice", format)
	}
	if *f == nil {
		*f = decoderFlag{}
	}
	(*f)[format] = words
	return nil
}

// decoders finds the programs.
func (f decoderFlag) decoders() (map[string]patch.Decoder, error) {
	found := map[string]patch.Decoder{}
	for format, command := range f {
		p, err := external.New(format, command, external.Limits{})
		if err != nil {
			return nil, usageError{fmt.Errorf("--decoder: %w", err)}
		}
		found[format] = p
	}
	return found, nil
}
