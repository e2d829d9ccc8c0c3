package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/corrupt"
	"golang.org/x/sync/errgroup"
	"gorgonia.org/tensor"
)

type corruptFlags struct {
	photoFlags
	names      []string
	severities []int
	seed       uint64
	flavour    string
	size       int
	format     string
	quality    int
	output     string
	textures   string
}

func newCorrupt() *cobra.Command {
	var f corruptFlags
	cmd := &cobra.Command{
		Use:   "corrupt PHOTO|FOLDER…",
		Short: "Write photos as ImageNet-C's corruptions leave them",
		Long: `Disturb photos with ImageNet-C's corruptions and write them in its layout,
NAME/SEVERITY/CLASS/FILE, where CLASS is the folder that a photo lies in. Photos are
resized and cropped to 224 pixels before, as the data set's are; --size 0 takes them
whole. One photo, corruption and severity may be written to one file.

The same file, corruption, severity and seed give the same picture, here, in robust
and from POST /v1/corrupt.

Corruptions: ` + corruptionHelp(),
		Example: `  vitserve corrupt photo.jpg --corruption fog --severity 3 -o foggy.png --size 0
  vitserve corrupt val/ -o val-c/
  vitserve corrupt val/ --corruption noise,snow --severity 1,3,5 --format png -o val-c/`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.textures != "" {
				return nil
			}
			return atLeast(1, "photo")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.photoFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.names, "corruption", []string{"imagenet-c"}, "corruptions or groups of them (imagenet-c, "+strings.Join(corrupt.Groups(), ", ")+"), by commas")
	flags.IntSliceVar(&f.severities, "severity", []int{1, 2, 3, 4, 5}, "severities, by commas")
	flags.Uint64Var(&f.seed, "seed", 0, "of the random numbers")
	flags.StringVar(&f.flavour, "flavour", string(corrupt.Package), "whose formulas: imagecorruptions, or original")
	flags.IntVar(&f.size, "size", 224, "edge of the square that is cut before, from the photo at 8/7 of it; 0: the whole photo")
	flags.StringVar(&f.format, "format", "jpeg", "of files in a folder: jpeg, or png, which loses nothing")
	flags.IntVar(&f.quality, "quality", 85, "of JPEG files, 1 to 100")
	flags.StringVarP(&f.output, "output", "o", "", "folder to write to, or a file (.png, .jpg) for one picture")
	flags.StringVar(&f.textures, "textures", "", "write the textures of frost to this folder, and nothing else")
	return cmd
}

func corruptionHelp() string {
	var s strings.Builder
	for _, c := range corrupt.Table() {
		fmt.Fprintf(&s, "\n  %-18s %-8s %s", c.Name, c.Group, c.Help)
	}
	return s.String()
}

// chosen are the corruptions that the flags name.
func (f *corruptFlags) chosen() ([]corrupt.Corruption, error) {
	var all []corrupt.Corruption
	for _, name := range f.names {
		found := false
		for _, c := range corrupt.Table() {
			if c.Name == name || c.Group == name || name == "imagenet-c" && c.Group != "extra" {
				found = true
				if !slices.ContainsFunc(all, func(o corrupt.Corruption) bool { return o.Name == c.Name }) {
					all = append(all, c)
				}
			}
		}
		if !found {
			_, err := corrupt.Find(name)
			return nil, err
		}
	}
	return all, nil
}

