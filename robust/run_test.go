package robust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/attack"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/measure"
)

// eyes is a target that answers by the mean colours of patches: a model that is
// small and depends on every pixel.
type eyes struct {
	asked  int
	sizes  []int // of the batches
	stopAt int   // picture at which it fails; 0: none
	batch  int
}

var errStopped = errors.New("stopped")

const classes = 6

func (e *eyes) About() About {
	t := patch.Transform{Size: [2]int{48, 48}, Fit: patch.FitShort, Resize: [2]int{48, 48}, Interpolation: patch.Bicubic, Rounding: patch.RoundTorchvision, Std: [3]float32{1, 1, 1}}
	labels := make([]string, classes)
	for i := range labels {
		labels[i] = fmt.Sprint("class", i)
	}
	return About{Kind: "test", Model: "eyes", Labels: labels, Transform: &t, Grid: [2]int{4, 4}, Logits: true, Maps: true, Tokens: true, Gradients: true, Batch: max(e.batch, 1)}
}

func (e *eyes) Answer(ctx context.Context, in []Input) ([]Answer, error) {
	e.sizes = append(e.sizes, len(in))
	var out []Answer
	for _, x := range in {
		if e.asked++; e.asked == e.stopAt {
			return nil, errStopped
		}
		v := x.Exact
		if v == nil {
			v = &attack.Picture{W: x.Picture.W, H: x.Picture.H, X: planes(x.Picture)}
		}
		m := make([]float32, 16)
		logits := see(v, func(cell int, value float64) { m[cell] += float32(value) })
		a := Answer{Map: m}
		for _, z := range logits {
			a.Logits = append(a.Logits, float32(z))
		}
		if x.Keep != nil {
			a.Logits[0] += float32(len(x.Keep))
		}
		a.Scores = measure.Softmax(a.Logits, 1)
		out = append(out, a)
	}
	return out, nil
}

// see is a linear model: each cell and colour speaks for one class.
func see(v *attack.Picture, cells func(cell int, value float64)) (logits [classes]float64) {
	for i, value := range v.X {
		c, y, u := i/(v.W*v.H), i/v.W%v.H, i%v.W
		cell := y*4/v.H*4 + u*4/v.W
		logits[(cell*3+c)%classes] += 0.05 * value * math.Sin(float64(cell+7*c))
		cells(cell, value)
	}
	return logits
}

// Gradients implements Differentiable: one look at the class that each value
// speaks for.
func (e *eyes) Gradients(_ context.Context, in []attack.Picture, seed func(int, []float64) []float64) (z, g [][]float64, err error) {
	e.sizes = append(e.sizes, len(in))
	for i := range in {
		if e.asked++; e.asked == e.stopAt {
			return nil, nil, errStopped
		}
		v := &in[i]
		logits := see(v, func(int, float64) {})
		for k := range logits {
			logits[k] = float64(float32(logits[k])) // as Answer has them
		}
		d := seed(i, logits[:])
		var grad []float64
		for j := range v.X {
			c, y, u := j/(v.W*v.H), j/v.W%v.H, j%v.W
			cell := y*4/v.H*4 + u*4/v.W
			grad = append(grad, 0.05*math.Sin(float64(cell+7*c))*d[(cell*3+c)%classes])
		}
		z, g = append(z, slices.Clone(logits[:])), append(g, grad)
	}
	return z, g, nil
}

func photos(n int) iter.Seq[Photo] {
	return func(yield func(Photo) bool) {
		for i := range n {
			p := Photo{Name: fmt.Sprintf("class%d/%d.png", i%classes, i), Label: fmt.Sprint("class", i%classes)}
			p.Read = func(context.Context, Cell) ([]byte, error) {
				if i == 3 {
					return []byte("no picture"), nil
				}
				rng := rand.New(rand.NewPCG(uint64(i), 1))
				m := image.NewNRGBA(image.Rect(0, 0, 60+i, 52))
				a, b := rng.Float64(), rng.Float64()
				for j := range m.Pix {
					m.Pix[j] = uint8(127 + 120*math.Sin(a*float64(j%(4*(60+i)))/20+b*float64(j)/3000+float64(j%4)))
				}
				var out bytes.Buffer
				err := png.Encode(&out, m)
				return out.Bytes(), err
			}
			if i == 5 {
				p.Label = "nobody knows"
			}
			if !yield(p) {
				return
			}
		}
	}
}

