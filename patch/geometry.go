package patch

import (
	"fmt"
	"math"
)

// Geometry leads from the model's input back to the upright photo. All
// coordinates are in the upright photo's pixels unless they say otherwise.
type Geometry struct {
	Photo       [2]int  `json:"photo"`       // width, height of the upright photo
	Orientation int     `json:"orientation"` // EXIF orientation that was undone, 1: none
	Input       [2]int  `json:"input"`       // width, height of the model's input
	Seen        Rect    `json:"seen"`        // the part of the photo's plane that the input shows; beyond the photo where it was padded
	Coverage    float64 `json:"coverage"`    // share of the photo's area that the model saw, 0 to 1
}

// Rect is a rectangle with its origin at the top left, in pixels.
type Rect struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
	W float64 `json:"w"`
	H float64 `json:"h"`
}

// Cell returns the rectangle of the photo that cell (row, col) of a grid of
// rows × cols patches covers.
func (g Geometry) Cell(row, col, rows, cols int) Rect {
	if row < 0 || row >= rows || col < 0 || col >= cols {
		panic(fmt.Sprintf("patch: cell (%d, %d) of a grid of %d × %d", row, col, rows, cols))
	}
	w, h := g.Seen.W/float64(cols), g.Seen.H/float64(rows)
	return Rect{X: g.Seen.X + float64(col)*w, Y: g.Seen.Y + float64(row)*h, W: w, H: h}
}

// plan is a transform worked out for one photo: the photo is resized to
// rw × rh, of which the model sees crop; where crop leaves the plane it is
// filled, and inside is what remains.
type plan struct {
	rw, rh       int
	how          resize
	crop, inside window
	fill         [3]uint8
	gray         bool
}

func (t Transform) plan(w, h int) (plan, error) {
	p := plan{rw: w, rh: h, how: resize{t.Interpolation, t.Resampler}, gray: t.Gray}
	switch t.Fit {
	case FitShort:
		switch {
		case t.Longest > 0:
			p.rw, p.rh = boundedEdges(w, h, t.Resize[0], t.Longest)
		case t.Resize[0] == t.Resize[1]:
			p.rw, p.rh = shortEdge(w, h, t.Resize[0])
		default:
			p.rw, p.rh = keepRatio(w, h, t.Resize, math.Min)
		}
	case FitSquash:
		p.rw, p.rh = t.Resize[1], t.Resize[0]
	case FitLong:
		p.rw, p.rh = keepRatio(w, h, t.Resize, math.Max)
		for c, m := range t.Mean {
			p.fill[c] = clip(int(math.RoundToEven(255 * float64(m))))
		}
	case FitNone:
		if h != t.Size[0] || w != t.Size[1] {
			return plan{}, fmt.Errorf("patch: without preprocessing: want %d×%d pixels, found %d×%d: %w", t.Size[1], t.Size[0], w, h, ErrShape)
		}
	}
	if p.rw == w && p.rh == h && p.how.how == "" {
		p.how.how = Nearest // nothing is resized; the filter does not matter
	}
	p.crop = window{t.origin(p.rw, t.Size[1]), t.origin(p.rh, t.Size[0]), t.Size[1], t.Size[0]}
	p.inside = p.crop
	p.inside.x, p.inside.w = clamp(p.crop.x, p.crop.w, p.rw)
	p.inside.y, p.inside.h = clamp(p.crop.y, p.crop.h, p.rh)
	return p, nil
}

// shortEdge is torchvision's Resize(size) and HF's shortest_edge: the long
// edge is rounded down.
func shortEdge(w, h, size int) (rw, rh int) {
	if w <= h {
		return size, size * h / w
	}
	return size * w / h, size
}

// boundedEdges is transformers' shortest_edge with a longest_edge
// (image_transforms.py, get_size_with_aspect_ratio): where the long edge would
// pass it, both are smaller.
func boundedEdges(w, h, size, longest int) (rw, rh int) {
	short, long := float64(min(w, h)), float64(max(w, h))
	exact := float64(size)
	if long/short*exact > float64(longest) {
		exact = float64(longest) * short / long
		size = int(math.RoundToEven(exact))
	}
	size = max(size, 1)
	switch {
	case min(w, h) == size:
		return w, h
	case w < h:
		return size, max(1, int(exact*float64(h)/float64(w)))
	}
	return max(1, int(exact*float64(w)/float64(h))), size
}

// keepRatio is timm's ResizeKeepRatio: one ratio for both edges, each rounded
// half to even. An edge of a ribbon that would vanish stays one pixel wide.
func keepRatio(w, h int, resize [2]int, pick func(a, b float64) float64) (rw, rh int) {
	ratio := pick(float64(h)/float64(resize[0]), float64(w)/float64(resize[1]))
	edge := func(v int) int { return max(1, int(math.RoundToEven(float64(v)/ratio))) }
	return edge(w), edge(h)
}

// origin is where the middle crop of size begins on an edge; negative where
// the edge is shorter and is padded.
func (t Transform) origin(edge, size int) int {
	margin := edge - size
	if t.Rounding == RoundFloor {
		return margin >> 1 // rounds down, also below zero
	}
	if margin < 0 {
		return -(-margin / 2) // torchvision pads margin // 2 before
	}
	return int(math.RoundToEven(float64(margin) / 2))
}

// clamp cuts [at, at+n) down to [0, edge).
func clamp(at, n, edge int) (int, int) {
	lo, hi := max(at, 0), min(at+n, edge)
	return lo, hi - lo
}

func (p plan) geometry(w, h, orientation int) Geometry {
	sx, sy := float64(w)/float64(p.rw), float64(h)/float64(p.rh)
	return Geometry{
		Photo:       [2]int{w, h},
		Orientation: orientation,
		Input:       [2]int{p.crop.w, p.crop.h},
		Seen:        Rect{X: float64(p.crop.x) * sx, Y: float64(p.crop.y) * sy, W: float64(p.crop.w) * sx, H: float64(p.crop.h) * sy},
		Coverage:    float64(p.inside.w) * float64(p.inside.h) / (float64(p.rw) * float64(p.rh)),
	}
}
