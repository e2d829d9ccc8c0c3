package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins the environment variables that LoadConfig reads:
// VITSERVE_SERVE_MAX_BATCH is max_batch. Their values are YAML; a list is
// [a, b], or a,b.
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
		if err := loadFile(path, &cfg); err != nil {
			return cfg, err
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
		n, err := environmentNode(strings.ToLower(strings.TrimPrefix(name, EnvPrefix)), values[name])
		if err == nil {
			err = decodeNode(n, &cfg, &fitting{called: environmentName})
		}
		if err != nil {
			return cfg, fmt.Errorf("api: environment: %s%w", atName(name, err), err)
		}
	}
	return cfg, nil
}

// atName is the name of a variable before an error that does not have it.
func atName(name string, err error) string {
	if strings.Contains(err.Error(), name) {
		return ""
	}
	return name + ": "
}

// errNoFile is fs.ErrNotExist in words.
var errNoFile = noFile{}

type noFile struct{}

func (noFile) Error() string { return "no such file" }
func (noFile) Unwrap() error { return fs.ErrNotExist }

// loadFile changes cfg by a file of one document.
func loadFile(path string, cfg *Config) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("api: config %s, %w: want a file of settings; vitserve serve --print-config writes one", path, errNoFile)
	}
	if err != nil {
		return fmt.Errorf("api: config: %w", err)
	}
	var n yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	err = dec.Decode(&n)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = decodeNode(&n, cfg, &fitting{called: func(setting string) string { return setting }, lines: true})
	}
	if err == nil && !errors.Is(dec.Decode(&yaml.Node{}), io.EOF) {
		err = errors.New("more than one document")
	}
	if err != nil {
		return fmt.Errorf("api: config %s, %w", path, err)
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