func options(t *testing.T, journal string, suites ...string) Options {
	cells, err := Cells(suites, []int{2, 5}, corrupt.Package, AttackOptions{})
	require.NoError(t, err)
	a := (&eyes{}).About()
	return Options{Mode: CropMode, Cells: cells, Seed: 9, Flavour: corrupt.Package, Drift: true, Method: "test", Truth: NewMatcher(a.Labels, nil).Class, Journal: journal}
}

// summary is the report of a run as JSON, by hand to keep this package from its
// writers.
func summaryOf(t *testing.T, o Options, c Counts) string {
	r, err := Summarise(o, (&eyes{}).About(), c, "")
	require.NoError(t, err)
	var b strings.Builder
	for _, x := range r.Results {
		fmt.Fprintf(&b, "%s %d", x.Key(), x.Photos)
		for _, m := range measureNames {
			if v := resultMeasures[m](&x); v != nil {
				fmt.Fprintf(&b, " %s=%v", m, *v)
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%v %v %v %v", *r.MCE, *r.RelativeMCE, r.Errors, r.Data)
	if r.Temperature != nil {
		fmt.Fprint(&b, *r.Temperature)
	}
	return b.String()
}

var everything = []string{"imagenet-c", "imagenet-c-extra", "san", "patch-drop", "patch-drop-salient", "patch-drop-background", "patch-offset", "token-drop", "shuffle", "imagenet-p"}

// TestResume: a run that is stopped anywhere, even in the middle of a write, and
// goes on has the same rows and the same report, whatever its batches are.
func TestResume(t *testing.T) {
	const n = 7
	whole := filepath.Join(t.TempDir(), "whole")
	o := options(t, whole, "noise", "patch-drop-salient", "san")
	counts, err := Run(context.Background(), &eyes{batch: 8}, photos(n), o)
	require.NoError(t, err)
	require.Equal(t, Counts{Photos: n, Unlabeled: 1}, counts)
	want, err := os.ReadFile(whole)
	require.NoError(t, err)
	report := summaryOf(t, o, counts)
	require.Contains(t, report, "class3/3.png photo")
	all := Pictures(o.Cells) * (n - 1)
	for _, stop := range []int{1, 2, all / 3, all / 2, all - 1} {
		for _, cut := range []int64{0, 3, 200} { // bytes that the kill keeps from the disk
			o.Journal = filepath.Join(t.TempDir(), "killed")
			_, err := Run(context.Background(), &eyes{batch: 3, stopAt: stop}, photos(n), o)
			require.ErrorIs(t, err, errStopped)
			if info, err := os.Stat(o.Journal); err == nil && cut > 0 {
				require.NoError(t, os.Truncate(o.Journal, max(0, info.Size()-cut)))
			}
			again, err := Run(context.Background(), &eyes{batch: 5}, photos(n), o)
			require.NoError(t, err)
			require.Equal(t, counts, again)
			got, err := os.ReadFile(o.Journal)
			require.NoError(t, err)
			require.Equal(t, want, got, "stopped at %d, %d bytes lost", stop, cut)
			require.Equal(t, report, summaryOf(t, o, again))
		}
	}
	e := &eyes{batch: 5}
	_, err = Run(context.Background(), e, photos(n), o)
	require.NoError(t, err)
	require.Zero(t, e.asked, "nothing is left to ask about")
	o.Seed++
	_, err = Run(context.Background(), e, photos(n), o)
	require.ErrorContains(t, err, "another run")
}

// TestLimit: fewer photos are the first rows of more, and a run goes on from
// fewer to more.
func TestLimit(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "j"), "weather")
	o.Limit = 4
	_, err := Run(context.Background(), &eyes{batch: 2}, photos(7), o)
	require.NoError(t, err)
	o.Limit = 0
	_, err = Run(context.Background(), &eyes{batch: 2}, photos(7), o)
	require.NoError(t, err)
	got, err := os.ReadFile(o.Journal)
	require.NoError(t, err)
	o.Journal += "2"
	_, err = Run(context.Background(), &eyes{batch: 6}, photos(7), o)
	require.NoError(t, err)
	want, err := os.ReadFile(o.Journal)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestCells: every suite runs, cells are named once, and what they do is what
// they say.
func TestCells(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "j"), everything...)
	seen := map[string]bool{}
	for _, c := range o.Cells {
		require.False(t, seen[c.Key()], c.Key())
		seen[c.Key()] = true
	}
	counts, err := Run(context.Background(), &eyes{batch: 4}, photos(3), o)
	require.NoError(t, err)
	r, err := Summarise(o, (&eyes{}).About(), counts, "")
	require.NoError(t, err)
	require.Len(t, r.Results, len(o.Cells))
	require.Empty(t, r.Errors)
	for _, x := range r.Results {
		require.Zero(t, x.Failed, x.Key())
		require.True(t, x.Top1 != nil || x.FlipRate != nil, x.Key())
	}
	require.NotNil(t, r.MeanFlips)
	require.Equal(t, ceLikeName, r.MCEName)

	black := func(name string, level int) int { // pixels of a white picture
		white := corrupt.New(48, 48)
		for i := range white.Pix {
			white.Pix[i] = 255
		}
		s := &subject{picture: white, grid: [2]int{4, 4}, order: []int{5, 0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}
		for _, c := range o.Cells {
			if c.Name == name && c.Severity == level {
				var dst corrupt.Picture
				keep, err := c.how.frame(&dst, s, 0)
				require.NoError(t, err)
				if name == "token_drop" {
					return 48*48 - 144*len(keep)
				}
				n := 0
				for i := 0; i < len(dst.Pix); i += 3 {
					if dst.Pix[i] == 0 {
						n++
					}
				}
				if name == "patch_drop_salient" && level == 1 {
					require.Zero(t, dst.Pix[3*(13*48+13)], "the highest patch goes first")
				}
				return n
			}
		}
		t.Fatalf("no cell %s/%d", name, level)
		return 0
	}
	for level := 1; level <= 9; level++ {
		want := 144 * (level * 16 / 10)
		for _, name := range []string{"patch_drop", "patch_drop_salient", "patch_drop_background", "token_drop"} {
			require.Equal(t, want, black(name, level), "%s %d", name, level)
		}
		require.LessOrEqual(t, black("patch_offset", level), want)
	}
}

// TestTurned: four quarters are the picture itself, and two are it upside-down
// and mirrored.
func TestTurned(t *testing.T) {
	p := corrupt.New(3, 2)
	for i := range p.Pix {
		p.Pix[i] = uint8(i)
	}
	turn := func(d disturbance, p *corrupt.Picture) *corrupt.Picture {
		var dst corrupt.Picture
		_, err := d.frame(&dst, &subject{picture: p}, 0)
		require.NoError(t, err)
		return &dst
	}
	require.Equal(t, p, turn(rotation(2), turn(rotation(2), p)))
	require.Equal(t, p, turn(rotation(3), turn(rotation(1), p)))
	require.Equal(t, turn(rotation(2), p), turn(rotation(1), turn(rotation(1), p)))
	require.Equal(t, p, turn(upsideDown{}, turn(upsideDown{}, p)))
	// numpy.rot90 of [[0 1 2] [3 4 5]] is [[2 5] [1 4] [0 3]].
	q := turn(rotation(1), p)
	var got []int
	for i := 0; i < len(q.Pix); i += 3 {
		got = append(got, int(q.Pix[i])/3)
	}
	require.Equal(t, []int{2, 5, 1, 4, 0, 3}, got)
}

// TestRefused: what a target cannot do is said before the run.
func TestRefused(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "j"), "patch-drop")
	o.Mode = PhotoMode
	_, err := Run(context.Background(), &eyes{}, photos(1), o)
	require.ErrorContains(t, err, "mode crop")
	_, err = Cells([]string{"rain"}, nil, corrupt.Package, AttackOptions{})
	require.ErrorContains(t, err, "imagenet-c")
	_, err = Cells([]string{"fog"}, []int{6}, corrupt.Package, AttackOptions{})
	require.ErrorContains(t, err, "severity 6")
	_, err = ParseLimit("mce=3")
	require.Error(t, err)
	_, err = ParseLimit("nothing<3")
	require.Error(t, err)
	require.NoError(t, os.WriteFile(o.Journal, []byte("something else\n"), 0o600))
	o.Mode = CropMode
	_, err = Run(context.Background(), &eyes{}, photos(1), o)
	require.ErrorContains(t, err, "journal")
}

