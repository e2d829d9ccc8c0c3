package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/client"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
	"golang.org/x/sync/errgroup"
	"gorgonia.org/tensor"
)

// remoteFlags send pictures to a server in place of a model in this process.
type remoteFlags struct {
	url string
	key string
}

// retries is how often a server that is busy is asked again, after the time
// that it says.
const retries = 8

func (f *remoteFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "ask the vitserve server at this address, http://host:port; --model is then one of its own")
	flags.StringVar(&f.key, "api-key", "", "API key of that server (default $VITSERVE_API_KEY)")
}

// check refuses a key that no server is asked with.
func (f *remoteFlags) check() error {
	if f.key != "" && f.url == "" {
		return usageError{errors.New("--api-key without --url, want both")}
	}
	return nil
}

// open returns a client of the server. Flags that mean nothing there, because
// the server decides, are refused; far are those that are sent.
func (f *remoteFlags) open(cmd *cobra.Command, far ...string) (*client.Client, error) {
	far = append(far, "url", "api-key", "model", "json", "no-exif", "preprocess", "resize", "help")
	for _, name := range changed(cmd) {
		if !slices.Contains(far, name) {
			return nil, usageError{fmt.Errorf("--%s with --url: it is the server's to decide", name)}
		}
	}
	return f.client()
}

// client returns a client of the server.
func (f *remoteFlags) client() (*client.Client, error) {
	c, err := client.New(f.url, client.Options{Key: f.apiKey(), Retries: retries})
	if err != nil {
		return nil, usageError{fmt.Errorf("--url: %w", err)}
	}
	return c, nil
}

func (f *remoteFlags) apiKey() string {
	if f.key != "" {
		return f.key
	}
	return os.Getenv("VITSERVE_API_KEY")
}

// params are the parameters of a request: those of every command, and those
// flags that were given, which have the names of the contract.
func (f *remoteFlags) params(cmd *cobra.Command, flags ...string) client.Params {
	p := client.Params{}
	for _, name := range append(flags, "model", "preprocess", "resize") {
		flag := cmd.Flag(name)
		if flag == nil || !flag.Changed {
			continue
		}
		p[name] = []string{flag.Value.String()}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			p[name] = list.GetSlice()
		}
	}
	if cmd.Flags().Changed("no-exif") {
		p.Set("exif", "off")
	}
	return p
}

