package focus

import (
	"fmt"
	"image"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/vitserve/vitserve/patch"
)

// Style is how an overlay looks. The zero value is the default.
type Style struct {
	Colors   string     // one of Colors; "": turbo, of a map with signs diverging
	Alpha    float64    // opacity of the map over the photo, 0 to 1; 0: the default
	Upsample Upsampling // of the cells to pixels; "": bilinear
	Clip     float64    // percentile of the values that the strongest colour begins at, 50 to 100 (none); 0: DefaultClip
	Plain    bool       // what the model did not see is dark and not hatched
	Compat   string     // "vit-explain": that program's picture, see Overlay; "": ours
}

// DefaultClip lets at most two of a hundred patches be beyond the scale, so that
// one hot patch does not take all of the colours.
const DefaultClip = 98

// DefaultAlpha is the opacity of the highest value of a map over the photo.
const DefaultAlpha = 0.65

// faint is the opacity of the lowest value, as a share of that of the
// highest: where the model did not look the photo should be seen.
const faint = 0.45

// Check says what of s is impossible, naming what is allowed.
func (s Style) Check() error {
	if _, err := findColors(s.Colors); err != nil {
		return err
	}
	switch {
	case !(s.Alpha >= 0 && s.Alpha <= 1):
		return badOption("alpha", s.Alpha, "0 to 1")
	case s.Clip != 0 && !(s.Clip >= 50 && s.Clip <= 100):
		return badOption("clip", s.Clip, "50 to 100")
	case s.Upsample != "" && !slices.Contains(Upsamplings(), string(s.Upsample)):
		return badOption("upsampling", s.Upsample, Upsamplings()...)
	case s.Compat != "" && s.Compat != VitExplain:
		return badOption("compat", s.Compat, VitExplain)
	case s.Compat == VitExplain && s != (Style{Compat: VitExplain}):
		return fmt.Errorf("attention: %w: the style %s brings its own colours, opacity and upsampling", ErrOption, VitExplain)
	}
	return nil
}

// Overlay lays a map over the photo, in the photo's own pixels; what the model did
// not see is marked: grey, dark and hatched. Its share is 1 - g.Coverage.
//
// The map's scale takes the colours of the whole table, and
// opacity grows with the value up to Alpha. A map with negative values, which
// speak against a class, has zero in the table's middle, and opacity grows from
// nothing there with the magnitude. Where no colours are named such a map has
// diverging ones, red for and blue against, over the photo in grey, so that
// they are seen on any photo. The photo keeps its brightness. Values beyond
// the scale, see Style.Clip, have the colours of its ends.
// A map that is flat or not finite is refused, as Map.Check does.
//
// With Compat vit-explain the picture is what that program writes: what the
// model saw at the size of its input, plus OpenCV's jet colours of the map divided
// by its maximum, both in [0, 1], divided by the largest sum. Its size is the
// input's.
func Overlay(p *patch.Photo, g patch.Geometry, m *Map, s Style) (*image.NRGBA, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	size := p.Image.Bounds().Size()
	if g.Photo != [2]int{size.X, size.Y} {
		return nil, fmt.Errorf("attention: overlay: want the geometry of a photo of %dx%d, found %dx%d", size.X, size.Y, g.Photo[0], g.Photo[1])
	}
	if !(g.Seen.W > 0 && g.Seen.H > 0) {
		return nil, fmt.Errorf("attention: overlay: want a geometry that shows some of the photo, found %+v", g.Seen)
	}
	if s.Compat == VitExplain {
		return vitExplain(p, g, m)
	}
	l := newLayers(g, m, s, size)
	dst := image.NewNRGBA(image.Rectangle{Max: size})
	eachBand(size.Y, func(lo, hi int) {
		values := make([]float32, l.x1-l.x0)
		for y := lo; y < hi; y++ {
			l.row(dst.Pix[y*dst.Stride:], p.Image.Pix[y*p.Image.Stride:], y, values)
		}
	})
	return dst, nil
}

// layers are what is laid over a photo, row by row.
type layers struct {
	width          int
	x0, x1, y0, y1 int    // the pixels whose centres the model saw
	field          *field // over x0 to x1, values 0 to 255
	cellY          func(y int) float64
	mix            [256]mix
	grey           bool // the photo has no colour
	hatch          int  // period of the hatching, pixels
}

// mix is what one value of a map does to a photo's channel c:
// (keep·c + add) / 2^16.
type mix struct {
	keep uint32
	add  [3]uint32
}

func newLayers(g patch.Geometry, m *Map, s Style, size image.Point) *layers {
	rows, cols := m.Grid()
	l := &layers{width: size.X, hatch: max(8, min(size.X, size.Y)/48)}
	if s.Plain {
		l.hatch = 0
	}
	l.x0, l.x1 = centresWithin(g.Seen.X, g.Seen.W, size.X)
	l.y0, l.y1 = centresWithin(g.Seen.Y, g.Seen.H, size.Y)

	table := s.colorsOf(m)
	alpha := s.Alpha
	if alpha == 0 {
		alpha = DefaultAlpha
	}
	low, _ := m.Range()
	for i := range l.mix {
		a := alpha * (faint + (1-faint)*float64(i)/255)
		if low < 0 {
			a = alpha * math.Abs(2*float64(i)/255-1)
			if l.grey = table == diverging; l.grey {
				// A blue sky would hide blue, so the photo has no colour, and
				// what is near zero is seen, too.
				a = min(1, 1.3*alpha*math.Sqrt(math.Abs(2*float64(i)/255-1)))
			}
		}
		l.mix[i].keep = uint32((1-a)*65536 + 0.5)
		for c, v := range table[i] {
			l.mix[i].add[c] = uint32(a*float64(v)*65536) + 32768 // rounds the sum
		}
	}

	cellX := func(x int) float64 { return (float64(x+l.x0) + 0.5 - g.Seen.X) / g.Seen.W * float64(cols) }
	l.cellY = func(y int) float64 { return (float64(y) + 0.5 - g.Seen.Y) / g.Seen.H * float64(rows) }
	l.field = newField(m.clipped(s, 255), rows, cols, s.Upsample, l.x1-l.x0, cellX, 255)
	return l
}