// TestPhotoMode: the whole photo is disturbed, at its own size.
func TestPhotoMode(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "j"), "blur", "san")
	o.Mode = PhotoMode
	counts, err := Run(context.Background(), &eyes{batch: 3}, photos(5), o)
	require.NoError(t, err)
	r, err := Summarise(o, (&eyes{}).About(), counts, "")
	require.NoError(t, err)
	require.Len(t, r.Errors, 1)
	require.Equal(t, "class3/3.png", r.Errors[0].Photo)
}

// TestLimits: what a run is held to.
func TestLimits(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "j"), "fog")
	counts, err := Run(context.Background(), &eyes{}, photos(6), o)
	require.NoError(t, err)
	r, err := Summarise(o, (&eyes{}).About(), counts, "")
	require.NoError(t, err)
	for text, want := range map[string]bool{
		"top1@fog/2 >= 0": true, "top1<0": false, "mce>0": r.MCE.Value > 0, "mce > 1000000": false, "failed>0": true, "error@fog>100": false, "drift_cosine@fog/5<=1": true,
	} {
		l, err := ParseLimit(text)
		require.NoError(t, err)
		got, _, err := l.Exceeded(r)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	l, err := ParseLimit("top1@snow/2<3")
	require.NoError(t, err)
	_, _, err = l.Exceeded(r)
	require.ErrorContains(t, err, "no such measure")
}