// changed lists the flags that were given.
func changed(cmd *cobra.Command) (names []string) {
	cmd.Flags().Visit(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// ofPicture reports whether the picture is why a server refused a request,
// and says it in the server's words.
func ofPicture(err error) (string, bool) {
	var e *client.Error
	if !errors.As(err, &e) {
		return "", false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return e.Detail, true
	}
	return "", false
}

// askEach asks a server about pictures: as many requests at a time as batch, so
// that it may batch them. show is given the answers in the order of the
// pictures, or what is wrong with a picture in place of its answer; any other
// error ends the run.
func askEach[A any](cmd *cobra.Command, what string, sources []lib.Source, batch int, ask func(context.Context, client.Picture) (A, error), show func(name string, a A, wrong error) error) error {
	type answered struct {
		name  string
		a     A
		wrong error
	}
	one := func(ctx context.Context, s lib.Source) (o answered, err error) {
		o.name = s.Name
		data, err := s.Read(ctx)
		if err != nil {
			o.wrong = err
			return o, ctx.Err()
		}
		o.a, err = ask(ctx, client.Picture{Name: filepath.Base(s.Name), Data: data})
		if detail, ok := ofPicture(err); ok {
			o.wrong, err = errors.New(detail), nil
		}
		return o, err
	}
	col := collector{stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), total: len(sources), what: what}
	col.start()
	g, ctx := errgroup.WithContext(cmd.Context())
	order := make(chan chan answered, batch) // of which each gets one answer
	g.Go(func() error {
		defer close(order)
		for _, s := range sources {
			to := make(chan answered, 1)
			select {
			case order <- to:
			case <-ctx.Done():
				return ctx.Err()
			}
			g.Go(func() error {
				o, err := one(ctx, s)
				to <- o
				return err
			})
		}
		return nil
	})
	g.Go(func() error {
		for to := range order {
			o := <-to
			if ctx.Err() != nil {
				return ctx.Err()
			}
			col.done(o.name, o.wrong)
			if err := show(o.name, o.a, o.wrong); err != nil {
				return err
			}
		}
		return nil
	})
	return col.end(g.Wait())
}

// runRemote is run over a server.
func (f *classifyFlags) runRemote(cmd *cobra.Command, sources []lib.Source) error {
	c, err := f.remoteFlags.open(cmd, "top", "min-score", "batch", "format", "output", "sort-into")
	if err != nil {
		return err
	}
	params := f.params(cmd)
	params.Set("top_k", strconv.Itoa(f.top))
	params.Set("min_score", strconv.FormatFloat(f.minScore, 'g', -1, 64))
	out, err := f.writer(cmd.OutOrStdout(), f.top)
	if err != nil {
		return err
	}
	ask := func(ctx context.Context, photo client.Picture) ([]models.Prediction, error) {
		got, err := c.Classify(ctx, params, photo)
		if err != nil {
			return nil, err
		}
		if len(got.Results) != 1 || got.Results[0].Predictions == nil {
			return nil, fmt.Errorf("%d results of one picture, or none with predictions", len(got.Results))
		}
		ps := []models.Prediction{}
		for _, v := range *got.Results[0].Predictions {
			ps = append(ps, models.Prediction{Index: v.Index, Label: v.Label, Score: v.Score})
		}
		return ps, nil
	}
	err = askEach(cmd, "classify", sources, f.batch, ask, func(name string, ps []models.Prediction, wrong error) error {
		a := answer{Image: name, Predictions: ps}
		if wrong != nil {
			a.Error = words.Plain(wrong)
		}
		unsorted, err := out.show(a)
		return errors.Join(unsorted, err)
	})
	return errors.Join(err, out.close())
}

// runRemote is run over a server.
func (f *embedFlags) runRemote(cmd *cobra.Command, sources []lib.Source) error {
	c, err := f.remoteFlags.open(cmd, "pool", "l2", "batch")
	if err != nil {
		return err
	}
	params := f.params(cmd, "pool", "l2")
	out := bufio.NewWriter(cmd.OutOrStdout())
	ask := func(ctx context.Context, photo client.Picture) (a embedAnswer, err error) {
		got, err := c.Embed(ctx, params, photo)
		if err != nil {
			return a, err
		}
		if len(got.Results) != 1 || (got.Results[0].Embedding == nil) == (got.Results[0].Grid == nil) {
			return a, fmt.Errorf("%d results of one picture, or none with vectors", len(got.Results))
		}
		return embedAnswer{Embedding: got.Results[0].Embedding, Grid: got.Results[0].Grid}, nil
	}
	return askEach(cmd, "embed", sources, f.batch, ask, func(name string, a embedAnswer, wrong error) error {
		a.Image = name
		if wrong != nil {
			a.Error = words.Plain(wrong)
		}
		return errors.Join(writeJSON(out, a), out.Flush())
	})
}

// runRemote is run over a server.
func (f *explainFlags) runRemote(cmd *cobra.Command, s lib.Source) error {
	each, _, err := f.farExplainer(cmd)
	if err != nil {
		return err
	}
	data, err := s.Read(cmd.Context())
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	again := lib.Bytes(data)
	again.Name = s.Name
	e, err := each(again, f.question.Method)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return f.show(cmd.OutOrStdout(), e.shown)
}

// farExplainer returns what has a server explain a picture by a method.
func (f *explainFlags) farExplainer(cmd *cobra.Command) (each func(lib.Source, string) (*explained, error), end func() error, err error) {
	if f.sanity {
		return nil, nil, usageError{errors.New("--sanity with --url: a server shuffles no weights")}
	}
	look, err := f.look()
	if err != nil {
		return nil, nil, err
	}
	names := api.ExplainParameters()
	c, err := f.remoteFlags.open(cmd, append(names, "output", "photo")...)
	if err != nil {
		return nil, nil, err
	}
	draws := canDraw(cmd.OutOrStdout())
	return func(s lib.Source, method string) (*explained, error) {
		data, err := s.Read(cmd.Context())
		if err != nil {
			return nil, err
		}
		p := f.params(cmd, names...)
		if p.Del("method"); method != "" {
			p.Set("method", method)
		}
		shown, err := f.far(cmd.Context(), c, p, client.Picture{Name: filepath.Base(s.Name), Data: data}, draws)
		if detail, ok := ofPicture(err); ok && f.drawsPicture() {
			err = errors.New(detail)
		}
		if err != nil {
			return nil, err
		}
		e := &explained{source: s.Name, method: method, shown: shown}
		if f.drawsHere() {
			e.x, err = drawn(cmd.Context(), data, look.Options, shown.answer)
		}
		return e, err
	}, func() error { return nil }, nil
}

// far has a server explain a picture: in one request, whose answer holds the
// picture that is to be written or, where draws, drawn.
func (f *explainFlags) far(ctx context.Context, c *client.Client, p client.Params, photo client.Picture, draws bool) (*shown, error) {
	s := &shown{}
	if f.values == focus.ValuesAttention {
		p.Del("picture")
		npy, err := c.ExplainAs(ctx, "npy", p, photo)
		s.file = writes(npy)
		return s, err
	}
	for _, name := range []string{"picture", "values", "quality"} {
		p.Del(name)
	}
	switch {
	case f.drawsHere():
	case f.output != "" && !isNpy(f.output):
		p.Set("picture", f.picture)
		if ext := strings.ToLower(filepath.Ext(f.output)); ext == ".jpg" || ext == ".jpeg" {
			p.Set("quality", strconv.Itoa(f.quality))
		}
	case f.output == "" && !f.json && draws, focus.Picture(f.picture) == focus.SheetPicture: // which is of another method
		p.Set("picture", f.picture)
	}
	var err error
	if s.answer, err = c.Explain(ctx, p, photo); err != nil {
		return nil, err
	}
	if len(s.answer.Results) != 1 || len(s.answer.Results[0].Maps) == 0 {
		return nil, fmt.Errorf("%d results of one picture, or none with maps", len(s.answer.Results))
	}
	r := &s.answer.Results[0]
	if !f.json {
		m, err := c.Model(ctx, s.answer.Model)
		if err != nil {
			return nil, err
		}
		s.depth, s.heads = m.Layers, m.Heads
	}
	sent := r.Maps[0].Picture.B64
	if focus.Picture(f.picture) == focus.SheetPicture {
		sent = r.Sheet.B64
	}
	r.Maps[0].Picture, r.Sheet = v1.Picture{}, v1.Picture{}
	s.picture = func() (image.Image, error) {
		m, _, err := image.Decode(bytes.NewReader(sent))
		return m, err
	}
	s.file = writes(sent)
	if isNpy(f.output) {
		s.file = func(w io.Writer) error { return focus.WriteMaps(w, mapsOf(r.Maps)...) }
	}
	return s, nil
}

// writes writes what is there.
func writes(data []byte) func(w io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// mapsOf are the maps of an answer.
func mapsOf(answered []v1.Map) []*focus.Map {
	var maps []*focus.Map
	for _, m := range answered {
		maps = append(maps, &focus.Map{Values: tensor.New(tensor.WithShape(m.Rows, m.Cols), tensor.WithBacking(slices.Concat(m.Values...)))})
	}
	return maps
}
