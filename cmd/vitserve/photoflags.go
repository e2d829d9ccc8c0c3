package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/patch"
)

// photoFlags say how pictures are read.
type photoFlags struct {
	maxPixels int
	noEXIF    bool
}

func (f *photoFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.maxPixels, "max-pixels", patch.DefaultMaxPixels, "largest declared width × height that is decoded")
	flags.BoolVar(&f.noEXIF, "no-exif", false, "do not turn pictures upright by their EXIF orientation")
}

func (f *photoFlags) options() (patch.Options, error) {
	if f.maxPixels < 1 {
		return patch.Options{}, usageError{fmt.Errorf("--max-pixels %d, want 1 or more", f.maxPixels)}
	}
	return patch.Options{MaxPixels: f.maxPixels, IgnoreEXIF: f.noEXIF}, nil
}
