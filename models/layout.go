package models

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// Decision is a value of the resolved configuration and what decided it.
type Decision struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
	By      string `json:"by"`
}

// loader carries a checkpoint from its files to a vit.Config.
type loader struct {
	*Reader
	config    *config         // nil: no config.json
	processor *processor      // nil: no preprocessor_config.json
	openCLIP  *openCLIPConfig // nil: no open_clip_config.json
	options   Options

	raw       unfolded
	cfg       vit.Config
	saved     [2]int // height, width of the input that the checkpoint says
	registers int    // prefix tokens that are registers
	posGrid   [2]int // rows and columns of the stored positions
	anySize   bool   // see layout
	gray      bool   // the model has one channel
	photos    [2]int // size of the input where the family's own differs from the one it was saved at; zero: it does not

	rope      rope
	shared    *tensor.Dense // relative positions of all blocks; nil: none
	sharedMLP *relativeMLP  // in place of it
	tableRule tableRule     // nil: timm's

	rule      patch.PosRule // see layout
	decisions []Decision
	note      string
}

func (l *loader) decide(setting string, value any, by string, args ...any) {
	l.decisions = append(l.decisions, Decision{setting, fmt.Sprint(value), fmt.Sprintf(by, args...)})
}

// layout is a way of naming and storing tensors. Each has a file of its own.
type layout struct {
	name      string        // as people see it
	library   string        // that writes it
	anchor    string        // a tensor that every file of the layout has
	types     []string      // the model_types of config.json that it is read for; nil: any
	positions patch.PosRule // how its library brings positions to another grid
	anySize   bool          // the model takes photos of any size, so how they are prepared tells that of its input
	read      func(*loader) error
}

// layouts are those that are read. Of several with one anchor the model type
// decides.
var layouts = []layout{timmViT, timmNaFlex, huggingFaceViT, huggingFaceDINOv2, huggingFaceDINOv2Registers, huggingFaceDINOv3, huggingFaceBEiT, huggingFaceCLIP, huggingFaceSigLIP,
	huggingFaceBLIP, huggingFaceAIMv2, huggingFacePixio, huggingFaceTIPS, huggingFaceRADIO, openCLIP}

// layoutOf recognises a layout by its anchor and the model type.
func (l *loader) layoutOf() (layout, error) {
	return l.layoutAmong(layouts)
}

func (l *loader) layoutAmong(layouts []layout) (layout, error) {
	var anchors, types []string
	for _, y := range layouts { // one that names the type goes before one of any
		if l.Has(y.anchor) && l.config != nil && slices.Contains(y.types, l.config.ModelType) {
			return y, nil
		}
	}
	for _, y := range layouts {
		if a := fmt.Sprintf("%s (%s)", y.anchor, y.library); !slices.Contains(anchors, a) {
			anchors = append(anchors, a)
		}
		if !l.Has(y.anchor) {
			continue
		}
		// Without a config.json a reader says itself what that would decide.
		if l.config == nil || y.types == nil || slices.Contains(y.types, l.config.ModelType) {
			return y, nil
		}
		types = append(types, y.types...)
	}
	switch {
	case types != nil:
		// DINOv2, BEiT and others have the anchor of ViT and other blocks.
		return layout{}, fmt.Errorf("config.json: model_type %q is not supported, want one of %s", l.config.ModelType, strings.Join(types, ", "))
	case len(l.tensors) == 0:
		return layout{}, errors.New("the file holds no tensors")
	}
	if l.config != nil && l.config.ModelType != "" && l.config.Architecture == "" {
		// The type names the family, which names of tensors do not.
		known := map[string]bool{}
		for _, y := range layouts {
			for _, t := range y.types {
				known[t] = true
			}
		}
		if !known[l.config.ModelType] {
			return layout{}, fmt.Errorf("config.json: model_type %q is not supported, want one of %s, or a checkpoint of timm's of the same model; none of its %d tensors is %s",
				l.config.ModelType, strings.Join(slices.Sorted(maps.Keys(known)), ", "), len(l.tensors), strings.Join(anchors, " or "))
		}
	}
	return layout{}, fmt.Errorf("no known layout of a Vision Transformer: none of its %d tensors is %s", len(l.tensors), strings.Join(anchors, " or "))
}

