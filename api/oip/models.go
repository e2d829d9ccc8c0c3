package oip

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/vit"
)

// version is that of every model: clients read it as a number.
const version = "1"

// Inputs, of which a request has one.
const (
	inImage  = "IMAGE"        // files: BYTES, or UINT8
	inPixels = "pixel_values" // (3, H, W), normalised as the checkpoint says
)

// Outputs. Shapes are those of one picture.
const (
	outAbstained      = "abstained"       // (1) BYTES: why there is no label; empty: there is one
	outProbs          = "probs"           // (K): the scores of the labels, as /v1/classify has them
	outLogits         = "logits"          // (K)
	outEmbedding      = "embedding"       // (D), or (rows, columns, C) of the pool grid
	outMap            = "map"             // (rows, columns), or (maps, rows, columns)
	outClassAttention = "class_attention" // (L, H, N): what the class token attends to
	outAttention      = "attention"       // (L, H, N, N)
)

// face is one of the models that a model of the server is here.
type face struct {
	suffix        string
	input, output string
	headless      string // output of a model without labels
}

var faces = []face{
	{"", inImage, outProbs, outEmbedding},
	{".pixels", inPixels, outLogits, outEmbedding},
	{".embed", inImage, outEmbedding, outEmbedding},
	{".focus", inImage, outMap, outMap},
}

// target is a model of the protocol.
type target struct {
	face
	card v1.Model // without labels
}

// name is what it is called: a slash would be taken for one of the path.
func (t target) name() string { return alias(t.card.ID) + t.suffix }

func alias(id string) string { return strings.ReplaceAll(id, "/", "--") }

// find returns the model that a client names, by the id of its model or the
// alias of that.
func find(c op.Call, name, asked string) (target, error) {
	cards := c.Models()
	if asked != "" && asked != version {
		return target{}, fmt.Errorf("%w: version %s of %s, want %s", op.ErrNotFound, op.Clip(asked), op.Clip(name), version)
	}
	for _, f := range faces { // the whole name first: an id may end as a face does
		id, ok := strings.CutSuffix(name, f.suffix)
		if !ok {
			continue
		}
		for _, card := range cards {
			if card.ID != "" && (card.ID == id || alias(card.ID) == id) {
				return target{f, card}, nil
			}
		}
	}
	var names []string
	for _, t := range targets(cards) {
		names = append(names, t.name())
	}
	return target{}, fmt.Errorf("%w: %s, want one of %s", op.ErrNotFound, op.Clip(name), strings.Join(names, ", "))
}

// targets are all models.
func targets(cards []v1.Model) (all []target) {
	for _, card := range cards {
		for _, f := range faces {
			if card.ID != "" { // else nobody has read its name yet
				all = append(all, target{f, card})
			}
		}
	}
	return all
}

// shaped is a model whose sizes are known.
type shaped struct {
	target
	*op.Network
	limits op.Limits
}

// shapes loads a model if need be, in the time of options, and returns its sizes.
func shapes(ctx context.Context, c op.Call, t target, o op.Options) (shaped, error) {
	o.Model, o.Wait = t.card.ID, true
	n, err := c.Network(ctx, o)
	if err != nil {
		return shaped{}, err
	}
	if n.Config.Classes == 0 {
		t.output = t.headless
	}
	return shaped{t, n, c.Limits()}, nil
}

// outputs are the names of what can be asked for.
func (m shaped) outputs() []string {
	all := []string{outProbs, outLogits, outAbstained, outEmbedding, outMap, outClassAttention, outAttention}
	return slices.DeleteFunc(all, func(name string) bool {
		switch name {
		case outProbs, outLogits, outAbstained:
			return m.Config.Classes == 0
		case outClassAttention:
			return !m.hasClassToken()
		}
		return false
	})
}

func (m shaped) hasClassToken() bool { return slices.Contains(m.Config.Pools(), vit.PoolClass) }

// tensorOf is what is said of an input or output: its dimensions are those of one
// picture, before which there is that of the batch.
type tensorOf struct {
	name, datatype string
	dims           []int64
}

func (m shaped) inputTensor() tensorOf {
	if m.input == inPixels {
		return tensorOf{inPixels, fp32, []int64{3, int64(m.Config.Image[0]), int64(m.Config.Image[1])}}
	}
	return tensorOf{inImage, bytesType, []int64{1}}
}

func (m shaped) outputTensor() tensorOf {
	c := m.Config
	rows, cols := c.Grid()
	var dims []int
	switch m.output {
	case outProbs, outLogits:
		dims = []int{c.Classes}
	case outEmbedding:
		dims = []int{vit.Embedding{Pool: vit.PoolModel}.Shape(c)[0]}
	default:
		dims = []int{rows, cols}
	}
	out := tensorOf{name: m.output, datatype: fp32}
	for _, d := range dims {
		out.dims = append(out.dims, int64(d))
	}
	return out
}

// maxBatch is how many pictures a request may hold.
func (m shaped) maxBatch() int {
	n := m.limits.Images
	if m.input == inPixels {
		const head = 64 << 10 // of a request, beside its tensor
		each := 4 * 3 * int64(m.Config.Image[0]) * int64(m.Config.Image[1])
		n = min(n, int(max(m.limits.Body-head, 0)/each))
	}
	return max(n, 1)
}

// notes are what a client must know to make pixel_values, as text.
func (m shaped) notes() map[string]string {
	join := func(v [3]float64) string {
		var all []string
		for _, x := range v {
			all = append(all, strconv.FormatFloat(x, 'g', -1, 32))
		}
		return strings.Join(all, " ")
	}
	mean, std := m.Transform.Normalisation()
	p := map[string]string{
		"model":         m.card.ID,
		"revision":      m.card.Revision,
		"image_mean":    join(mean),
		"image_std":     join(std),
		"normalisation": "pixel_values = (RGB / 255 - image_mean) / image_std",
		"outputs":       strings.Join(m.outputs(), " "),
	}
	if m.Classless != "" {
		p["classless"] = m.Classless
	}
	return p
}
