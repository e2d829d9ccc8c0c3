package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust"
	"github.com/vitserve/vitserve/robust/attack"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/report"
)

type robustFlags struct {
	modelFlags
	photoFlags
	remote  remoteFlags
	dialect string
	mapping string

	suites     []string
	severities []int
	seed       uint64
	mode       string
	flavour    string
	drift      string
	batch      int

	truth    string
	subset   string
	real     string
	outliers string
	released bool
	clean    string
	limit    int

	out     []string
	fresh   bool
	gallery int
	failIf  []string
	against string
	flips   string

	attacks attackFlags
	fit     string
}

func newRobust() *cobra.Command {
	var f robustFlags
	cmd := &cobra.Command{
		Use:   "robust FOLDER…",
		Short: "Measure what a photo must suffer before a model is wrong",
		Long: `Disturb photos in many ways and measure how a model's answers change: top-1 and
top-5, calibration, consistency with the answer to the clean photo and, with
--drift, how far the focus map moves. Photos are what eval takes: folders with a
folder for each class, CSV tables, lists, tar shards. Photos without a class still
count for consistency, KL and drift.

Suites: ` + suiteHelp() + `
or a single corruption by its name.

Mode crop disturbs the model's input, as the papers do; mode photo disturbs the
whole photo, which any server can be asked about. Rows are kept in a journal beside
the first --out (its name with .rows): a run that was stopped goes on there, and the
reports are the same bytes. docs/robustness.md says what each number means.`,
		Example: `  vitserve robust val/ --out report.json --out report.html
  vitserve robust --model ./deit_tiny_patch16_224 --truth labels.csv photos/ --suite imagenet-c,san --severity 1,3,5 --out report.html
  vitserve robust photos/ --suite patch-drop-salient --drift rollout --out drift.html
  vitserve robust --released ImageNet-C/ --model ./m --out released.json --fail-if "mce>56"
  vitserve robust val/ --suite fgsm,pgd,apgd-ce --epsilon 0.5/255,1/255 --out attacks.html
  vitserve robust val/ --url http://localhost:8080 --suite square --limit 50 --out server.json`,
		Args: atLeast(1, "folder"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.photoFlags.register(cmd)
	f.remote.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.dialect, "dialect", robustDialects[0], "what the server at --url speaks: "+strings.Join(robustDialects, ", "))
	flags.StringVar(&f.mapping, "mapping", "", "JSON file that says how to ask the server at --url; for --dialect json")
	flags.StringSliceVar(&f.suites, "suite", []string{"imagenet-c"}, "suites or corruptions, by commas")
	flags.IntSliceVar(&f.severities, "severity", nil, "severities of corruptions, by commas; default 1,2,3,4,5")
	flags.Uint64Var(&f.seed, "seed", 0, "of the random numbers, which also depend on the photo's file, the corruption and the severity")
	flags.StringVar(&f.mode, "mode", string(robust.CropMode), "what is disturbed: crop (the model's input) or photo (the whole photo)")
	flags.StringVar(&f.flavour, "flavour", string(corrupt.Package), "whose formulas: imagecorruptions, or original, those of ImageNet-C's own programs")
	flags.StringVar(&f.drift, "drift", "", "compare focus maps of this method with the clean photo's: "+strings.Join(focus.Names(), ", "))
	flags.IntVar(&f.batch, "batch", 8, "pictures that go through the model together, or are asked about at a time")
	flags.StringVar(&f.truth, "truth", "", "CSV file with the columns file and label")
	flags.StringVar(&f.subset, "class-subset", "auto", "classes that answers are restricted to: all, a folder with a folder for each of them, or auto (of folders n01440764 the classes that are there)")
	flags.StringVar(&f.real, "real", "", "real.json of ReaL, for photos of ImageNet's validation set")
	flags.StringVar(&f.outliers, "outliers", "", "folder of photos of other things, which the scores are to tell from the data")
	flags.BoolVar(&f.released, "released", false, "the folders hold corrupted files as ImageNet-C has them, NAME/SEVERITY/CLASS/FILE: only their middle is cropped")
	flags.StringVar(&f.clean, "clean", "", "with --released: folder with the clean files, CLASS/FILE")
	flags.IntVar(&f.limit, "limit", 0, "measure the first photos only; 0: all")
	flags.StringArrayVarP(&f.out, "out", "o", nil, "file to write the report to: "+strings.Join(report.Formats(), ", ")+"; may be given several times")
	flags.BoolVar(&f.fresh, "fresh", false, "begin anew where there is a journal")
	flags.IntVar(&f.gallery, "gallery", 3, "photos that the page of HTML shows before and after")
	flags.StringArrayVar(&f.failIf, "fail-if", nil, `exit with code 1 if so: "mce>56", "top1@fog/3<50", "ece>0.1"; may be given several times`)
	flags.StringVar(&f.against, "against", "", "journal (.rows) of another run of the same suites over the same photos, to compare with")
	flags.StringVar(&f.fit, "fit-temperature", "", "fit the temperature that the model's scores are right at, and write the file that serve reads; without =FILE beside the model, "+models.TemperatureFile)
	flags.Lookup("fit-temperature").NoOptDefVal = fitBeside
	f.attacks.register(cmd)
	flags.StringVar(&f.flips, "flip-reference", "", "JSON report of another model, whose flip rates and top-5 distances of sequences these are divided by")
	return cmd
}

func suiteHelp() string {
	var s strings.Builder
	for _, suite := range robust.Suites() {
		fmt.Fprintf(&s, "\n  %-22s %s", suite.Name, suite.Help)
	}
	s.WriteString("\nAttacks, which look for the change that fools the model:")
	for _, a := range attack.Table() {
		fmt.Fprintf(&s, "\n  %-22s %s", a.Name, a.Help)
	}
	return s.String()
}

// check says what of the flags is impossible.
func (f *robustFlags) check() error {
	switch {
	case !slices.Contains(robust.Modes(), robust.Mode(f.mode)):
		return fmt.Errorf("--mode %s, %s", f.mode, words.Among(f.mode, string(robust.CropMode), string(robust.PhotoMode)))
	case !slices.Contains(corrupt.Flavours(), corrupt.Flavour(f.flavour)):
		return fmt.Errorf("--flavour %s, %s", f.flavour, words.Among(f.flavour, string(corrupt.Package), string(corrupt.Original)))
	case f.batch < 1 || f.batch > 1024:
		return fmt.Errorf("--batch %d, want 1 to 1024", f.batch)
	case f.limit < 0:
		return fmt.Errorf("--limit %d, want 0 or more", f.limit)
	case f.gallery < 0 || f.gallery > 100:
		return fmt.Errorf("--gallery %d, want 0 to 100", f.gallery)
	case f.drift != "" && !slices.Contains(focus.Names(), f.drift):
		return fmt.Errorf("--drift %s, %s", f.drift, words.Among(f.drift, focus.Names()...))
	case len(f.out) == 0:
		return errors.New("no --out given: want a file for the report, and its journal beside it")
	case f.released && (f.mode != string(robust.CropMode) || f.truth != ""):
		return errors.New("--released goes with --mode crop and without --truth: classes are the folders")
	case f.clean != "" && !f.released:
		return errors.New("--clean without --released, want both")
	}
	if _, err := os.Stat(f.outliers); f.outliers != "" && err != nil {
		return fmt.Errorf("--outliers: %w", err)
	}
	if _, err := os.Stat(f.flips); f.flips != "" && err != nil {
		return fmt.Errorf("--flip-reference: %w", err)
	}
	for _, name := range f.out {
		if !slices.Contains(report.Formats(), filepath.Ext(name)) {
			return fmt.Errorf("--out %s, want a name that ends in one of %s", name, strings.Join(report.Formats(), ", "))
		}
	}
	return nil
}

func (f *robustFlags) run(cmd *cobra.Command, args []string) error {
	look, err := f.look()
	if err != nil {
		return err
	}
	if err := errors.Join(f.checkTarget(cmd), f.check()); err != nil {
		return usageError{err}
	}
	attacks, err := f.attacks.options(cmd)
	if err != nil {
		return usageError{err}
	}
	cells, err := robust.Cells(f.suites, f.severities, corrupt.Flavour(f.flavour), attacks)
	if err != nil {
		return usageError{fmt.Errorf("--suite, --severity: %w", err)}
	}
	var limits []robust.Limit
	for _, text := range f.failIf {
		l, err := robust.ParseLimit(text)
		if err != nil {
			return usageError{fmt.Errorf("--fail-if: %w", err)}
		}
		limits = append(limits, l)
	}
	target, done, err := f.target(cmd, look, cells)
	if err != nil {
		return err
	}
	defer done()
	about := target.About()
	matcher := robust.NewMatcher(about.Labels, about.IDs)
	o := robust.Options{
		Mode: robust.Mode(f.mode), Cells: cells, Seed: f.seed, Flavour: corrupt.Flavour(f.flavour), Drift: f.drift != "", Method: f.method(cells),
		Decode: look.Options, Limit: f.limit, Released: f.released, Truth: matcher.Class, Journal: f.out[0] + ".rows",
	}
	if err := f.attacks.prepare(cmd, target, &o, cells); err != nil {
		return err
	}
	if look.Preprocess != "" && look.Preprocess != patch.PreprocessModel && about.Transform != nil {
		t, err := about.Transform.With(look.Preprocess)
		if err != nil {
			return err
		}
		*about.Transform = t
	}
	data := &robustData{f: f, args: args, cells: cells, stderr: cmd.ErrOrStderr()}
	if err := data.list(); err != nil {
		return err
	}
	if o.Classes, err = data.classes(matcher); err != nil {
		return err
	}
	if f.real != "" {
		if o.Real, err = robust.ReadReaL(f.real); err != nil {
			return err
		}
	}
	if f.fresh {
		if err := errors.Join(remove(o.Journal), remove(o.Journal+".outliers")); err != nil {
			return err
		}
	}
	temperature, err := f.temperaturePlace(target)
	if err != nil {
		return usageError{err}
	}
	return f.measure(cmd, target, data, o, limits, temperature)
}

// method is the method of the maps; "": none are made.
func (f *robustFlags) method(cells []robust.Cell) string {
	if f.drift != "" {
		return f.drift
	}
	if robust.NeedMaps(cells) || f.gallery > 0 && slices.ContainsFunc(f.out, func(name string) bool { return filepath.Ext(name) == ".html" }) {
		return focus.AttentionMethod
	}
	return ""
}

func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// measure runs, and writes the reports.
func (f *robustFlags) measure(cmd *cobra.Command, target robust.Target, data *robustData, o robust.Options, limits []robust.Limit, temperature string) error {
	ctx, stderr := cmd.Context(), cmd.ErrOrStderr()
	bar := newProgress(cmd.OutOrStdout(), stderr, data.total(&o)*robust.Pictures(o.Cells), "robust")
	seen := 0
	o.Progress = func(photos, pictures int) {
		for ; seen < photos*robust.Pictures(o.Cells) || seen < pictures; seen++ {
			bar.add()
		}
	}
	counts, err := robust.Run(ctx, target, data.photos(), o)
	bar.clear()
	if err != nil {
		return err
	}
	outliers := ""
	if f.outliers != "" {
		outliers = o.Journal + ".outliers"
		u := o
		u.Cells, u.Journal, u.Classes, u.Progress, u.Drift, u.Limit, u.Released = []robust.Cell{robust.Clean}, outliers, nil, nil, false, 0, false
		u.Only = o.Classes
		if _, err := robust.Run(ctx, target, folderPhotos(f.outliers), u); err != nil {
			return fmt.Errorf("--outliers: %w", err)
		}
	}
	r, err := robust.Summarise(o, target.About(), counts, outliers)
	if err != nil {
		return err
	}
	if f.against != "" {
		if r.Against, err = robust.Compare(f.against, o.Journal, o.Cells, o.Seed); err != nil {
			return err
		}
	}
	if f.flips != "" {
		if err := r.CompareFlips(f.flips); err != nil {
			return err
		}
	}
	if err := writeTemperature(temperature, r); err != nil {
		return err
	}
	for _, name := range f.out {
		if err := f.write(ctx, name, target, data, o, r); err != nil {
			return err
		}
	}
	if err := report.WriteSummary(cmd.OutOrStdout(), r); err != nil {
		return err
	}
	failed := false
	for _, l := range limits {
		exceeded, value, err := l.Exceeded(r)
		if err != nil {
			return err
		}
		if exceeded {
			failed = true
			fmt.Fprintf(stderr, "vitserve: --fail-if %s: it is %.4g\n", l, value)
		}
	}
	if counts.Photos == 0 {
		return errors.New("no photos of the classes that the run is restricted to")
	}
	if failed {
		return errReported
	}
	return nil
}

// write writes one report, whole or not at all.
func (f *robustFlags) write(ctx context.Context, name string, target robust.Target, data *robustData, o robust.Options, r *robust.Report) (err error) {
	if filepath.Ext(name) == ".html" && r.Gallery == nil && f.gallery > 0 {
		if r.Gallery, err = robust.Gallery(ctx, target, data.photos(), o, f.gallery, galleryCells); err != nil {
			return err
		}
	}
	if err := createFile(name, func(w io.Writer) error { return report.Write(w, filepath.Ext(name), r) }); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// galleryCells are shown of each photo.
const galleryCells = 6