// patchProjection reads the patch projection and with it the dim and the
// patch size.
func (l *loader) patchProjection(weight, bias string) {
	l.cfg.Dim = l.Dim(weight, 0, 4)
	l.cfg.Patch = [2]int{l.Dim(weight, 2, 4), l.Dim(weight, 3, 4)}
	l.raw.proj = l.Get(weight, l.cfg.Dim, 3, l.cfg.Patch[0], l.cfg.Patch[1])
	l.raw.projBias = l.Maybe(bias, l.cfg.Dim)
	l.decide("dim", l.cfg.Dim, "shape of %s", weight)
	l.decide("patch", sizeText(l.cfg.Patch), "shape of %s", weight)
}

// grayProjection is patchProjection of a model of one channel, if it is one.
// Photos become gray, in three equal channels, each of which has a third of the
// weights: W x = W/3 x + W/3 x + W/3 x.
func (l *loader) grayProjection(weight, bias string) {
	if s := l.Shape(weight); len(s) != 4 || s[1] != 1 {
		l.patchProjection(weight, bias)
		return
	}
	l.cfg.Dim = l.Dim(weight, 0, 4)
	l.cfg.Patch = [2]int{l.Dim(weight, 2, 4), l.Dim(weight, 3, 4)}
	one := l.Get(weight, l.cfg.Dim, 1, l.cfg.Patch[0], l.cfg.Patch[1])
	area := l.cfg.Patch[0] * l.cfg.Patch[1]
	var three []float32
	for row := range slices.Chunk(one.Float32s(), min(area, one.Shape().TotalSize())) {
		for range 3 {
			for _, v := range row {
				three = append(three, v/3)
			}
		}
	}
	if l.raw.proj = one; one.Shape().TotalSize() == l.cfg.Dim*area { // or it is reported
		l.raw.proj = dense(three, l.cfg.Dim, 3, l.cfg.Patch[0], l.cfg.Patch[1])
	}
	l.raw.projBias = l.Maybe(bias, l.cfg.Dim)
	l.gray = true
	l.decide("channels", "1: photos become gray", "shape of %s", weight)
	l.decide("dim", l.cfg.Dim, "shape of %s", weight)
	l.decide("patch", sizeText(l.cfg.Patch), "shape of %s", weight)
}

// prefixToken reads n prefix tokens, where they are there.
func (l *loader) prefixToken(name string) {
	if !l.Has(name) {
		return
	}
	n := 1
	if s := l.Shape(name); len(s) >= 2 {
		n = s[len(s)-2]
	}
	l.raw.prefix = append(l.raw.prefix, l.GetRows(name, n, l.cfg.Dim))
	if last := name[strings.LastIndexByte(name, '.')+1:]; strings.HasPrefix(last, "reg") || last == "storage_tokens" {
		l.registers += n
	}
	l.cfg.Prefix += n
	l.decide("prefix token", n, "tensor %s", name)
}

