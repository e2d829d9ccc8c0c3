package cli

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/chart"
	"github.com/vitserve/vitserve/internal/words"
)

// explained is a picture explained by a method, here or by a server.
type explained struct {
	source string
	method string // that was asked for; "": the default
	shown  *shown
	x      *explanation // nil of a server's
}

// sink takes what was explained, one after the other.
type sink interface {
	add(e *explained) error
	close() error
}

// methods are those that --method names.
func (f *explainFlags) methods() []string { return strings.Split(f.question.Method, ",") }

// isFolder reports whether -o names a folder: one that is there, or a name that
// ends as only a folder's does.
func isFolder(path string) bool {
	if strings.HasSuffix(path, "/") || strings.HasSuffix(path, string(filepath.Separator)) {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isHTML(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".html" || ext == ".htm"
}

// drawsPicture reports whether -o is to hold pictures.
func (f *explainFlags) drawsPicture() bool { return f.output != "" && !isNpy(f.output) }

// runMany explains pictures by methods, each by each. What is wrong with one
// is told, and the others go on.
func (f *explainFlags) runMany(cmd *cobra.Command, sources []lib.Source, look lib.Look) (err error) {
	if isNpy(f.output) {
		return usageError{errors.New("values are of one picture and one method: want one image, or --output with a name that ends in .png, .jpg or .html, or a folder")}
	}
	to, err := f.sink(cmd.OutOrStdout(), len(sources))
	if err != nil {
		return err
	}
	col := collector{stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), total: len(sources), what: "explain"}
	if f.output == "" && !f.json {
		col.stdout = nil // the results are shown themselves
	}
	each, end, err := f.explainer(cmd, look)
	if err != nil {
		return errors.Join(err, to.close())
	}
	defer func() { err = errors.Join(err, end()) }()
	col.start()
	for _, s := range sources {
		var wrong error
		data, err := s.Read(cmd.Context()) // once, for all methods
		if err != nil {
			wrong = err
		}
		again := lib.Bytes(data)
		again.Name = s.Name
		for _, method := range f.methods() {
			if wrong != nil {
				break
			}
			var e *explained
			if e, wrong = each(again, method); wrong == nil {
				err = to.add(e)
			}
			var usage usageError
			switch {
			case cmd.Context().Err() != nil:
				return errors.Join(cmd.Context().Err(), to.close())
			case err != nil:
				return errors.Join(err, to.close())
			case errors.As(wrong, &usage):
				return errors.Join(wrong, to.close())
			}
		}
		col.done(s.Name, wrong)
	}
	return col.end(to.close())
}

// explainer opens the model, or the server, and returns what explains a picture
// by a method.
func (f *explainFlags) explainer(cmd *cobra.Command, look lib.Look) (each func(s lib.Source, method string) (*explained, error), end func() error, err error) {
	if f.url != "" {
		return f.farExplainer(cmd)
	}
	m, err := f.modelFlags.open(cmd.Context(), cmd.ErrOrStderr(), look)
	if err != nil {
		return nil, nil, err
	}
	return func(s lib.Source, method string) (*explained, error) {
		asked := *f
		asked.question.Method = method
		q, err := asked.ask(m)
		if err != nil {
			return nil, usageError{err}
		}
		x, err := asked.explain(cmd.Context(), m, s, look, q)
		if err != nil {
			return nil, err
		}
		shown, err := asked.present(m, s.Name, q, x)
		if err != nil {
			return nil, err
		}
		return &explained{source: s.Name, method: method, shown: shown, x: x}, nil
	}, m.Close, nil
}

// sink is where the flags have explanations go.
func (f *explainFlags) sink(stdout io.Writer, sources int) (sink, error) {
	out := bufio.NewWriter(stdout)
	switch {
	case f.output == "":
		return &lineSink{f: f, out: out}, nil
	case f.output == "-":
		return &figureSink{f: f, sources: sources, write: func(m image.Image) error { return png.Encode(stdout, m) }}, nil
	case isHTML(f.output):
		return newHTMLSink(f, sources, out)
	case isFolder(f.output):
		return newFolderSink(f, out)
	}
	return &figureSink{f: f, sources: sources, lines: &lineSink{f: f, out: out}, write: func(m image.Image) error {
		err := createFile(f.output, func(w io.Writer) error { return encodePicture(w, f.output, m, f.quality) })
		if err == nil && !f.json {
			_, err = fmt.Fprintf(stdout, "%s in %s\n", f.picture, f.output)
		}
		return err
	}}, nil
}

// lineSink writes what is said of each: words, or JSON.
type lineSink struct {
	f   *explainFlags
	out *bufio.Writer
}

func (s *lineSink) add(e *explained) error {
	if s.f.json {
		return errors.Join(s.f.writeAnswer(s.out, e.shown), s.out.Flush())
	}
	_, err := s.out.WriteString(e.shown.words())
	return errors.Join(err, s.out.Flush())
}

func (s *lineSink) close() error { return s.out.Flush() }

// figureSink gathers panels for one figure.
type figureSink struct {
	f       *explainFlags
	sources int
	lines   *lineSink // nil: nothing is said
	panels  []focus.Panel
	rows    []int // panels of each picture
	last    string
	write   func(m image.Image) error
}

func (s *figureSink) add(e *explained) error {
	again := len(s.rows) > 0 && e.source == s.last
	more, err := s.f.panels(e, s.sources > 1, !again)
	if err != nil {
		return err
	}
	s.panels, s.last = append(s.panels, more...), e.source
	if !again {
		s.rows = append(s.rows, 0)
	}
	s.rows[len(s.rows)-1] += len(more)
	if s.lines != nil {
		return s.lines.add(e)
	}
	return nil
}

func (s *figureSink) close() error {
	if len(s.panels) == 0 {
		return nil // every picture has failed, and that is told
	}
	m, err := focus.Figure("", s.panels, columnsOf(s.rows))
	if err != nil {
		return err
	}
	return s.write(m)
}

// mostColumns are side by side.
const mostColumns = 6

// columnsOf returns the columns of a figure with so many panels of each
// picture: those of one lie in a row, if they are as many for each.
func columnsOf(rows []int) int {
	n := 0
	for _, row := range rows {
		n += row
	}
	alike := !slices.ContainsFunc(rows, func(row int) bool { return row != rows[0] })
	if alike && rows[0] > 1 && rows[0] <= mostColumns {
		return rows[0]
	}
	return min(int(math.Ceil(math.Sqrt(float64(n)))), mostColumns)
}

// panels are what is drawn of a picture: the photo, if it is asked for and these
// are the picture's first, each
// map, the curves of its evidence, and the maps of shuffled weights.
func (f *explainFlags) panels(e *explained, named, first bool) (all []focus.Panel, err error) {
	if e.x == nil {
		m, err := e.shown.picture()
		if err != nil {
			return nil, err
		}
		return []focus.Panel{{Image: m, Caption: []string{filepath.Base(e.source)}}}, nil
	}
	if f.photo && first {
		all = append(all, focus.Panel{Image: e.x.Photo.Image, Caption: []string{filepath.Base(e.source)}})
	}
	checks := e.x.sanity
	for i := range e.x.Maps {
		of := &e.x.Maps[i]
		if of.Map == nil || of.Err != nil {
			continue // words say why
		}
		p, err := e.x.Panel(i, f.style)
		if err != nil {
			return nil, err
		}
		if kind := focus.Picture(f.picture); kind == focus.HeatPicture || kind == focus.SheetPicture {
			if p.Image, err = e.x.Draw(kind, i, f.style); err != nil {
				return nil, err
			}
		}
		if named && !f.photo {
			p.Caption = append(p.Caption, filepath.Base(e.source))
		}
		all = append(all, p)
		if of.Evidence != nil {
			all = append(all, focus.Panel{Image: of.Evidence.Curves(), Caption: []string{"evidence of " + of.Method.Name}})
		}
		if len(checks) > 0 {
			more, err := f.sanityPanels(e.x, of, checks[0])
			if err != nil {
				return nil, err
			}
			all, checks = append(all, more...), checks[1:]
		}
	}
	return all, nil
}

// sanityPanels are the maps of shuffled weights, in the order in which more is
// shuffled.
func (f *explainFlags) sanityPanels(x *explanation, of *focus.Focus, check *focus.Sanity) (all []focus.Panel, err error) {
	for _, stage := range check.Stages {
		caption := []string{"shuffled: " + stage.Shuffled, fmt.Sprintf("rank correlation %.3f", stage.Spearman)}
		if stage.Map == nil {
			all = append(all, focus.Panel{Image: x.Photo.Image, Caption: []string{caption[0], "no map is left"}})
			continue
		}
		m, err := focus.Overlay(x.Photo, x.Geometry, stage.Map, f.style)
		if err != nil {
			return nil, err
		}
		all = append(all, focus.Panel{Image: m, Caption: caption, Scale: focus.ScaleOf(stage.Map, f.style)})
	}
	return all, nil
}

// folderSink writes a figure for each picture into a folder. Two pictures of
// one name have files of two.
type folderSink struct {
	f     *explainFlags
	out   *bufio.Writer
	used  map[string]bool
	begun string // the picture whose panels these are
	lines strings.Builder
	panel []focus.Panel
}

func newFolderSink(f *explainFlags, out *bufio.Writer) (*folderSink, error) {
	if err := os.MkdirAll(f.output, 0o755); err != nil {
		return nil, fmt.Errorf("--output %s, want a folder that can be written: %w", f.output, err)
	}
	return &folderSink{f: f, out: out, used: map[string]bool{}}, nil
}

func (s *folderSink) add(e *explained) error {
	if e.source != s.begun {
		if err := s.flush(); err != nil {
			return err
		}
		s.begun = e.source
	}
	more, err := s.f.panels(e, false, len(s.panel) == 0)
	s.panel = append(s.panel, more...)
	if s.f.json {
		return errors.Join(err, s.f.writeAnswer(s.out, e.shown), s.out.Flush())
	}
	s.lines.WriteString(e.shown.words())
	return err
}

// flush writes the figure of the picture that was begun.
func (s *folderSink) flush() error {
	if s.begun == "" || len(s.panel) == 0 {
		return nil
	}
	m, err := focus.Figure("", s.panel, columnsOf([]int{len(s.panel)}))
	if err != nil {
		return err
	}
	path := filepath.Join(s.f.output, s.name(s.begun))
	if err := createFile(path, func(w io.Writer) error { return png.Encode(w, m) }); err != nil {
		return err
	}
	if !s.f.json {
		s.out.WriteString(s.lines.String())
		fmt.Fprintf(s.out, "%s in %s\n", s.f.picture, printable(path))
	}
	s.begun, s.panel = "", nil
	s.lines.Reset()
	return s.out.Flush()
}

// name is that of a picture's file, which no other of this run has.
func (s *folderSink) name(source string) string {
	stem := strings.TrimSuffix(filepath.Base(source), filepath.Ext(source))
	if source == "-" {
		stem = "stdin"
	}
	for n := 1; ; n++ {
		name := stem + ".png"
		if n > 1 {
			name = fmt.Sprintf("%s-%d.png", stem, n)
		}
		if key := strings.ToLower(name); !s.used[key] { // some systems tell no large letters
			s.used[key] = true
			return name
		}
	}
}

func (s *folderSink) close() error { return errors.Join(s.flush(), s.out.Flush()) }

// htmlSink writes a report that opens offline.
type htmlSink struct {
	f     *explainFlags
	out   *bufio.Writer
	file  *wholeFile
	to    *bufio.Writer
	page  *chart.Page
	begun string
	rows  [][]string // of the table at the end
}

func newHTMLSink(f *explainFlags, sources int, out *bufio.Writer) (*htmlSink, error) {
	file, err := createWhole(f.output)
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	s := &htmlSink{f: f, out: out, file: file, to: bufio.NewWriter(file)}
	s.page = chart.NewPage(s.to, "Where the model looked")
	return s, nil
}

func (s *htmlSink) add(e *explained) error {
	if e.source != s.begun {
		s.page.Heading(2, e.source)
		s.begun = e.source
		if e.x != nil {
			size := e.x.Photo.Image.Bounds().Size()
			s.page.Picture(shrunk(e.x.Photo.Image), fmt.Sprintf("The photo, %d×%d pixels.", size.X, size.Y))
		}
	}
	if e.x == nil {
		m, err := e.shown.picture()
		if err != nil {
			return err
		}
		s.page.Picture(m, e.shown.words())
		return nil
	}
	checks := e.x.sanity
	for i := range e.x.Maps {
		of := &e.x.Maps[i]
		if of.Map == nil || of.Err != nil {
			s.page.Text(fmt.Sprintf("No map by %s: %v.", of.Method.Name, words.Plain(of.Err)))
			continue
		}
		p, err := e.x.Panel(i, s.f.style)
		if err != nil {
			return err
		}
		figure, err := focus.Figure("", []focus.Panel{{Image: p.Image, Scale: p.Scale}}, 1)
		if err != nil {
			return err
		}
		s.page.Picture(figure, strings.Join(p.Caption, "; ")+".")
		row := []string{filepath.Base(e.source), e.x.Caption(of), of.Method.Name, "", "", ""}
		if v := of.Evidence; v != nil {
			s.page.Lines(curves(v))
			row[3], row[4], row[5] = fmt.Sprintf("%.3f", v.Insertion), fmt.Sprintf("%.3f", v.Deletion), fmt.Sprintf("%.3f", v.Score())
		}
		s.rows = append(s.rows, row)
		if len(checks) > 0 {
			if err := s.sanity(e.x, of, checks[0]); err != nil {
				return err
			}
			checks = checks[1:]
		}
	}
	return nil
}

// sanity adds a check with its maps and its numbers.
func (s *htmlSink) sanity(x *explanation, of *focus.Focus, check *focus.Sanity) error {
	panels, err := s.f.sanityPanels(x, of, check)
	if err != nil {
		return err
	}
	figure, err := focus.Figure("", panels, len(panels))
	if err != nil {
		return err
	}
	s.page.Picture(figure, "The map of "+of.Method.Name+" with weights that know nothing: "+check.Verdict+".")
	bars := chart.Bars{Title: "Likeness to the maps of shuffled weights", Y: "rank correlation", YRange: [2]float64{-1, 1}}
	for _, stage := range check.Stages {
		bars.Labels, bars.Values = append(bars.Labels, stage.Shuffled), append(bars.Values, stage.Spearman)
	}
	s.page.Bars(bars)
	return nil
}

// curves are those of evidence as a chart.
func curves(e *focus.Evidence) chart.Lines {
	share := make([]float64, len(e.DeletionCurve))
	for i := range share {
		share[i] = 100 * float64(i) / float64(len(share)-1)
	}
	return chart.Lines{
		Title: "Evidence", X: "share of the picture that is taken away, or given, %", Y: "probability of the class", YRange: [2]float64{0, 1}, XRange: [2]float64{0, 100},
		Lines: []chart.Line{
			{Name: fmt.Sprintf("insertion %.3f", e.Insertion), X: share, Y: e.InsertionCurve},
			{Name: fmt.Sprintf("deletion %.3f", e.Deletion), X: share, Y: e.DeletionCurve},
		},
	}
}

func (s *htmlSink) close() error {
	if len(s.rows) > 1 {
		s.page.Heading(2, "All maps")
		s.page.Table([]string{"picture", "class", "method", "insertion", "deletion", "insertion − deletion"}, s.rows)
	}
	if err := s.file.end(errors.Join(s.page.Close(), s.to.Flush())); err != nil {
		return fmt.Errorf("write %s: %w", s.f.output, err)
	}
	fmt.Fprintf(s.out, "report in %s\n", s.f.output)
	return s.out.Flush()
}
