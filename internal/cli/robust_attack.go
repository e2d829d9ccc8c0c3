package cli

import (
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/robust"
	"github.com/vitserve/vitserve/robust/corrupt"
)

// attackFlags change what the table of attacks has.
type attackFlags struct {
	epsilons []string
	steps    int
	step     string
	restarts int
	tokens   []int
	random   bool
	rescale  bool
	through  bool
	pictures string
}

func (f *attackFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.epsilons, "epsilon", nil, "radii of attacks in pixels of [0,1] after the crop, by commas, such as 0.5/255 or 0.004; default: each attack's own")
	flags.IntVar(&f.steps, "attack-steps", 0, "steps of an attack, of square its queries; 0: each attack's own, which fgsm and san-pgd keep")
	flags.StringVar(&f.step, "attack-step-size", "", "size of a step of fgsm and pgd, such as 0.25/255; default: each attack's own share of epsilon")
	flags.IntVar(&f.restarts, "restarts", 0, "tries of an attack, each from another random start; 0: each attack's own")
	flags.IntSliceVar(&f.tokens, "tokens", nil, "how many patches a patch-attack may change, by commas; default 1,2,4")
	flags.BoolVar(&f.random, "random-start", true, "attacks that begin at a random point do so")
	flags.BoolVar(&f.rescale, "resc-schedule", true, "the squares of square shrink as if the budget were 10,000 queries, as the authors' class does by itself; their AutoAttack says false")
	flags.BoolVar(&f.through, "all-steps", false, "an attack makes all its steps, whatever fools before; the last picture counts")
	flags.StringVar(&f.pictures, "pictures", "", "folder to write the model's inputs and the pictures of attacks to, as PNG: CELL/LEVEL/PHOTO.png, clean/PHOTO.png")
}

// number reads a number or a fraction, such as 0.5/255.
func number(flag, text string) (float64, error) {
	above, below, fraction := strings.Cut(text, "/")
	v, err := strconv.ParseFloat(strings.TrimSpace(above), 64)
	if err == nil && fraction {
		var by float64
		if by, err = strconv.ParseFloat(strings.TrimSpace(below), 64); err == nil {
			v /= by
		}
	}
	if err != nil || !(v > 0 && v <= 1000) {
		return 0, fmt.Errorf("--%s %s, want a number above 0 such as 0.5/255 or 0.004", flag, text)
	}
	return v, nil
}

func (f *attackFlags) options(cmd *cobra.Command) (o robust.AttackOptions, err error) {
	o = robust.AttackOptions{Steps: f.steps, Restarts: f.restarts, NoRandom: !f.random, Through: f.through, PlainSquare: !f.rescale}
	if f.steps < 0 || f.restarts < 0 {
		return o, fmt.Errorf("--attack-steps %d, --restarts %d, want 0 or more", f.steps, f.restarts)
	}
	for _, text := range f.epsilons {
		e, err := number("epsilon", text)
		if err != nil {
			return o, err
		}
		o.Epsilons = append(o.Epsilons, e)
	}
	if f.step != "" {
		if o.Step, err = number("attack-step-size", f.step); err != nil {
			return o, err
		}
	}
	if cmd.Flags().Changed("tokens") {
		for _, n := range f.tokens {
			if n < 1 {
				return o, fmt.Errorf("--tokens %d, want 1 or more", n)
			}
		}
		o.Tokens = f.tokens
	}
	return o, nil
}

// prepare checks that a server sees the pixels that attacks send, and has their
// pictures written.
func (f *attackFlags) prepare(cmd *cobra.Command, t robust.Target, o *robust.Options, cells []robust.Cell) error {
	if _, black := robust.HasAttacks(cells); black {
		note, err := robust.SeesPixels(cmd.Context(), t, o.Mode)
		if err != nil {
			return err
		}
		o.Notes = append(o.Notes, note)
	}
	if f.pictures != "" {
		if err := os.MkdirAll(f.pictures, 0o755); err != nil {
			return fmt.Errorf("--pictures: cannot make the folder: %w", err)
		}
		o.Adversary = f.write
	}
	return nil
}

// write writes a picture that was attacked.
func (f *attackFlags) write(photo string, c robust.Cell, p *corrupt.Picture) error {
	name := filepath.FromSlash(strings.TrimSuffix(photo, filepath.Ext(photo)) + ".png")
	if !filepath.IsLocal(name) {
		name = filepath.Base(name)
	}
	file := filepath.Join(f.pictures, filepath.FromSlash(c.Key()), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("--pictures: %w", err)
	}
	if err := createFile(file, func(w io.Writer) error { return png.Encode(w, p.Image()) }); err != nil {
		return fmt.Errorf("--pictures: %w", err)
	}
	return nil
}