// TestMatcher: labels by id, name, part of a name, and index as ImageNet-V2 has
// them.
func TestMatcher(t *testing.T) {
	m := NewMatcher([]string{"tench, Tinca tinca", "crane", "crane", "9"}, []string{"n01440764", "n02012849", "n03126707", "n0"})
	for label, want := range map[string]int{"n03126707": 2, "Tinca Tinca": 0, "tench, tinca tinca": 0, "2": 2, "9": 3} {
		got, ok, err := m.Class(label)
		require.NoError(t, err)
		require.True(t, ok, label)
		require.Equal(t, want, got, label)
	}
	_, _, err := m.Class("crane")
	require.ErrorContains(t, err, "several")
	_, ok, err := m.Class("10")
	require.NoError(t, err)
	require.False(t, ok)
	classes, unknown, err := m.Subset([]string{"n03126707", "tench", "unknown", "tench"})
	require.NoError(t, err)
	require.Equal(t, []int{0, 2}, classes)
	require.Equal(t, 1, unknown)
}

// TestReaL: lists in the order of the validation set; empty ones are left out.
func TestReaL(t *testing.T) {
	name := filepath.Join(t.TempDir(), "real.json")
	require.NoError(t, os.WriteFile(name, []byte(`[[1], [], [2, 3]]`), 0o600))
	of, err := ReadReaL(name)
	require.NoError(t, err)
	got, ok := of("n01/ILSVRC2012_val_00000003.JPEG")
	require.True(t, ok)
	require.Equal(t, []int{2, 3}, got)
	for _, photo := range []string{"ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000004.JPEG", "other.jpg"} {
		_, ok = of(photo)
		require.False(t, ok, photo)
	}
}

