package focus_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend/ref"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// A question is asked about a photo, here which patches speak for its best
// class. The model is seen through focus.Model alone.
func ExampleQuestion_Explain() {
	c, err := models.Open("starter", models.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	m, err := c.Model(ref.Backend{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	session, err := m.NewSession(vit.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	ctx := context.Background()
	data, err := os.ReadFile("../../testdata/images/banana.jpg")
	if err != nil {
		log.Fatal(err)
	}
	size := c.Transform.Size
	pixels := tensor.New(tensor.WithShape(3, size[0], size[1]), tensor.Of(tensor.Float32))
	geometry, err := c.Transform.Pixels(ctx, pixels, data, patch.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := pixels.Reshape(1, 3, size[0], size[1]); err != nil {
		log.Fatal(err)
	}

	q, shape := focus.Question{Method: "relevance"}, vitserve.ShapeOf(c.Config)
	if err := q.Check(shape); err != nil {
		log.Fatal(err)
	}
	x, err := q.Explain(ctx, focus.Subject{
		Record: &focus.Record{Shape: shape}, Model: vitserve.View{Session: session}, Pixels: pixels,
	})
	if err != nil {
		log.Fatal(err)
	}
	found := x.Maps[0]
	peak := found.Map.Summary(geometry).Peak
	fmt.Println(found.Method.Name, "for", c.Labels[found.Target.Class])
	fmt.Printf("strongest at %.0f×%.0f pixels from (%.0f, %.0f)\n", peak.W, peak.H, peak.X, peak.Y)
	// Output:
	// relevance for banana
	// strongest at 30×30 pixels from (128, 180)
}

// Attention that was recorded elsewhere is read without a model.
func ExampleMethod_Map() {
	attn := tensor.New(tensor.WithShape(1, 1, 1, 5), tensor.WithBacking([]float32{0.2, 0.1, 0.1, 0.4, 0.2}))
	record := &focus.Record{
		Shape: focus.Shape{Grid: [2]int{2, 2}, Prefix: 1},
		Attn:  []*tensor.Dense{attn}, Rows: []int{0}, // the class token's row of the only block
	}
	raw, err := focus.Find("raw")
	if err != nil {
		log.Fatal(err)
	}
	m, err := raw.Map(context.Background(), focus.Subject{Record: record}, focus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f, and %.1f on the class token\n", m.Values.Float32s(), m.OnPrefix)
	// Output:
	// [0.1 0.1 0.4 0.2], and 0.2 on the class token
}

// What an answer costs is told before it is asked for, in forward passes.
func ExampleQuestion_Passes() {
	shape := focus.Shape{Grid: [2]int{14, 14}, Patch: [2]int{16, 16}, Prefix: 1, Depth: 12, Heads: 12}
	for _, q := range []focus.Question{{Method: "raw"}, {Method: "relevance"}, {Method: "rise"}, {Method: "raw", Evidence: true}} {
		fmt.Printf("%s %.1f\n", q.Method, q.Passes(shape))
	}
	// Output:
	// raw 1.0
	// relevance 2.4
	// rise 201.0
	// raw 76.0
}

// A map is painted over the photo that it is of.
func ExampleOverlay() {
	data, err := os.ReadFile("../../testdata/images/banana.jpg")
	if err != nil {
		log.Fatal(err)
	}
	photo, err := patch.Decode(context.Background(), data, patch.Options{})
	if err != nil {
		log.Fatal(err)
	}
	size := photo.Image.Bounds().Size()
	geometry := patch.Geometry{
		Photo: [2]int{size.X, size.Y}, Orientation: 1, Input: [2]int{64, 64},
		Seen: patch.Rect{W: float64(size.X), H: float64(size.Y)}, Coverage: 1,
	}
	m := &focus.Map{Values: tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]float32{0, 1, 2, 3}))}
	picture, err := focus.Overlay(photo, geometry, m, focus.Style{Colors: "viridis", Alpha: 0.5})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(picture.Bounds().Size(), "as the photo")
	// Output:
	// (320,240) as the photo
}
