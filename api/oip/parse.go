package oip

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/vitserve/vitserve/api/op"
)

// How much of what a request may hold: names are few, whatever a body says.
const (
	mostInputs  = 16
	mostOutputs = 16
	mostMembers = 64
	mostDims    = 8
	mostName    = 1 << 10
)

// parse reads the body of a request, of which head says how many bytes are JSON;
// "": all of them. Of none, the body is a picture's file.
func parse(body []byte, head string) (*request, error) {
	if head == "" {
		return parseJSON(body, nil)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(head), 10, 63)
	if err != nil || n > uint64(len(body)) {
		return nil, syntax("%s %s of a body of %d bytes", headLength, clip([]byte(head)), len(body))
	}
	if n == 0 {
		return &request{inputs: []input{{name: inImage, datatype: uint8Type, shape: []int{1, len(body)}, data: blob(body)}}}, nil
	}
	return parseJSON(body[:n], body[n:])
}

// parseJSON reads the JSON of a request and the tensors in binary behind it.
func parseJSON(head, behind []byte) (*request, error) {
	if !json.Valid(head) {
		var v any // says where
		return nil, syntax("JSON: %v", json.Unmarshal(head, &v))
	}
	p := parser{behind: behind}
	if err := op.Object(head, mostMembers, p.member); err != nil {
		return nil, unread(err)
	}
	if len(p.behind) > 0 {
		return nil, value("%d bytes behind the JSON that no input takes", len(p.behind))
	}
	for i := range p.r.outputs {
		if o := &p.r.outputs[i]; !p.said[i] {
			o.binary = p.binary
		}
	}
	p.r.binary = p.binary
	return &p.r, nil
}

// parser is a request in JSON that is being read.
type parser struct {
	r      request
	behind []byte // tensors that no input has taken yet
	binary bool   // outputs, where they do not say it themselves
	said   []bool // by output: it says so
}

// member reads one of the request itself. Others than the protocol's are passed
// over: clients send some.
func (p *parser) member(name string, v []byte) (err error) {
	switch name {
	case "id":
		if p.r.id, err = text(v); err == nil && len(p.r.id) > mostName {
			err = value("an id of %d bytes, want at most %d", len(p.r.id), mostName)
		}
	case "parameters":
		err = op.Object(v, mostMembers, func(name string, v []byte) error {
			if name == "binary_data_output" {
				return truth(v, &p.binary)
			}
			p.r.parameters = append(p.r.parameters, parameter{name, v})
			return nil
		})
	case "inputs":
		err = op.Array(v, mostInputs, p.input)
	case "outputs":
		err = op.Array(v, mostOutputs, p.output)
	default:
		return nil
	}
	return within(name, err)
}

// input reads an input, and takes its tensor from behind the JSON if it is there.
func (p *parser) input(v []byte) error {
	var in input
	size := -1
	err := op.Object(v, mostMembers, func(name string, v []byte) (err error) {
		switch name {
		case "name":
			in.name, err = text(v)
		case "datatype":
			in.datatype, err = text(v)
		case "shape":
			err = op.Array(v, mostDims, func(v []byte) error {
				d, err := strconv.ParseInt(string(v), 10, 64)
				if err != nil || d < 0 || d > math.MaxInt32 {
					return value("%s, want a whole number from 0", clip(v))
				}
				in.shape = append(in.shape, int(d))
				return nil
			})
		case "data":
			in.data = values(v)
		case "parameters":
			err = op.Object(v, mostMembers, func(parameter string, v []byte) (err error) {
				switch parameter {
				case "binary_data_size":
					size, err = strconv.Atoi(string(v))
					if err != nil || size < 0 || size > len(p.behind) {
						err = value("%s, and %d bytes are left behind the JSON", clip(v), len(p.behind))
					}
				case "shared_memory_region":
					err = shared("input", in.name, v)
				}
				return within(parameter, err)
			})
		}
		return within(name, err)
	})
	switch {
	case err != nil:
		return err
	case size >= 0 && in.data != nil:
		return value("input %s has data and binary_data_size, want one of them", clip([]byte(in.name)))
	case size >= 0:
		in.data, p.behind = blob(p.behind[:size]), p.behind[size:]
	case in.data == nil:
		return value("input %s has no data", clip([]byte(in.name)))
	}
	p.r.inputs = append(p.r.inputs, in)
	return nil
}

// output reads an output that is asked for.
func (p *parser) output(v []byte) error {
	var o wanted
	said := false
	err := op.Object(v, mostMembers, func(name string, v []byte) (err error) {
		switch name {
		case "name":
			o.name, err = text(v)
		case "parameters":
			err = op.Object(v, mostMembers, func(parameter string, v []byte) (err error) {
				switch parameter {
				case "binary_data":
					said = true
					err = truth(v, &o.binary)
				case "classification":
					o.classes, err = strconv.Atoi(string(v))
					if err != nil || o.classes < 0 || o.classes > math.MaxInt32 {
						err = value("%s, want a whole number from 0", clip(v))
					}
				case "shared_memory_region":
					err = shared("output", o.name, v)
				}
				return within(parameter, err)
			})
		}
		return within(name, err)
	})
	p.r.outputs, p.said = append(p.r.outputs, o), append(p.said, said)
	return err
}

// truth reads a boolean.
func truth(v []byte, to *bool) error {
	switch string(v) {
	case "true":
		*to = true
	case "false":
		*to = false
	default:
		return value("%s, want true or false", clip(v))
	}
	return nil
}

// shared is the error of a tensor in a region of shared memory.
func shared(what, name string, v []byte) error {
	region, err := text(v)
	if err != nil {
		return err
	}
	return inShared(what, name, region)
}
