package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/robust"
	"github.com/vitserve/vitserve/robust/remote"
)

// robustDialects are what a server at --url may speak, the default first.
var robustDialects = []string{"vitserve", "huggingface", "oip", "json"}

// robustHere are flags of a model in this process, which mean nothing to a
// server.
var robustHere = []string{"labels", "image-size", "backend", "precision", "threads"}

// checkTarget says what of the flags about the target is impossible.
func (f *robustFlags) checkTarget(cmd *cobra.Command) error {
	if !slices.Contains(robustDialects, f.dialect) {
		return fmt.Errorf("--dialect %s, %s", f.dialect, words.Among(f.dialect, robustDialects...))
	}
	for _, name := range []string{"api-key", "dialect", "mapping"} {
		if f.remote.url == "" && cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s without --url: want both, or a model in this process", name)
		}
	}
	if f.remote.url == "" {
		return nil
	}
	for _, name := range robustHere {
		if cmd.Flags().Changed(name) && !(name == "labels" && f.dialect != robustDialects[0]) {
			return fmt.Errorf("--%s with --url: it is the server's to decide; want one of them", name)
		}
	}
	if f.dialect == "json" && f.mapping == "" {
		return errors.New("--dialect json: want --mapping, the file that says how the server is asked")
	}
	if f.mapping != "" && (f.dialect == robustDialects[0] || f.dialect == "huggingface") {
		return fmt.Errorf("--mapping with --dialect %s, which needs none; want json or oip", f.dialect)
	}
	return nil
}

// target opens what is asked: a model in this process, or a server. done closes
// it.
func (f *robustFlags) target(cmd *cobra.Command, look lib.Look, cells []robust.Cell) (t robust.Target, done func(), err error) {
	if f.remote.url == "" {
		m, err := f.modelFlags.open(cmd.Context(), cmd.ErrOrStderr(), look)
		if err != nil {
			return nil, nil, err
		}
		local, err := newModelTarget(m, look, f.batch, f.method(cells))
		if err != nil {
			return nil, nil, errors.Join(err, m.Close())
		}
		return local, func() { _ = errors.Join(local.close(), m.Close()) }, nil
	}
	nothing := func() {}
	if f.dialect == robustDialects[0] {
		c, err := f.remote.client()
		if err != nil {
			return nil, nil, err
		}
		t, err := newRestTarget(cmd.Context(), c, f.model, f.remote.params(cmd), f.batch, f.method(cells))
		return t, nothing, err
	}
	o := remote.Options{URL: f.remote.url, Key: f.remote.apiKey(), Model: f.model, IDs: models.SynsetsOf, Mapping: remote.HuggingFace(), Batch: f.batch, Kind: f.dialect}
	if f.mapping != "" || f.dialect == "oip" {
		o.Mapping = remote.Mapping{}
	}
	if f.mapping != "" {
		if o.Mapping, err = remote.ReadMapping(f.mapping); err != nil {
			return nil, nil, err
		}
	}
	if f.labels != "" {
		data, err := os.ReadFile(f.labels)
		if err != nil {
			return nil, nil, err
		}
		o.Labels = strings.Split(strings.TrimRight(strings.ReplaceAll(string(data), "\r", ""), "\n"), "\n")
	}
	if f.dialect == "oip" {
		t, err := remote.OpenPixels(cmd.Context(), o)
		return t, nothing, err
	}
	t, err = remote.Open(cmd.Context(), o)
	return t, nothing, err
}
