package corrupt

import (
	"fmt"
	"github.com/vitserve/vitserve/internal/words"
	"slices"
	"sync"
)

// Flavour is whose formulas are computed.
type Flavour string

// The flavours. They differ in zoom_blur, snow, frost, elastic_transform and
// pixelate, and in motion_blur where it leaves a picture: the package has the
// formula of ImageMagick, by which the original moves pixels. (The original's fog
// is made for pictures of up to 256 pixels; here it is of any size in both.)
const (
	Package  Flavour = "imagecorruptions" // of imagecorruptions 1.1.2, any size
	Original Flavour = "original"         // of the programs that made ImageNet-C
)

// Flavours returns the flavours, the default first.
func Flavours() []Flavour { return []Flavour{Package, Original} }

// Severities is how many severities each corruption has, from 1.
const Severities = 5

// Corruption is a row of the table.
type Corruption struct {
	Name   string // ImageNet-C's
	Group  string // noise, blur, weather, digital, or extra for those that are no part of the mean
	Random bool   // it needs Draws
	Help   string

	apply func(w *work, dst, src *Picture, s int, f Flavour, d Draws)
}

// by is a corruption that takes one of five parameters.
func by[P any](of [Severities]P, f func(w *work, dst, src *Picture, p P)) func(*work, *Picture, *Picture, int, Flavour, Draws) {
	return func(w *work, dst, src *Picture, s int, _ Flavour, _ Draws) { f(w, dst, src, of[s]) }
}

// randomBy is by with random numbers.
func randomBy[P any](of [Severities]P, f func(w *work, dst, src *Picture, p P, d Draws)) func(*work, *Picture, *Picture, int, Flavour, Draws) {
	return func(w *work, dst, src *Picture, s int, _ Flavour, d Draws) { f(w, dst, src, of[s], d) }
}

// table holds the parameters of make_imagenet_c.py, in the order of the paper.
var table = []Corruption{
	{Name: "gaussian_noise", Group: "noise", Random: true, Help: "noise as of low light",
		apply: randomBy([5]float64{.08, .12, .18, .26, .38}, gaussianNoise)},
	{Name: "shot_noise", Group: "noise", Random: true, Help: "photons are counted",
		apply: randomBy([5]float64{60, 25, 12, 5, 3}, shotNoise)},
	{Name: "impulse_noise", Group: "noise", Random: true, Help: "values become black or white",
		apply: randomBy([5]float64{.03, .06, .09, .17, .27}, impulseNoise)},
	{Name: "defocus_blur", Group: "blur", Help: "out of focus",
		apply: by([5]lens{{3, .1}, {4, .5}, {6, .5}, {8, .5}, {10, .5}}, defocusBlur)},
	{Name: "glass_blur", Group: "blur", Random: true, Help: "behind frosted glass",
		apply: randomBy([5]glass{{.7, 1, 2}, {.9, 2, 1}, {1, 2, 3}, {1.1, 3, 2}, {1.5, 4, 2}}, glassBlur)},
	{Name: "motion_blur", Group: "blur", Random: true, Help: "the camera moves",
		apply: randomFlavoured([5]motion{{10, 3}, {15, 5}, {15, 8}, {15, 12}, {20, 15}}, motionBlur)},
	{Name: "zoom_blur", Group: "blur", Help: "the camera comes nearer",
		apply: flavoured([5]span{{1, 1.11, .01}, {1, 1.16, .01}, {1, 1.21, .02}, {1, 1.26, .02}, {1, 1.31, .03}}, zoomBlur)},
	{Name: "snow", Group: "weather", Random: true, Help: "it snows",
		apply: randomFlavoured([5]flakes{
			{.1, .3, 3, .5, motion{10, 4}, .8},
			{.2, .3, 2, .5, motion{12, 4}, .7},
			{.55, .3, 4, .9, motion{12, 8}, .7},
			{.55, .3, 4.5, .85, motion{12, 8}, .65},
			{.55, .3, 2.5, .85, motion{12, 12}, .55},
		}, snow)},
	{Name: "frost", Group: "weather", Random: true, Help: "ice on the window",
		apply: func(w *work, dst, src *Picture, s int, f Flavour, d Draws) {
			frost(w, dst, src, [5]rime{{1, .4}, {.8, .6}, {.7, .7}, {.65, .7}, {.6, .75}}[s], f, d, textures())
		}},
	{Name: "fog", Group: "weather", Random: true, Help: "fog in drifts",
		apply: randomBy([5]mist{{1.5, 2}, {2, 2}, {2.5, 1.7}, {2.5, 1.5}, {3, 1.4}}, fog)},
	{Name: "brightness", Group: "weather", Help: "too much light",
		apply: by([5]float64{.1, .2, .3, .4, .5}, brightness)},
	{Name: "contrast", Group: "digital", Help: "less contrast",
		apply: by([5]float64{.4, .3, .2, .1, .05}, contrast)},
	{Name: "elastic_transform", Group: "digital", Random: true, Help: "small parts are stretched",
		apply: func(w *work, dst, src *Picture, s int, f Flavour, d Draws) {
			elastic(w, dst, src, [5]stretch{
				{244 * 2, 244 * .7, 244 * .1, .05},
				{244 * 2, 244 * .08, 244 * .2, .065},
				{244 * .05, 244 * .01, 244 * .02, .085},
				{244 * .07, 244 * .01, 244 * .02, .1},
				{244 * .12, 244 * .01, 244 * .02, .12},
			}[s], f, d)
		}},
	{Name: "pixelate", Group: "digital", Help: "large pixels",
		apply: flavoured([5]float64{.6, .5, .4, .3, .25}, pixelate)},
	{Name: "jpeg_compression", Group: "digital", Help: "a small JPEG file",
		apply: by([5]int{25, 18, 15, 10, 7}, compress)},
	{Name: "speckle_noise", Group: "extra", Random: true, Help: "noise in proportion to the light",
		apply: randomBy([5]float64{.15, .2, .35, .45, .6}, speckleNoise)},
	{Name: "gaussian_blur", Group: "extra", Help: "smoothed",
		apply: by([5]float64{1, 2, 3, 4, 6}, gaussianBlur)},
	{Name: "spatter", Group: "extra", Random: true, Help: "water or mud on the lens",
		apply: randomBy([5]drops{
			{.65, .3, 4, .69, .6, false},
			{.65, .3, 3, .68, .6, false},
			{.65, .3, 2, .68, .5, false},
			{.65, .3, 1, .65, 1.5, true},
			{.67, .4, 1, .65, 1.5, true},
		}, spatter)},
	{Name: "saturate", Group: "extra", Help: "less colour, or more",
		apply: by([5][2]float64{{.3, 0}, {.1, 0}, {2, 0}, {5, .1}, {20, .2}}, saturate)},
}

