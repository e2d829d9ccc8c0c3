package oip

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/vit"
)

// ask is what the parameters of a request say.
type ask struct {
	options   op.Options
	question  focus.Question
	classes   []string
	versus    string
	embedding vit.Embedding
	abstain   op.Abstain

	given []row // that were read
}

// parameter is one of a request: its value is a scalar of JSON.
type parameter struct {
	name  string
	value json.RawMessage
}

// row is a parameter that requests may have.
type row struct {
	op.Parameter[ask]
	of []string // outputs that it changes; none: every one
}

// table holds all parameters: the protocol's own and those that /v1 has under
// the same names.
func table() (all []row) {
	all = append(all,
		row{Parameter: op.Parameter[ask]{Name: "priority", Kind: op.Number, Set: func(a *ask, v string) error {
			var level uint64
			err := op.Between(&level, v, 0, 1<<53)
			if a.options.Priority = batch.High; level > 1 { // 0 is the default, 1 the highest
				a.options.Priority = batch.Low
			}
			return err
		}}},
		row{Parameter: op.Parameter[ask]{Name: "timeout", Kind: op.Number, Set: func(a *ask, v string) error {
			var us uint64
			err := op.Between(&us, v, 0, time.Hour.Microseconds())
			a.options.Timeout = time.Duration(us) * time.Microsecond
			return err
		}}},
	)
	for _, p := range op.Common(func(a *ask) op.Asked { return op.Asked{Options: &a.options} }) {
		if p.Name != "model" {
			all = append(all, row{Parameter: p})
		}
	}
	embedding := []string{outEmbedding}
	all = append(all,
		row{op.Parameter[ask]{Name: "pool", Kind: op.Text, Set: func(a *ask, v string) error {
			a.embedding.Pool = v
			return op.OneOf(v, append(vit.Pools(), vit.PoolTokens)...)
		}}, embedding},
		row{op.Parameter[ask]{Name: "l2", Kind: op.Flag, Set: func(a *ask, v string) (err error) {
			a.embedding.L2, err = op.Boolean(v)
			return err
		}}, embedding},
	)
	for _, p := range op.Abstaining(func(a *ask) *op.Abstain { return &a.abstain }) {
		all = append(all, row{p, []string{outAbstained}})
	}
	maps := []string{outMap}
	all = append(all,
		row{op.Parameter[ask]{Name: "method", Kind: op.Text, Set: func(a *ask, v string) error { a.question.Method = v; return nil }}, maps},
		row{op.Parameter[ask]{Name: "class", Kind: op.Text, List: func(a *ask, vs []string) error { a.classes = vs; return nil }}, maps},
		row{op.Parameter[ask]{Name: "classes", Kind: op.Number, Set: func(a *ask, v string) error {
			return op.Between(&a.question.Best, v, 1, focus.MaxMaps)
		}}, maps},
		row{op.Parameter[ask]{Name: "versus", Kind: op.Text, Set: func(a *ask, v string) error { a.versus = v; return nil }}, maps},
	)
	for _, p := range op.OptionParameters(func(a *ask) *focus.Question { return &a.question }, "layer", "steps") {
		of := maps
		if p.Name == "layer" || p.Name == "head" {
			of = []string{outMap, outClassAttention, outAttention}
		}
		all = append(all, row{p, of})
	}
	return all
}

// passed are parameters that say nothing to a server without sequences, or to
// one that answers each request once.
func passed(name string) bool {
	switch name {
	case "sequence_id", "sequence_start", "sequence_end", "binary_data_output", "binary_data_size":
		return true
	}
	return strings.HasPrefix(name, "triton_")
}

// read reads the parameters of a request by the rows of the table.
func read(rows []row, ps []parameter) (*ask, error) {
	a := &ask{embedding: vit.Embedding{Pool: vit.PoolModel}}
	if len(ps) == 0 {
		return a, nil
	}
	r := op.Asking[ask]{Ask: a}
	for _, row := range rows {
		r.Table = append(r.Table, row.Parameter)
	}
	for _, p := range ps {
		if passed(p.name) {
			continue
		}
		i := slices.IndexFunc(rows, func(r row) bool { return r.Name == p.name })
		v := p.value
		if i >= 0 && rows[i].Kind == op.Text && len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9') {
			v = fmt.Appendf(nil, "%q", v) // a class by its index
		}
		if i >= 0 && rows[i].List != nil { // the protocol has no arrays
			v = fmt.Appendf(nil, "[%s]", v)
		}
		if err := r.Member(p.name, v); err != nil {
			return nil, err
		}
		a.given = append(a.given, rows[i])
	}
	return a, nil
}

// matter refuses parameters that change none of the outputs that are asked for.
func (a *ask) matter(outputs []string) error {
	for _, r := range a.given {
		if len(r.of) > 0 && !slices.ContainsFunc(outputs, func(o string) bool { return slices.Contains(r.of, o) }) {
			return value("parameter %s is of output %s, and %s is asked for", r.Name, strings.Join(r.of, " or "), strings.Join(outputs, ", "))
		}
	}
	return nil
}