// TestCompare: two runs, photo by photo.
func TestCompare(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "a"), "fog")
	_, err := Run(context.Background(), &eyes{}, photos(6), o)
	require.NoError(t, err)
	c, err := Compare(o.Journal, o.Journal, o.Cells, 1)
	require.NoError(t, err)
	require.Len(t, c, 3)
	require.Equal(t, Comparison{Cell: "clean", Photos: 5, P: 1}, c[0])
}

func FuzzJournal(f *testing.F) {
	var b bytes.Buffer
	b.WriteString(journalMagic + "run\n")
	f.Add(b.Bytes())
	file, err := os.CreateTemp(f.TempDir(), "j")
	require.NoError(f, err)
	j := &journal{file, 2}
	_, err = file.Write(b.Bytes())
	require.NoError(f, err)
	require.NoError(f, j.add(&Row{Name: "a", Records: []Record{unknown(), unknown()}, Logits: []float32{1, 2}}))
	data, err := os.ReadFile(file.Name())
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, err := eachRow(bytes.NewReader(data), 2, func(string) error { return nil }, func(r *Row) error {
			if len(r.Records) != 2 {
				t.Fatal("records")
			}
			return nil
		})
		if err == nil && whole > int64(len(data)) {
			t.Fatal("beyond the end")
		}
	})
}

// everyAttack is a cell of every attack, small enough for a test.
func everyAttack(t *testing.T, o Options) Options {
	var names []string
	for _, a := range attack.Table() {
		names = append(names, a.Name)
	}
	cells, err := Cells(append([]string{"fog"}, names...), []int{3}, corrupt.Package, AttackOptions{Epsilons: []float64{2. / 255, 20. / 255}, Steps: 6, Tokens: []int{3}})
	require.NoError(t, err)
	o.Cells = cells
	return o
}

// TestAttackRun: a run with attacks that is stopped anywhere and goes on has the
// same report, whatever its batches are; attacks by gradients are stronger than
// noise, none leaves its ball, and photos that are wrong already are not
// attacked.
func TestAttackRun(t *testing.T) {
	dir := t.TempDir()
	full := everyAttack(t, options(t, filepath.Join(dir, "full")))
	var pictures []string
	full.Adversary = func(photo string, c Cell, p *corrupt.Picture) error {
		pictures = append(pictures, c.Key()+" "+photo)
		return nil
	}
	total, seen := 0, 0
	full.Progress = func(photos, done int) { seen = done }
	e := &eyes{batch: 5}
	counts, err := Run(t.Context(), e, photos(12), full)
	require.NoError(t, err)
	total = 12 * Pictures(full.Cells)
	require.LessOrEqual(t, seen, total)
	require.Greater(t, seen, total*8/10, "but for the photo that is broken all is done")
	r, err := Summarise(full, e.About(), counts, "")
	require.NoError(t, err)
	want, err := json.Marshal(r)
	require.NoError(t, err)

	require.NotEmpty(t, pictures)
	require.Len(t, r.WorstCases, 2)
	top := map[string]float64{}
	for _, x := range r.Results {
		top[x.Key()] = x.Top1.Value
		if x.Success == nil {
			continue
		}
		require.Equal(t, int(math.Round(r.Results[0].Top1.Value/100*float64(r.Results[0].Photos)))+1, x.Attacked, "those that were right, and the one without a class")
		d := x.how.(adversary)
		if d.params.Norm == attack.Linf {
			require.LessOrEqual(t, x.Linf.Value, d.params.Epsilon+1e-9)
		} else {
			require.LessOrEqual(t, x.L2.Value, d.params.Epsilon+1e-9)
		}
	}
	for _, w := range r.WorstCases {
		require.Equal(t, []string{"apgd-ce", "apgd-t", "square"}, w.Attacks)
	}
	require.Less(t, top["apgd_ce/2"], top["clean"])
	require.LessOrEqual(t, r.WorstCases[1].Top1.Value, top["apgd_ce/2"])
	require.LessOrEqual(t, top["apgd_ce/2"], top["square/2"])

	stops := []int{1, 40, 200, e.asked / 2, e.asked - 1}
	for _, stop := range stops {
		o := everyAttack(t, options(t, filepath.Join(dir, fmt.Sprint(stop))))
		o.Method = full.Method
		_, err := Run(t.Context(), &eyes{stopAt: stop, batch: 1 + stop%7}, photos(12), o)
		require.ErrorIs(t, err, errStopped)
		counts, err := Run(t.Context(), &eyes{batch: 3}, photos(12), o)
		require.NoError(t, err)
		r, err := Summarise(o, (&eyes{batch: 3}).About(), counts, "")
		require.NoError(t, err)
		got, err := json.Marshal(r)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "stopped at %d", stop)
	}
}