// positions reads the position embeddings, whose rows may or may not begin
// with those of the prefix tokens, and settles the grid and the image size.
// image is what the configuration says, zero if nothing; by says who.
func (l *loader) positions(name string, image [2]int, by string) error {
	side := l.cfg.Patch
	if image == [2]int{} && !l.Has(name) {
		return fmt.Errorf("input size is not known: there is neither a %s nor a size in a config.json", name)
	}
	if image != [2]int{} && (image[0] < side[0] || image[1] < side[1]) {
		return fmt.Errorf("%s: input size %s is below the patch size %s", by, sizeText(image), sizeText(side))
	}
	// The last pixels are not looked at where the size is no multiple: SigLIP
	// has 27 patches of 14 in 384.
	grid := [2]int{image[0] / side[0], image[1] / side[1]}
	if !l.Has(name) {
		l.decide("positions", "none", "no tensor %s", name)
		return l.inputSize(image, grid, by)
	}
	rows := 0
	if s := l.Shape(name); len(s) >= 2 {
		rows = s[len(s)-2]
	}
	l.raw.pos = l.Get(name, rows, l.cfg.Dim)
	switch rows {
	case grid[0]*grid[1] + l.cfg.Prefix:
		l.raw.posPrefix = l.cfg.Prefix
	case grid[0] * grid[1]:
	case grid[0]*grid[1] + l.cfg.Prefix - l.registers:
		l.raw.posPrefix = l.cfg.Prefix - l.registers
	default:
		// The configuration speaks of another size than the file was saved
		// at, or says nothing: positions are then taken for a square.
		if by != "" {
			by += ", positions resampled"
		}
		stored, ok := squareGrid(rows, l.cfg.Prefix, l.registers)
		if !ok {
			return fmt.Errorf("%s has %d rows, which is neither the grid of %s with or without %d prefix tokens, nor a square; input_size (timm) or image_size (transformers) in config.json would decide it", name, rows, sizeText(image), l.cfg.Prefix)
		}
		if image == [2]int{} {
			grid, by = stored, "rows of "+name+", taken for a square"
			image = [2]int{grid[0] * side[0], grid[1] * side[1]}
		}
		l.raw.posPrefix = rows - stored[0]*stored[1]
		grid = stored
	}
	l.decide("positions", fmt.Sprintf("%s patches, %d prefix tokens", sizeText(grid), l.raw.posPrefix), "shape of %s", name)
	return l.inputSize(image, grid, by)
}

// inputSize settles the size of the input: the caller's, or image.
func (l *loader) inputSize(image, grid [2]int, by string) error {
	if l.anySize && l.processor != nil {
		photos, err := l.photoSize(l.processor)
		if err != nil {
			return err
		}
		if photos != image && photos != [2]int{} {
			image, by = photos, l.processor.file+", for the model takes photos of any size"
		}
	}
	if l.photos != [2]int{} {
		image, by = l.photos, "what the family's authors evaluate it at"
	}
	l.saved, l.posGrid, l.cfg.Image = image, grid, image
	if size := l.options.ImageSize; size != [2]int{} {
		if err := inRange(size[0], size[1]); err != nil {
			return err
		}
		if size[0] < l.cfg.Patch[0] || size[1] < l.cfg.Patch[1] {
			return fmt.Errorf("input size %s is below the patch size %s", sizeText(size), sizeText(l.cfg.Patch))
		}
		l.cfg.Image, by = size, fmt.Sprintf("the caller; the checkpoint says %s", sizeText(image))
	}
	l.decide("input size", sizeText(l.cfg.Image), "%s", by)
	return nil
}

// squareGrid finds the square grid in a number of position rows, of which
// either all prefix tokens own one, or all but the registers, or none. One of
// them is a square at most as long as the prefix is shorter than the step
// between squares.
func squareGrid(rows, prefix, registers int) ([2]int, bool) {
	owners := []int{prefix, prefix - registers, 0}
	slices.Sort(owners)
	var found [][2]int
	for _, own := range slices.Compact(owners) {
		side := int(math.Sqrt(float64(max(rows-own, 0))))
		if side > 0 && side*side == rows-own {
			found = append(found, [2]int{side, side})
		}
	}
	if len(found) != 1 {
		return [2]int{}, false
	}
	return found[0], true
}

// norm reads a norm's two vectors; one of root mean squares has no bias.
func (l *loader) norm(name string) vit.NormWeights { return l.normOf(name, l.cfg.Dim) }