// randomFlavoured is randomBy with a flavour.
func randomFlavoured[P any](of [Severities]P, f func(w *work, dst, src *Picture, p P, f Flavour, d Draws)) func(*work, *Picture, *Picture, int, Flavour, Draws) {
	return func(w *work, dst, src *Picture, s int, fl Flavour, d Draws) { f(w, dst, src, of[s], fl, d) }
}

// flavoured is by with a flavour.
func flavoured[P any](of [Severities]P, f func(w *work, dst, src *Picture, p P, f Flavour)) func(*work, *Picture, *Picture, int, Flavour, Draws) {
	return func(w *work, dst, src *Picture, s int, fl Flavour, _ Draws) { f(w, dst, src, of[s], fl) }
}

// Table returns the corruptions: the fifteen of the benchmark, then the four
// extra ones.
func Table() []Corruption { return slices.Clone(table) }

// Groups returns the names of the groups in their order.
func Groups() []string { return []string{"noise", "blur", "weather", "digital", "extra"} }

// Find returns the corruption of a name.
func Find(name string) (Corruption, error) {
	var names []string
	for _, c := range table {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return Corruption{}, fmt.Errorf("corrupt: corruption %q, %s", name, words.Among(name, names...))
}

var works = sync.Pool{New: func() any { return new(work) }}

// Apply writes a disturbed picture to dst, which becomes as large as src and
// must not be it. Severities are 1 to Severities. Of one that is not Random d
// may be nil.
func (c Corruption) Apply(dst, src *Picture, severity int, f Flavour, d Draws) error {
	if err := src.check(); err != nil {
		return err
	}
	if severity < 1 || severity > Severities {
		return fmt.Errorf("corrupt: severity %d of %s, want 1 to %d", severity, c.Name, Severities)
	}
	if f == "" {
		f = Package
	}
	if !slices.Contains(Flavours(), f) {
		return fmt.Errorf("corrupt: flavour %q, want %s or %s", f, Package, Original)
	}
	dst.Set(src.W, src.H)
	w := works.Get().(*work)
	defer works.Put(w)
	defer w.done()
	c.apply(w, dst, src, severity-1, f, d)
	return nil
}
