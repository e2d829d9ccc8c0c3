package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	lib "github.com/vitserve/vitserve"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
)

// checkSanity repeats a map of a photo with shuffled weights. Where there is no
// map it has nothing to say.
func checkSanity(ctx context.Context, m *lib.Model, p *lib.Prepared, of focus.Focus) (*focus.Sanity, error) {
	if of.Map == nil {
		return nil, nil
	}
	q := focus.Question{Method: of.Method.Name, Options: of.Options}
	if of.Target != nil && of.Method.OfClass() {
		q.Targets = []focus.Target{*of.Target}
	}
	return focus.CheckSanity(of.Map, m.Config().Depth, sanitySeed, func(from int, seed uint64) (_ *focus.Map, err error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		shuffled, err := m.Shuffled(from, seed)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, shuffled.Close()) }()
		x, err := shuffled.ExplainPrepared(ctx, p, q)
		if err != nil {
			return nil, err
		}
		return x.Maps[0].Map, x.Maps[0].Err
	})
}

// sanitySeed is of the orders that weights are shuffled to: the same check
// gives the same numbers.
const sanitySeed = 1

// describeSanity is the check of a map as a table, and what it means.
func describeSanity(of string, s *focus.Sanity) string {
	var out strings.Builder
	fmt.Fprintf(&out, "sanity of %s: likeness to the maps of shuffled weights, mean of %d\n", of, focus.SanityDraws)
	fmt.Fprintf(&out, "  %-24s %8s %10s %8s\n", "shuffled", "Spearman", "|Spearman|", "SSIM")
	for _, stage := range s.Stages {
		fmt.Fprintf(&out, "  %-24s %8.3f %10.3f %8.3f", stage.Shuffled, stage.Spearman, stage.Absolute, stage.SSIM)
		if stage.Without > 0 {
			fmt.Fprintf(&out, "  %d without a map", stage.Without)
		}
		out.WriteString("\n")
	}
	return out.String() + s.Verdict + "\n"
}

// saneAnswer is what --json writes with --sanity: the contract's answer and
// the check of each of its maps.
type saneAnswer struct {
	*v1.ExplainAnswer
	Sanity []*focus.Sanity `json:"sanity"`
}
