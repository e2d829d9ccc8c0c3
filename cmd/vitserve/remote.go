package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/vitserve/vitserve/api/client"
	"github.com/vitserve/vitserve/models"
	"golang.org/x/sync/errgroup"
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

// open returns a client of the server. Flags that mean nothing there, because
// the server decides, are refused; far are those that are sent.
func (f *remoteFlags) open(cmd *cobra.Command, far ...string) (*client.Client, error) {
	far = append(far, "url", "api-key", "model", "json", "no-exif", "preprocess", "help")
	for _, name := range changed(cmd) {
		if !slices.Contains(far, name) {
			return nil, usageError{fmt.Errorf("--%s with --url: it is the server's to decide", name)}
		}
	}
	key := f.key
	if key == "" {
		key = os.Getenv("VITSERVE_API_KEY")
	}
	c, err := client.New(f.url, client.Options{Key: key, Retries: retries})
	if err != nil {
		return nil, usageError{fmt.Errorf("--url: %w", err)}
	}
	return c, nil
}

// params are the parameters of a request: those of every command, and flags
// that were given under the names of the contract.
func (f *remoteFlags) params(cmd *cobra.Command, names map[string]string) client.Params {
	p := client.Params{}
	for flag, name := range names {
		if cmd.Flags().Changed(flag) {
			p[name] = strings.Trim(cmd.Flag(flag).Value.String(), "[]") // a list is [1,2]
		}
	}
	for _, name := range []string{"model", "preprocess"} {
		if cmd.Flags().Changed(name) {
			p[name] = cmd.Flag(name).Value.String()
		}
	}
	if cmd.Flags().Changed("no-exif") {
		p["exif"] = "off"
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

// runRemote is run over a server: as many requests at a time as --batch, so
// that it may batch them, and answers in the order of the pictures.
func (f *classifyFlags) runRemote(cmd *cobra.Command, sources []source) error {
	c, err := f.remoteFlags.open(cmd, "top", "min-score", "batch")
	if err != nil {
		return err
	}
	params := f.params(cmd, nil)
	params["top_k"], params["min_score"] = strconv.Itoa(f.top), strconv.FormatFloat(f.minScore, 'g', -1, 64)
	out := bufio.NewWriter(cmd.OutOrStdout())
	show := f.showTable
	if f.json {
		show = showJSON
	}
	col := collector{stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), total: len(sources), what: "classify"}
	col.start()
	g, ctx := errgroup.WithContext(cmd.Context())
	order := make(chan chan answer, f.batch) // of which each gets one answer
	g.Go(func() error {
		defer close(order)
		for _, s := range sources {
			one := make(chan answer, 1)
			select {
			case order <- one:
			case <-ctx.Done():
				return ctx.Err()
			}
			g.Go(func() error {
				a, err := classifyRemote(ctx, c, params, s)
				one <- a
				return err
			})
		}
		return nil
	})
	g.Go(func() error {
		for one := range order {
			a := <-one
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r := result{name: a.Image}
			if a.Error != "" {
				r.err = errors.New(a.Error)
			}
			col.done(r)
			if err := errors.Join(show(out, a), out.Flush()); err != nil {
				return err
			}
		}
		return nil
	})
	return col.end(g.Wait())
}

// classifyRemote asks about one picture. What is wrong with the picture is in
// the answer; the error is of everything else.
func classifyRemote(ctx context.Context, c *client.Client, p client.Params, s source) (answer, error) {
	a := answer{Image: s.name}
	data, err := s.read(ctx)
	if err != nil {
		a.Error = err.Error()
		return a, ctx.Err()
	}
	got, err := c.Classify(ctx, p, client.Picture{Name: filepath.Base(s.name), Data: data})
	if detail, ok := ofPicture(err); ok {
		a.Error = detail
		return a, nil
	}
	if err != nil {
		return a, err
	}
	if len(got.Results) != 1 || got.Results[0].Predictions == nil {
		return a, fmt.Errorf("%d results of one picture, or none with predictions", len(got.Results))
	}
	a.Predictions = []models.Prediction{}
	for _, v := range *got.Results[0].Predictions {
		a.Predictions = append(a.Predictions, models.Prediction{Index: v.Index, Label: v.Label, Score: v.Score})
	}
	return a, nil
}

// farExplain are the flags of explain that a server understands, and their
// names there.
var farExplain = map[string]string{
	"method": "method", "layer": "layer", "head": "head", "fusion": "fusion", "discard": "discard", "start": "start",
	"query": "query", "mass": "mass", "compat": "compat", "colors": "colors", "alpha": "alpha", "upsample": "upsample",
}

// runRemote is run over a server. --json writes the server's own answer.
func (f *explainFlags) runRemote(cmd *cobra.Command, s source) error {
	names := []string{"output"}
	for flag := range farExplain {
		names = append(names, flag)
	}
	c, err := f.remoteFlags.open(cmd, names...)
	if err != nil {
		return err
	}
	if f.output == "" && !f.json || isNpy(f.output) {
		return usageError{errors.New("--url wants --json, or --output with a name that ends in .png or .jpg")}
	}
	data, err := s.read(cmd.Context())
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	params, photo := f.params(cmd, farExplain), client.Picture{Name: filepath.Base(s.name), Data: data}
	if f.json {
		a, err := c.Explain(cmd.Context(), params, photo)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := writeJSON(cmd.OutOrStdout(), a); err != nil || f.output == "" {
			return err
		}
	}
	overlay, err := c.Overlay(cmd.Context(), params, photo)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	m, err := png.Decode(bytes.NewReader(overlay))
	if err != nil {
		return fmt.Errorf("the server's overlay: %w", err)
	}
	if err := writePicture(f.output, m); err != nil || f.json {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "overlay in %s\n", f.output)
	return err
}
