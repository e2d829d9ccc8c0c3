package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins the environment variables that LoadConfig reads:
// VITSERVE_SERVE_MAX_BATCH is max_batch. Their values are YAML, so a list is
// [a, b].
const EnvPrefix = "VITSERVE_SERVE_"

// Kubernetes tells every container of the services beside it. Of one that is
// called vitserve-serve, or begins so, the variables begin as ours do.
var ofKubernetes = []struct{ name, value *regexp.Regexp }{
	{regexp.MustCompile(`^([A-Z0-9_]+_)?SERVICE_HOST$`), regexp.MustCompile(`^[0-9A-Fa-f.:]+$`)},
	{regexp.MustCompile(`^([A-Z0-9_]+_)?SERVICE_PORT(_[A-Z0-9_]+)?$`), regexp.MustCompile(`^[0-9]+$`)},
	{regexp.MustCompile(`^([A-Z0-9_]+_)?PORT(_[0-9]+_(TCP|UDP|SCTP))?$`), regexp.MustCompile(`^(tcp|udp|sctp)://`)},
	{regexp.MustCompile(`^([A-Z0-9_]+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO$`), regexp.MustCompile(`^(tcp|udp|sctp)$`)},
	{regexp.MustCompile(`^([A-Z0-9_]+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PORT$`), regexp.MustCompile(`^[0-9]+$`)},
	{regexp.MustCompile(`^([A-Z0-9_]+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR$`), regexp.MustCompile(`^[0-9A-Fa-f.:]+$`)},
}

// PassedOver returns the names of an environment that begin with EnvPrefix and
// are no settings, but what Kubernetes says of services. LoadConfig passes
// them over.
func PassedOver(environ []string) (names []string) {
	for _, e := range environ {
		name, v, _ := strings.Cut(e, "=")
		rest, ours := strings.CutPrefix(name, EnvPrefix)
		if ours && slices.ContainsFunc(ofKubernetes, func(k struct{ name, value *regexp.Regexp }) bool {
			return k.name.MatchString(rest) && k.value.MatchString(v)
		}) {
			names = append(names, name)
		}
	}
	return names
}

// LoadConfig returns DefaultConfig, changed by a file of YAML or JSON (none if
// path is empty) and then by the environment, as os.Environ gives it. A key
// that Config does not have is refused. The result is not validated: flags
// may change it further.
func LoadConfig(path string, environ []string) (Config, error) {
	cfg := DefaultConfig()
	if path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return cfg, fmt.Errorf("api: config: %w", err)
		}
		if err := decode(b, &cfg); err != nil {
			return cfg, fmt.Errorf("api: config %s: %w", path, err)
		}
	}
	var names []string
	values, passed := map[string]string{}, PassedOver(environ)
	for _, e := range environ {
		name, v, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, EnvPrefix) && !slices.Contains(passed, name) {
			names = append(names, name)
			values[name] = v
		}
	}
	sort.Strings(names)
	for _, name := range names {
		// A document of one member, so that a file and the environment
		// cannot differ in what they understand.
		key := strings.ToLower(strings.TrimPrefix(name, EnvPrefix))
		var v yaml.Node
		if err := yaml.Unmarshal([]byte(values[name]), &v); err != nil {
			return cfg, fmt.Errorf("api: config: environment %s: %w", name, err)
		}
		if len(v.Content) == 0 {
			v.Content = []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str"}}
		}
		doc := yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: key}, v.Content[0]}}
		b, err := yaml.Marshal(&doc)
		if err == nil {
			err = decode(b, &cfg)
		}
		if err != nil {
			return cfg, fmt.Errorf("api: config: environment %s: %w", name, err)
		}
	}
	return cfg, nil
}

// decode changes cfg by the members of a document.
func decode(b []byte, cfg *Config) error {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(cfg); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return err
	}
	if err := whole(&doc, reflect.TypeOf(cfg).Elem()); err != nil {
		return err
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

// whole refuses fractions where t has whole numbers, which the decoder cuts in
// silence. n has been decoded into t.
func whole(n *yaml.Node, t reflect.Type) error {
	switch n.Kind {
	case yaml.AliasNode:
		return whole(n.Alias, t)
	case yaml.DocumentNode:
		return whole(n.Content[0], t)
	case yaml.SequenceNode:
		if t.Kind() == reflect.Slice {
			t = t.Elem() // else the structs that a merge puts together
		}
		for _, item := range n.Content {
			if err := whole(item, t); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key, of := n.Content[i].Value, t // of a merge ("<<"), the struct itself
			for f := range t.NumField() {
				if t.Field(f).Tag.Get("yaml") == key {
					of = t.Field(f).Type
				}
			}
			if err := whole(n.Content[i+1], of); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	case yaml.ScalarNode:
		var f float64
		if n.ShortTag() == "!!float" && reflect.Zero(t).CanInt() && n.Decode(&f) == nil && f != math.Trunc(f) {
			return fmt.Errorf("line %d: %s, want a whole number", n.Line, n.Value)
		}
	}
	return nil
}

// Print writes c as YAML that LoadConfig reads.
func (c Config) Print(w io.Writer) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(c); err != nil {
		return fmt.Errorf("api: print config: %w", err)
	}
	return enc.Close()
}
