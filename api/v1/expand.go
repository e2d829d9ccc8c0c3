package v1

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parameter is a row of x-parameters.
type parameter struct {
	Name        string         `yaml:"name"`
	Of          []string       `yaml:"of"` // operation ids
	Description string         `yaml:"description"`
	Schema      map[string]any `yaml:"schema"`
}

// statuses are those of the responses that x-errors names.
var statuses = map[string]string{
	"BadRequest": "400", "Unauthorized": "401", "Forbidden": "403", "NotFound": "404", "NotAcceptable": "406", "Slow": "408", "TooLarge": "413",
	"NotAnImage": "415", "Unprocessable": "422", "LoadFailed": "422", "Busy": "429", "Internal": "500", "Unavailable": "503", "Deadline": "504",
}

// expand writes out what the file says once.
func expand(doc map[string]any) error {
	var table struct {
		Parameters []parameter `yaml:"x-parameters"`
	}
	if err := yaml.Unmarshal(spec, &table); err != nil {
		return err
	}
	delete(doc, "x-parameters")
	schemas := at(doc, "components", "schemas")
	unknown := map[string]bool{}
	for _, p := range table.Parameters {
		for _, id := range p.Of {
			unknown[id] = true
		}
	}
	for _, item := range at(doc, "paths") {
		for _, o := range item.(map[string]any) {
			op := o.(map[string]any)
			if err := expandErrors(op); err != nil {
				return err
			}
			id := op["operationId"].(string)
			if unknown[id] {
				expandParameters(op, schemas, id, table.Parameters)
			}
			delete(unknown, id)
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("x-parameters: of %v: no such operations", unknown)
	}
	return nil
}

// expandErrors refers to the responses that an operation names.
func expandErrors(op map[string]any) error {
	names, _ := op["x-errors"].([]any)
	delete(op, "x-errors")
	for _, name := range names {
		status, known := statuses[name.(string)]
		if !known {
			return fmt.Errorf("x-errors: %v of %v: no such response", name, op["operationId"])
		}
		at(op, "responses")[status] = ref("responses/" + name.(string))
	}
	return nil
}

// expandParameters puts the parameters of an operation into its query, its
// form and its JSON body.
func expandParameters(op, schemas map[string]any, id string, all []parameter) {
	binary := map[string]any{"type": "string", "format": "binary"}
	title := strings.ToUpper(id[:1]) + id[1:]
	query := []any{}
	form := map[string]any{"file": map[string]any{
		"type": "array", "minItems": 1, "items": binary, "description": "Pictures; any field name will do.",
	}}
	members := map[string]any{
		"images": map[string]any{"type": "array", "minItems": 1, "items": ref("schemas/ImageOrText")},
		"image":  ref("schemas/ImageOrText"),
	}
	for _, p := range all {
		if !slices.Contains(p.Of, id) {
			continue
		}
		query = append(query, map[string]any{"name": p.Name, "in": "query", "description": p.Description, "schema": p.Schema})
		member := map[string]any{"description": p.Description}
		for key, v := range p.Schema {
			member[key] = v
		}
		form[p.Name], members[p.Name] = member, member
	}
	op["parameters"] = query
	schemas[title+"Form"], schemas[title+"Request"] = object(form, "file"), object(members, "images", "image")
	bytes := map[string]any{"schema": binary}
	json := map[string]any{"schema": ref("schemas/" + title + "Request")}
	if example, given := op["x-example"]; given {
		json["example"] = example
		delete(op, "x-example")
	}
	op["requestBody"] = map[string]any{"required": true, "content": map[string]any{
		"image/*": bytes, "application/octet-stream": bytes,
		"multipart/form-data": map[string]any{"schema": ref("schemas/" + title + "Form")}, "application/json": json,
	}}
}

// object is one with at least one of the members of needed.
func object(properties map[string]any, needed ...string) map[string]any {
	o := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(needed) == 1 {
		o["required"] = needed
		return o
	}
	var any []map[string][]string
	for _, name := range needed {
		any = append(any, map[string][]string{"required": {name}})
	}
	o["anyOf"] = any
	return o
}

func ref(to string) map[string]any { return map[string]any{"$ref": "#/components/" + to} }

// at returns the object that lies under names.
func at(in map[string]any, names ...string) map[string]any {
	for _, name := range names {
		in = in[name].(map[string]any)
	}
	return in
}