func (f *corruptFlags) run(cmd *cobra.Command, args []string) error {
	if f.textures != "" {
		return writeTextures(f.textures)
	}
	look, err := f.look()
	if err != nil {
		return err
	}
	chosen, err := f.chosen()
	switch {
	case err != nil:
		return usageError{fmt.Errorf("--corruption: %w", err)}
	case f.output == "":
		return usageError{errors.New("no --output given: want a folder, or a file for one picture")}
	case f.size != 0 && (f.size < corrupt.MinSize || f.size > 4096):
		return usageError{fmt.Errorf("--size %d, want 0, or %d to 4096", f.size, corrupt.MinSize)}
	case f.format != "jpeg" && f.format != "png":
		return usageError{fmt.Errorf("--format %s, %s", f.format, words.Among(f.format, "jpeg", "png"))}
	case f.quality < 1 || f.quality > 100:
		return usageError{fmt.Errorf("--quality %d, want 1 to 100", f.quality)}
	case !slices.Contains(corrupt.Flavours(), corrupt.Flavour(f.flavour)):
		return usageError{fmt.Errorf("--flavour %s, %s", f.flavour, words.Among(f.flavour, string(corrupt.Package), string(corrupt.Original)))}
	}
	for _, s := range f.severities {
		if s < 1 || s > corrupt.Severities {
			return usageError{fmt.Errorf("--severity %d, want 1 to %d", s, corrupt.Severities)}
		}
	}
	sources, passed, err := findAll(args, cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	single := slices.Contains([]string{".png", ".jpg", ".jpeg"}, strings.ToLower(filepath.Ext(f.output)))
	if single && len(sources)*len(chosen)*len(f.severities) != 1 {
		return usageError{fmt.Errorf("--output %s is one file, want one photo, corruption and severity, found %d pictures", f.output, len(sources)*len(chosen)*len(f.severities))}
	}
	if !single {
		if err := os.MkdirAll(f.output, 0o755); err != nil {
			return fmt.Errorf("--output: cannot make the folder: %w", err)
		}
	}
	c := collector{stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), total: len(sources), what: "corrupt"}
	c.start()
	for _, s := range sources {
		err := f.photo(cmd.Context(), s, look.Options, chosen, single)
		if ctx := cmd.Context().Err(); ctx != nil {
			return c.end(ctx)
		}
		c.done(s.Name, err)
	}
	if err := c.end(nil); err != nil {
		return err
	}
	if passed > 0 {
		return errReported
	}
	return nil
}

// photo writes what becomes of one.
func (f *corruptFlags) photo(ctx context.Context, s lib.Source, o patch.Options, chosen []corrupt.Corruption, single bool) error {
	data, err := s.Read(ctx)
	if err != nil {
		return err
	}
	p, err := decodeTo(ctx, data, f.size, o)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, c := range chosen {
		for _, severity := range f.severities {
			g.Go(func() error {
				var dst corrupt.Picture
				if err := c.Apply(&dst, p, severity, corrupt.Flavour(f.flavour), corrupt.Seed(sum, c.Name, severity, f.seed)); err != nil {
					return err
				}
				name := f.output
				if !single {
					name = filepath.Join(f.output, c.Name, strconv.Itoa(severity), f.place(s))
					if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
						return err
					}
				}
				return createFile(name, func(w io.Writer) error { return f.encode(w, name, &dst) })
			})
		}
	}
	return g.Wait()
}

// place is CLASS/FILE of a photo, with the ending of the format.
func (f *corruptFlags) place(s lib.Source) string {
	base := filepath.Base(s.Name)
	ending := ".JPEG"
	if f.format == "png" {
		ending = ".png"
	}
	class := filepath.Base(filepath.Dir(s.Name))
	if class == "." || class == string(filepath.Separator) {
		class = ""
	}
	return filepath.Join(class, strings.TrimSuffix(base, filepath.Ext(base))+ending)
}

func (f *corruptFlags) encode(w io.Writer, name string, p *corrupt.Picture) error {
	if strings.EqualFold(filepath.Ext(name), ".png") {
		return png.Encode(w, p.Image())
	}
	return jpeg.Encode(w, p.Image(), &jpeg.Options{Quality: f.quality})
}

// decodeTo reads a photo as ImageNet-C's were: the short edge at 8/7 of size,
// 256 for 224, and the middle of that; of size 0 it is the whole photo.
func decodeTo(ctx context.Context, data []byte, size int, o patch.Options) (*corrupt.Picture, error) {
	if size == 0 {
		return corrupt.Decode(ctx, data, o)
	}
	short := (size*8 + 3) / 7
	t := patch.Transform{
		Size: [2]int{size, size}, Fit: patch.FitShort, Resize: [2]int{short, short}, Interpolation: patch.Bilinear, Rounding: patch.RoundTorchvision,
	}
	out := tensor.New(tensor.WithShape(3, size, size), tensor.Of(tensor.Float32))
	if _, err := t.Pixels(ctx, out, data, o); err != nil {
		return nil, err
	}
	return corrupt.FromPixels(out), nil
}

// writeTextures writes the textures of frost, for comparisons with other
// programs.
func writeTextures(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("--textures: cannot make the folder: %w", err)
	}
	for i, t := range corrupt.Textures() {
		name := filepath.Join(folder, fmt.Sprintf("frost%d.png", i+1))
		if err := createFile(name, func(w io.Writer) error { return png.Encode(w, t.Image()) }); err != nil {
			return err
		}
	}
	return nil
}
