// Package v1 is the contract of vitserve's REST interface: the OpenAPI
// description, written by hand in openapi.yaml, and the Go types generated
// from it, which server and client share.
//
// The file says once what OpenAPI wants said several times: x-parameters is
// each parameter with the operations that understand it, and x-errors are an
// operation's errors by the names of their responses. OpenAPI returns the
// description with both written out.
package v1

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config types.yaml openapi.yaml

//go:embed openapi.yaml
var spec []byte

// OpenAPI returns the description as JSON: plain OpenAPI 3.0.
func OpenAPI() ([]byte, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(spec, &doc); err != nil {
		return nil, fmt.Errorf("v1: openapi.yaml: %w", err)
	}
	if err := expand(doc); err != nil {
		return nil, fmt.Errorf("v1: openapi.yaml: %w", err)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("v1: openapi.yaml as JSON: %w", err)
	}
	return b, nil
}
