package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api/client"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
)

// runRemote is run over a server, which answers with logits.
func (f *evalFlags) runRemote(cmd *cobra.Command, sources []lib.Source, passed int) error {
	c, err := f.remoteFlags.open(cmd, "truth", "limit", "output", "batch")
	if err != nil {
		return err
	}
	ck, err := remoteClasses(cmd.Context(), c, f.model)
	if err != nil {
		return err
	}
	params := f.params(cmd)
	params.Set("model", ck.Name)
	params.Set("logits", "true")
	params.Set("top_k", "1")
	ask := func(ctx context.Context, photo client.Picture) ([]float32, error) {
		got, err := c.Classify(ctx, params, photo)
		if err != nil {
			return nil, err
		}
		if len(got.Results) != 1 || len(got.Results[0].Logits) != ck.Config.Classes {
			return nil, fmt.Errorf("%d results of one picture, or none with %d logits", len(got.Results), ck.Config.Classes)
		}
		return got.Results[0].Logits, nil
	}
	return f.measure(cmd, ck, sources, passed, func(known []lib.Source, each func(lib.Result)) error {
		i := 0 // answers come in the order of the pictures
		return askEach(cmd, "eval", known, f.batch, ask, func(_ string, logits []float32, wrong error) error {
			each(lib.Result{Source: known[i], Logits: logits, Err: wrong})
			i++
			return nil
		})
	})
}

// remoteClasses returns what a server says of the classes of one of its
// models.
func remoteClasses(ctx context.Context, c *client.Client, model string) (*models.Checkpoint, error) {
	m, err := loadedModel(ctx, c, model)
	if err != nil {
		return nil, err
	}
	if len(m.Labels) != m.Classes {
		return nil, fmt.Errorf("model %s of the server has %d classes and %d labels", m.ID, m.Classes, len(m.Labels))
	}
	return &models.Checkpoint{
		Name: m.ID, Config: vit.Config{Classes: m.Classes}, Labels: m.Labels, ClassIDs: m.ClassIDs, Scoring: vit.Scoring(m.Scores),
	}, nil
}

// loadedModel describes a model of a server, which is loaded if it was not; of
// no name the server's default.
func loadedModel(ctx context.Context, c *client.Client, id string) (*v1.Model, error) {
	if id == "" {
		all, err := c.Models(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range all {
			if m.Default {
				id = m.ID
			}
		}
	}
	m, err := c.Model(ctx, id)
	if err != nil || m.State == v1.Ready {
		return m, err
	}
	if _, err := c.Load(ctx, id); err != nil {
		return nil, err
	}
	return c.Model(ctx, id)
}
