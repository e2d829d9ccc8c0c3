// Package v1 is the contract of vitserve's REST interface: the OpenAPI
// description, written by hand in openapi.yaml, and the Go types generated
// from it, which server and client share.
package v1

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config types.yaml openapi.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config server.yaml openapi.yaml

//go:embed openapi.yaml
var spec []byte

// OpenAPI returns the description as JSON.
func OpenAPI() ([]byte, error) {
	var doc any
	if err := yaml.Unmarshal(spec, &doc); err != nil {
		return nil, fmt.Errorf("v1: openapi.yaml: %w", err)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("v1: openapi.yaml as JSON: %w", err)
	}
	return b, nil
}
