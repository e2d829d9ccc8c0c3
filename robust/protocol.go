package robust

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/attack"
	"github.com/vitserve/vitserve/robust/corrupt"
)

// version of the protocol: it changes whenever the same photos, model and
// options would give other numbers.
const version = 1

// Protocol is how numbers came about, whatever the model and its target.
type Protocol struct {
	Version    int              `json:"version"`
	Mode       Mode             `json:"mode"`
	Released   bool             `json:"released,omitempty"` // files that were corrupted before, their middle cropped
	Flavour    corrupt.Flavour  `json:"flavour"`
	Seed       uint64           `json:"seed"`
	Cells      []string         `json:"cells"`
	Input      *patch.Transform `json:"input,omitempty"` // how a photo becomes the model's input, in mode crop
	Classes    []int            `json:"classes,omitempty"`
	Drift      string           `json:"drift,omitempty"` // method of the focus maps
	Resize     string           `json:"resize,omitempty"`
	IgnoreEXIF bool             `json:"ignore_exif,omitempty"`
	Notes      []string         `json:"notes,omitempty"`

	Attacks map[string]attack.Params `json:"attacks,omitempty"` // by cell
}

// Protocol returns that of a run.
func (o *Options) Protocol(about *About) Protocol {
	p := Protocol{
		Version: version, Mode: o.Mode, Released: o.Released, Flavour: o.Flavour, Seed: o.Seed, Input: o.transform(about),
		Classes: append(o.Classes, o.Only...), Resize: string(o.Decode.Resize), IgnoreEXIF: o.Decode.IgnoreEXIF,
	}
	seen := map[string]bool{}
	note := func(text string) {
		if !seen[text] {
			seen[text] = true
			p.Notes = append(p.Notes, text)
		}
	}
	for _, c := range o.Cells {
		p.Cells = append(p.Cells, c.Key())
		if d, ok := c.how.(adversary); ok {
			if p.Attacks == nil {
				p.Attacks = map[string]attack.Params{}
			}
			p.Attacks[c.Key()] = d.params
			note(c.Suite + ": " + d.attack.Paper + ", " + d.attack.Equations)
			d.notes(c, note)
		}
		switch c.Suite {
		case "imagenet-c":
			if c.Name == "frost" && !o.Released {
				note("frost: vitserve's own textures, as bright and varied as the photographs of the original")
			}
			if o.Flavour == corrupt.Original && (c.Name == "motion_blur" || c.Name == "snow") {
				note(c.Name + ": by imagecorruptions' formula in both flavours")
			}
		case "san":
			note("san: after Zhao et al. 2020: turned after the crop, exact")
		case "patch-drop", "patch-offset":
			note(c.Suite + ": black before normalisation, a random set for each photo, floor(level·patches/10) of them")
		case "patch-drop-salient", "patch-drop-background":
			note(c.Suite + ": patches in the order of the clean photo's focus map, " + o.Method)
		case "shuffle":
			note("shuffle: a random order for each photo")
		case "imagenet-p":
			note("imagenet-p: frames computed, not the released videos; snow has the flakes of ImageNet-C's severity 1")
		}
	}
	if o.Drift {
		p.Drift = o.Method
	}
	if o.Released {
		note("released files: no resampling, the middle cropped to the model's input")
		if t := p.Input; t != nil && t.Size != [2]int{224, 224} {
			note(fmt.Sprintf("the model's input is %d×%d and ImageNet-C's files are 224×224", t.Size[0], t.Size[1]))
		}
	}
	return p
}

// Hash is the SHA-256 of the protocol's JSON.
func (p Protocol) Hash() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // it is made of plain values
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// run names a run in its journal: the protocol and the model.
func (o *Options) run(about *About) (string, error) {
	b, err := json.Marshal(struct {
		Protocol string `json:"protocol"`
		Model    string `json:"model"`
		Sum      string `json:"sum"`
	}{o.Protocol(about).Hash(), about.Model, about.Sum})
	if err != nil {
		return "", fmt.Errorf("robust: %w", err)
	}
	return string(b), nil
}
