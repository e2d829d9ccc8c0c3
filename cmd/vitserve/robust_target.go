package main

import (
	"errors"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/robust"
)

// robustDialects are what a server at --url may speak, the default first.
var robustDialects = []string{"vitserve"}

// target opens what is asked: a model in this process, or a server. done closes
// it.
func (f *robustFlags) target(cmd *cobra.Command, look lib.Look, cells []robust.Cell) (t robust.Target, done func(), err error) {
	if f.remote.url != "" {
		return nil, nil, errors.New("--url is not there yet")
	}
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
