package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/patch"
)

// photoFlags say how pictures are read.
type photoFlags struct {
	maxPixels  int
	noEXIF     bool
	preprocess string
	resize     string
	decoders   decoderFlag
}

func (f *photoFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.maxPixels, "max-pixels", patch.DefaultMaxPixels, "largest declared width × height that is decoded")
	flags.BoolVar(&f.noEXIF, "no-exif", false, "do not turn pictures upright by their EXIF orientation")
	flags.StringVar(&f.preprocess, "preprocess", string(patch.PreprocessModel), "how much is done to pictures: model (resize and crop), crop, or none because they have the model's size")
	flags.Var(&f.decoders, "decoder", decoderUsage)
	flags.StringVar(&f.resize, "resize", string(patch.ResizeExact), "exact: the reference's pixels; fast: of a large JPEG only what the model can see")
}

// look is how the flags have photos read.
func (f *photoFlags) look() (l lib.Look, err error) {
	if f.maxPixels < 1 {
		return l, usageError{fmt.Errorf("--max-pixels %d, want 1 or more", f.maxPixels)}
	}
	for _, flag := range []struct{ name, value string }{{"resize", f.resize}, {"preprocess", f.preprocess}} {
		if all := values(flag.name); !slices.Contains(all, flag.value) {
			return l, usageError{fmt.Errorf("--%s %s, %s", flag.name, flag.value, words.Among(flag.value, all...))}
		}
	}
	resize, err := patch.ParseResize(f.resize)
	if err != nil {
		return l, usageError{fmt.Errorf("--resize: %w", err)}
	}
	if _, err := (patch.Transform{}).With(patch.Preprocess(f.preprocess)); err != nil {
		return l, usageError{fmt.Errorf("--preprocess: %w", err)}
	}
	decoders, err := f.decoders.decoders()
	if err != nil {
		return l, err
	}
	l.Options = patch.Options{Decoders: decoders, MaxPixels: f.maxPixels, IgnoreEXIF: f.noEXIF, Resize: resize}
	l.Preprocess = patch.Preprocess(f.preprocess)
	return l, nil
}

// imageSize is a flag: "384" for a square, "480x640" for height and width.
// The zero value is the model's own size.
type imageSize [2]int

// String implements pflag.Value.
func (s *imageSize) String() string {
	switch {
	case *s == imageSize{}:
		return ""
	case s[0] == s[1]:
		return strconv.Itoa(s[0])
	}
	return fmt.Sprintf("%dx%d", s[0], s[1])
}

// Set implements pflag.Value.
func (s *imageSize) Set(text string) error {
	height, width, both := strings.Cut(text, "x")
	if !both {
		width = height
	}
	for i, side := range []string{height, width} {
		n, err := strconv.Atoi(side)
		if err != nil || n < 1 {
			return fmt.Errorf("size %q, want pixels such as 384, or height and width such as 480x640", text)
		}
		s[i] = n
	}
	return nil
}

// Type implements pflag.Value.
func (s *imageSize) Type() string { return "pixels" }
