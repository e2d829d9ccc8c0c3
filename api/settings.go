package api

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/patch/external"
	"go.yaml.in/yaml/v3"
)

// fitting brings what was written to what a setting is, and says what does not
// fit, all of it: a key that is none, a kind that is another. A text where a
// list is wanted is a list, parted by commas (of a command by spaces, as a shell has it); a text where a model is wanted
// is what ParseModel reads.
type fitting struct {
	called func(setting string) string // how a setting is written here
	lines  bool                        // whether lines are told
	wrong  []error
}

// bad takes note of a node that is not what is wanted.
func (f *fitting) bad(name string, n *yaml.Node, wanted string) {
	at := ""
	if f.lines {
		at = fmt.Sprintf("line %d: ", n.Line)
	}
	f.wrong = append(f.wrong, fmt.Errorf("%s: %s%s, want %s", name, at, found(n), wanted))
}

// found says what a node is.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "names with values"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	if n.ShortTag() == "!!str" {
		return op.Clip(n.Value)
	}
	return n.Value
}

// fit brings a node to a type; name is the setting's.
func (f *fitting) fit(name string, n *yaml.Node, t reflect.Type) {
	switch n.Kind {
	case yaml.DocumentNode:
		f.fit(name, n.Content[0], t)
		return
	case yaml.AliasNode:
		f.fit(name, n.Alias, t)
		return
	}
	text := reflect.New(t).Interface()
	switch unmarshaler, ok := text.(encoding.TextUnmarshaler); {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
	case ok:
		if n.Kind != yaml.ScalarNode || unmarshaler.UnmarshalText([]byte(n.Value)) != nil {
			f.bad(name, n, "a time such as 1.5s or 2m")
		}
	case t.Kind() == reflect.Slice:
		f.list(name, n, t.Elem())
	case t.Kind() == reflect.Struct:
		f.members(name, n, t)
	case n.Kind != yaml.ScalarNode:
		f.bad(name, n, kindOfType(t))
	case !fits(n, t):
		f.bad(name, n, kindOfType(t))
	}
}

// kindOfType is what a setting is, for people.
func kindOfType(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return "a time such as 1.5s"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Struct:
		return "names with values: " + strings.Join(membersOf(t), ", ")
	case t.Kind() == reflect.Bool:
		return "true or false"
	case reflect.Zero(t).CanInt():
		return "a whole number"
	case reflect.Zero(t).CanFloat():
		return "a number"
	}
	return "a text"
}

// fits reports whether a scalar is of a kind. The decoder would cut fractions
// off whole numbers in silence.
func fits(n *yaml.Node, t reflect.Type) bool {
	switch {
	case t.Kind() == reflect.Bool:
		return n.Decode(new(bool)) == nil
	case reflect.Zero(t).CanInt():
		var v float64
		if n.ShortTag() == "!!float" {
			return n.Decode(&v) == nil && v == math.Trunc(v) && n.Decode(reflect.New(t).Interface()) == nil
		}
		return n.Decode(reflect.New(t).Interface()) == nil
	}
	return n.Decode(reflect.New(t).Interface()) == nil
}

// list fits the items of a list.
func (f *fitting) list(name string, n *yaml.Node, of reflect.Type) {
	if n.Kind == yaml.ScalarNode {
		items, parts := []*yaml.Node{}, strings.Split(n.Value, ",")
		if strings.HasSuffix(name, ".command") {
			parts = external.SplitCommand(n.Value)
		}
		for _, part := range parts {
			if part = strings.TrimSpace(part); part != "" {
				items = append(items, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: part, Line: n.Line})
			}
		}
		*n = yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items, Line: n.Line}
	}
	if n.Kind != yaml.SequenceNode {
		f.bad(name, n, "a list")
		return
	}
	for _, item := range n.Content {
		if of == reflect.TypeFor[ModelConfig]() && item.Kind == yaml.ScalarNode && item.ShortTag() != "!!null" {
			m := ParseModel(item.Value)
			*item = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: item.Line, Content: []*yaml.Node{
				{Kind: yaml.ScalarNode, Value: "id"}, {Kind: yaml.ScalarNode, Tag: "!!str", Value: m.ID},
				{Kind: yaml.ScalarNode, Value: "path"}, {Kind: yaml.ScalarNode, Tag: "!!str", Value: m.Path},
			}}
		}
		f.fit(name, item, of)
	}
}

