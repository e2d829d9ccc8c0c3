package api

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
)

// contract is what these tests look at of the description.
type contract struct {
	Paths map[string]map[string]struct {
		OperationID string
		Security    []map[string]any
		Parameters  []struct {
			Name, In string
			Schema   struct{ Type string }
		}
	}
}

func readContract(t *testing.T) (c contract) {
	b, err := v1.OpenAPI()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &c))
	return c
}

// TestRoutes holds the table of endpoints to the contract: the same methods,
// paths and operations, and the same of them without a key.
func TestRoutes(t *testing.T) {
	type way struct {
		method, path string
		open         bool
	}
	served, promised := map[string]way{}, map[string]way{}
	for _, e := range endpoints {
		if e.id != "" {
			require.NotContains(t, served, e.id)
			served[e.id] = way{e.method, e.path, e.open}
		}
	}
	for path, item := range readContract(t).Paths {
		for method, op := range item {
			path := strings.NewReplacer("{", ":", "}", "").Replace(path)
			promised[op.OperationID] = way{strings.ToUpper(method), path, op.Security != nil && len(op.Security) == 0}
		}
	}
	require.Equal(t, promised, served)
}

// TestParameterTable holds the table of parameters to the contract: the same
// names, kinds and operations.
func TestParameterTable(t *testing.T) {
	kinds := map[string]row{"string": {op.Text, false}, "integer": {op.Number, false}, "number": {op.Number, false}, "boolean": {op.Flag, false}, "array": {op.Text, true}}
	promised, understood := map[string]map[string]row{}, map[string]map[string]row{}
	understood["classify"] = rowsOf(classifyParameters)
	understood["explain"] = rowsOf(explainParameters)
	understood["embed"] = rowsOf(embedParameters)
	understood["preprocess"] = rowsOf(preprocessParameters)
	for _, item := range readContract(t).Paths {
		for _, o := range item {
			if understood[o.OperationID] == nil {
				continue
			}
			promised[o.OperationID] = map[string]row{}
			for _, p := range o.Parameters {
				require.Equal(t, "query", p.In)
				promised[o.OperationID][p.Name] = kinds[p.Schema.Type]
			}
		}
	}
	require.Equal(t, promised, understood)
}

// row is what a parameter is.
type row struct {
	kind op.ParameterKind
	list bool
}

func rowsOf[A any](table []op.Parameter[A]) map[string]row {
	rows := map[string]row{}
	for _, p := range table {
		rows[p.Name] = row{p.Kind, p.List != nil}
	}
	return rows
}

// TestOptionParameters holds that every option of the maps is a parameter of
// explain, and that the contract knows its bounds.
func TestOptionParameters(t *testing.T) {
	type schema struct {
		Type             string
		Minimum, Maximum *float64
		Pattern          string
		Items            *schema
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name   string
				Schema schema
			}
		}
	}
	b, err := v1.OpenAPI()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &doc))
	promised := map[string]schema{}
	for _, p := range doc.Paths["/v1/explain"]["post"].Parameters {
		promised[p.Name] = p.Schema
	}
	understood := ExplainParameters()
	for _, o := range focus.OptionTable() {
		name := o.Name
		if o.List != "" {
			name = o.List
		}
		require.Contains(t, understood, name)
		s := promised[name]
		if o.List != "" {
			require.Equal(t, "array", s.Type, name)
			s = *s.Items
		}
		switch o.Kind {
		case focus.Whole, focus.Seed:
			require.Equal(t, "integer", s.Type, name)
			require.Zero(t, *s.Minimum, name)
			a := op.Asking[askExplain]{Ask: &askExplain{}, Table: explainParameters}
			require.NoError(t, a.Set(name, strconv.FormatFloat(*s.Maximum, 'f', 0, 64)), name)
			require.ErrorIs(t, a.Set(name, strconv.FormatFloat(*s.Maximum+2, 'f', 0, 64)), errValue, name)
		case focus.Share:
			require.Equal(t, "number", s.Type, name)
			require.Zero(t, *s.Minimum, name)
			require.InDelta(t, 1, *s.Maximum, 0, name)
		case focus.Word, focus.Cell:
			require.Equal(t, "string", s.Type, name)
		default:
			t.Errorf("%s is a %s, which no request has", name, o.Kind)
		}
	}
}