// normOf is norm of another width.
func (l *loader) normOf(name string, dim int) vit.NormWeights {
	n := vit.NormWeights{Weight: l.Get(name+".weight", dim)}
	if !l.cfg.RMS {
		n.Bias = l.Get(name+".bias", dim)
	}
	return n
}

// embedNorm reads a norm of the projected patches, where there is one.
func (l *loader) embedNorm(name string) {
	if l.Has(name + ".weight") {
		l.switchOn(&l.cfg.EmbedNorm, "norm of the projected patches", name)
		l.raw.embedNorm = l.norm(name)
	}
}

// mlp reads the two layers of a block's MLP. A first layer with twice the
// rows that the second has columns is gated.
func (l *loader) mlp(b *unfoldedBlock, fc1, fc2 string) {
	hidden, rows := l.Dim(fc2+".weight", 1, 2), l.Dim(fc1+".weight", 0, 2)
	if rows != 2*hidden {
		rows = hidden
	}
	b.FC1, b.FC1Bias = l.Get(fc1+".weight", rows, l.cfg.Dim), l.Maybe(fc1+".bias", rows)
	b.FC2, b.FC2Bias = l.Get(fc2+".weight", l.cfg.Dim, hidden), l.Maybe(fc2+".bias", l.cfg.Dim)
	l.hidden(hidden, fc2, rows == 2*hidden)
}

// gated reports whether the MLPs are.
func (l *loader) gated() bool { return l.cfg.Act == backend.SwiGLU }

// hidden settles the width of the MLPs, once.
func (l *loader) hidden(width int, fc2 string, gated bool) {
	if l.cfg.Hidden == 0 {
		l.cfg.Hidden = width
		l.decide("MLP width", width, "shape of %s.weight", fc2)
		if gated {
			l.cfg.Act = backend.SwiGLU
		}
	}
}

// steepness is how much steeper than a quick GELU the activations are that are
// one of scaled inputs: SiLU is x·σ(x), and ReLU the limit of steepness, from
// which this one is 2e-7 away at most. A power of two changes no digit.
var steepness = map[string]float64{"silu": 1 / 1.702, "swish": 1 / 1.702, "relu": 1 << 20}

// activate settles the activation of MLPs that are not gated, by its name.
func (l *loader) activate(name, by string) error {
	act, known := activations[name]
	if s := steepness[name]; s > 0 && !l.cfg.HiddenNorm && l.raw.probe.latent == nil {
		l.cfg.Act, l.raw.steep = backend.QuickGELU, s
		l.decide("activation", name, "%s; computed as %v of scaled weights", by, l.cfg.Act)
		return nil
	}
	if !known {
		return fmt.Errorf("%s: activation %q is not supported", by, name)
	}
	l.cfg.Act = act
	l.decide("activation", act, "%s", by)
	return nil
}

// head reads a classification head of width columns. It reports false where
// there is none.
func (l *loader) head(name string, width int) bool {
	if !l.Has(name + ".weight") {
		l.decide("classes", 0, "no tensor %s.weight", name)
		return false
	}
	l.cfg.Classes = l.Dim(name+".weight", 0, 2)
	l.raw.head = l.Get(name+".weight", l.cfg.Classes, width)
	l.raw.headBias = l.Maybe(name+".bias", l.cfg.Classes)
	l.decide("classes", l.cfg.Classes, "shape of %s.weight", name)
	return true
}

// sizeText is "height×width".
func sizeText(s [2]int) string { return fmt.Sprintf("%d×%d", s[0], s[1]) }

// activations are the names of timm and of transformers. The two GELUs by
// tanh are one function; the exact one is another.
var activations = map[string]backend.Activation{
	"gelu": backend.GELU, "gelu_python": backend.GELU,
	"gelu_tanh": backend.GELUTanh, "gelu_new": backend.GELUTanh, "gelu_pytorch_tanh": backend.GELUTanh, "gelu_fast": backend.GELUTanh,
	"quick_gelu": backend.QuickGELU, "quickgelu": backend.QuickGELU,
}