// TestAttacksRefused: what cannot be attacked is said before anybody is asked.
func TestAttacksRefused(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "j"))
	cells, err := Cells([]string{"square"}, nil, corrupt.Package, AttackOptions{Epsilons: []float64{0.5 / 255}})
	require.NoError(t, err)
	o.Cells = cells
	_, err = Run(t.Context(), &eyes{}, photos(1), o)
	require.ErrorContains(t, err, "whole 255ths")
	cells, err = Cells([]string{"pgd"}, nil, corrupt.Package, AttackOptions{})
	require.NoError(t, err)
	o.Cells, o.Drift = cells, false
	_, err = Run(t.Context(), blind{&eyes{}}, photos(1), o)
	require.ErrorContains(t, err, "needs gradients")
	_, err = Cells([]string{"pgd"}, nil, corrupt.Package, AttackOptions{Epsilons: []float64{3}})
	require.ErrorContains(t, err, "up to 1")
}

// blind is a target that looks at a quarter of the picture, and cannot be
// derived.
type blind struct{ *eyes }

func (b blind) About() About {
	a := b.eyes.About()
	a.Gradients = false
	return a
}

func (b blind) Answer(ctx context.Context, in []Input) ([]Answer, error) {
	var seen []Input
	for _, x := range in {
		p := corrupt.New(x.Picture.W, x.Picture.H)
		for y := range p.H / 2 {
			copy(p.Pix[3*y*p.W:][:3*p.W/2], x.Picture.Pix[3*y*p.W:])
		}
		seen = append(seen, Input{Picture: p, Whole: x.Whole})
	}
	return b.eyes.Answer(ctx, seen)
}

// forgetful answers differently each time.
type forgetful struct{ *eyes }

func (f forgetful) Answer(ctx context.Context, in []Input) ([]Answer, error) {
	a, err := f.eyes.Answer(ctx, in)
	for i := range a {
		a[i].Logits[0] += float32(i)
	}
	return a, err
}

// TestSeesPixels: a server that crops, or answers as it likes, is found out.
func TestSeesPixels(t *testing.T) {
	note, err := SeesPixels(t.Context(), &eyes{}, CropMode)
	require.NoError(t, err)
	require.Contains(t, note, "16 of 16")
	_, err = SeesPixels(t.Context(), blind{&eyes{}}, CropMode)
	require.ErrorContains(t, err, "4 of 16 tiles")
	note, err = SeesPixels(t.Context(), blind{&eyes{}}, PhotoMode)
	require.NoError(t, err)
	require.Contains(t, note, "4 of 16")
	_, err = SeesPixels(t.Context(), forgetful{&eyes{}}, CropMode)
	require.ErrorContains(t, err, "in two ways")
}