// members fits what stands under the names of a struct. A merge ("<<") is the
// struct itself, or a list of them.
func (f *fitting) members(name string, n *yaml.Node, t reflect.Type) {
	if n.Kind == yaml.SequenceNode && strings.HasSuffix(name, "<<") {
		for _, item := range n.Content {
			f.fit(name, item, t)
		}
		return
	}
	if n.Kind != yaml.MappingNode {
		f.bad(name, n, kindOfType(t))
		return
	}
	inner := strings.TrimSuffix(name, ".<<")
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := f.called(key.Value)
		if inner != "" {
			at = inner + "." + key.Value
		}
		if key.Value == "<<" {
			f.fit(inner+".<<", n.Content[i+1], t)
			continue
		}
		field, ok := memberOf(t, key.Value)
		if !ok {
			f.unknown(inner, key, membersOf(t))
			continue
		}
		f.fit(at, n.Content[i+1], field)
	}
}

// unknown takes note of a name that is no setting.
func (f *fitting) unknown(inside string, key *yaml.Node, names []string) {
	what, at := "setting", ""
	if inside != "" {
		what = "name in " + inside
	}
	if f.lines {
		at = fmt.Sprintf(" (line %d)", key.Line)
	}
	said := ""
	switch near := words.Nearest(key.Value, names...); {
	case near != "" && inside == "":
		said = ", did you mean " + f.called(near) + "?"
	case near != "":
		said = ", did you mean " + near + "?"
	case inside != "":
		said = ", want one of " + strings.Join(names, ", ")
	default:
		said = ": vitserve serve --print-config shows all"
	}
	name := key.Value
	if inside == "" {
		name = f.called(name)
	}
	f.wrong = append(f.wrong, fmt.Errorf("unknown %s %s%s%s", what, name, at, said))
}

// memberOf returns the type of what stands under a name of a struct.
func memberOf(t reflect.Type, name string) (reflect.Type, bool) {
	for f := range t.Fields() {
		if f.Tag.Get("yaml") == name {
			return f.Type, true
		}
	}
	return nil, false
}

// membersOf are the names that may stand under a struct.
func membersOf(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		if name := f.Tag.Get("yaml"); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// decodeNode changes cfg by a document.
func decodeNode(n *yaml.Node, cfg *Config, f *fitting) error {
	if f.fit("", n, reflect.TypeFor[Config]()); len(f.wrong) > 0 {
		return errors.Join(f.wrong...)
	}
	err := n.Decode(cfg)
	var all *yaml.TypeError
	if errors.As(err, &all) {
		return errors.New(strings.Join(all.Errors, "\n"))
	}
	return err
}

// named is a model that brings its own name.
var namedModel = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?=`)

// ParseModel reads a model as flags, the environment and lists of settings have
// it: a folder, a file, an embedded model or ORG/NAME, or NAME=one of these. A
// path that is there goes before a name.
func ParseModel(s string) ModelConfig {
	if _, err := os.Stat(s); err != nil && namedModel.MatchString(s) {
		id, path, _ := strings.Cut(s, "=")
		return ModelConfig{ID: id, Path: path}
	}
	return ModelConfig{Path: s}
}

// environmentName is how a setting is called in the environment.
func environmentName(setting string) string { return EnvPrefix + strings.ToUpper(setting) }

// environmentNode is a document of one setting, whose value is YAML, so that a
// file and the environment cannot differ in what they understand.
func environmentNode(key, value string) (*yaml.Node, error) {
	var v yaml.Node
	if err := yaml.Unmarshal([]byte(value), &v); err != nil {
		return nil, err
	}
	if len(v.Content) == 0 {
		v.Content = []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str"}}
	}
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, v.Content[0]}}, nil
}