// centresWithin returns the pixels of n whose centres lie in from to
// from+length.
func centresWithin(from, length float64, n int) (lo, hi int) {
	for lo < n && float64(lo)+0.5 < from {
		lo++
	}
	hi = lo
	for hi < n && float64(hi)+0.5 < from+length {
		hi++
	}
	return lo, hi
}

// row lays row y over src and writes it to dst; values are scratch.
func (l *layers) row(dst, src []byte, y int, values []float32) {
	if y < l.y0 || y >= l.y1 {
		l.unseen(dst, src, y, 0, l.width)
		return
	}
	l.unseen(dst, src, y, 0, l.x0)
	l.unseen(dst, src, y, l.x1, l.width)
	l.field.row(values, l.cellY(y))
	d, p := dst[4*l.x0:4*l.x1], src[4*l.x0:4*l.x1]
	for _, v := range values {
		k := &l.mix[uint8(v+0.5)]
		if l.grey {
			y := 77*uint32(p[0]) + 150*uint32(p[1]) + 29*uint32(p[2]) // luma, in 256ths
			for c := range 3 {
				d[c] = uint8((k.keep*(y/256) + k.add[c]) >> 16)
			}
			d[3] = 255
			d, p = d[4:], p[4:]
			continue
		}
		d[0] = uint8((k.keep*uint32(p[0]) + k.add[0]) >> 16)
		d[1] = uint8((k.keep*uint32(p[1]) + k.add[1]) >> 16)
		d[2] = uint8((k.keep*uint32(p[2]) + k.add[2]) >> 16)
		d[3] = 255
		d, p = d[4:], p[4:]
	}
}

// unseen greys, darkens and hatches pixels from to to of a row.
func (l *layers) unseen(dst, src []byte, y, from, to int) {
	for x := from; x < to; x++ {
		p := src[4*x : 4*x+3]
		// Luma of ITU-R BT.601, in 256ths, at two fifths of its brightness.
		v := (77*uint32(p[0]) + 150*uint32(p[1]) + 29*uint32(p[2])) * 2 / (5 * 256)
		if l.hatch > 0 && (x+y)%l.hatch < max(1, l.hatch/8) {
			v += 48
		}
		d := dst[4*x : 4*x+4]
		d[0], d[1], d[2], d[3] = uint8(v), uint8(v), uint8(v), 255
	}
}

// Scale returns the values that the first and the last colour of a picture
// stand for. Of a map with signs zero is in the middle.
func (m *Map) Scale(s Style) (low, high float64) {
	l, h := m.Range()
	low, high = float64(l), float64(h)
	v := slices.Clone(m.Values.Float32s())
	if low < 0 {
		for i := range v {
			v[i] = max(v[i], -v[i])
		}
		high = max(high, -low)
	}
	clip := s.Clip
	if clip == 0 {
		clip = DefaultClip
	}
	if s.Compat != "" {
		clip = 100
	}
	slices.Sort(v)
	if top := float64(v[len(v)-1-int(float64(len(v))*(1-clip/100)+1e-9)]); top > max(low, 0) || top > low && low >= 0 {
		high = top
	}
	if low < 0 {
		low = -high
	}
	return low, high
}

// clipped returns the values stretched to 0 to high over the map's scale;
// those beyond it are at its ends.
func (m *Map) clipped(s Style, high float32) []float32 {
	l, h := m.Scale(s)
	out := slices.Clone(m.Values.Float32s())
	for i, v := range out {
		out[i] = float32(min(max((float64(v)-l)/(h-l), 0), 1) * float64(high))
	}
	return out
}

// scaled returns the values stretched to 0 to high; zero is in the middle if
// some are negative.
func (m *Map) scaled(high float32) []float32 {
	l, h := m.Range()
	lowest, highest := float64(l), float64(h) // the span may be beyond float32
	if lowest < 0 {
		highest = max(highest, -lowest)
		lowest = -highest
	}
	out := slices.Clone(m.Values.Float32s())
	for i, v := range out {
		out[i] = float32((float64(v) - lowest) / (highest - lowest) * float64(high))
	}
	return out
}

// eachBand calls f for bands of rows that cover 0 to n, at once on as many
// goroutines as there are processors.
func eachBand(n int, f func(lo, hi int)) {
	bands := min(runtime.GOMAXPROCS(0), n/64+1)
	var wg sync.WaitGroup
	for i := range bands {
		wg.Go(func() { f(n*i/bands, n*(i+1)/bands) })
	}
	wg.Wait()
}
