package models

import (
	"embed"
	"io/fs"
)

// The starter is a small model trained for this project; its README.md is its
// card. The weights are used where the binary has them, without a copy.
var (
	//go:embed starter/config.json starter/README.md
	starter embed.FS
	//go:embed starter/model.safetensors
	starterWeights []byte
)

// embeddedModel is a model inside the binary.
type embeddedModel struct {
	name    string
	dir     fs.FS // configuration and README.md
	weights []byte
	note    string
}

// embedded are the models inside the binary, the default first.
var embedded = []embeddedModel{
	{
		name:    "starter",
		dir:     sub(starter, "starter"),
		weights: starterWeights,
		note:    "a small stand-in that knows 20 classes and is right about 63 % of the time; it shows that everything works and is not a model to rely on",
	},
}

// Embedded returns the names of the models inside the binary, the default first.
func Embedded() []string {
	var names []string
	for _, e := range embedded {
		names = append(names, e.name)
	}
	return names
}

// findEmbedded opens an embedded model.
func (c *Checkpoint) findEmbedded(e embeddedModel) (fs.FS, error) {
	c.Name, c.Source, c.Note = e.name, "embedded", e.note
	f, err := memoryFile("embedded "+e.name, e.weights)
	if err != nil {
		return nil, err
	}
	c.files = []*file{f}
	return e.dir, nil
}

// sub returns a folder that the compiler has put there.
func sub(f embed.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic(err)
	}
	return s
}
