package vitserve_test

import (
	"context"
	"fmt"
	"image"
	"log"
	"os"
	"path/filepath"

	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/vit"
)

// What is in a photo, by the model inside the binary.
func ExampleOpen() {
	m, err := vitserve.Open("starter")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	a, err := m.Classify(context.Background(), vitserve.File("testdata/images/banana.jpg"))
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range a.Predictions[:2] {
		fmt.Printf("%.4f %s\n", p.Score, p.Label)
	}
	// Output:
	// 0.7068 banana
	// 0.0711 sports car
}

// A picture that is in memory, and options.
func ExampleModel_Classify() {
	m, err := vitserve.Open("", vitserve.Options{Precision: "auto", Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	gray := image.NewGray(image.Rect(0, 0, 200, 100))
	a, err := m.Classify(context.Background(), vitserve.Image(gray))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(a.Predictions), "classes,", a.Geometry.Coverage, "of the picture seen")
	// Output:
	// 20 classes, 0.5 of the picture seen
}

// Where the model looked for a class, as numbers and as a picture.
func ExampleModel_Explain() {
	m, err := vitserve.Open("starter")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	q := vitserve.Question{Classes: []string{"school bus"}}
	q.Method = "relevance"
	x, err := m.Explain(context.Background(), vitserve.File("testdata/images/school_bus.png"), q)
	if err != nil {
		log.Fatal(err)
	}
	peak := x.Maps[0].Map.Summary(x.Geometry).Peak
	overlay, err := x.Draw(focus.OverlayPicture, 0, focus.Style{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(x.Maps[0].Map.Values.Shape(), "values")
	fmt.Printf("strongest at %.0f×%.0f pixels from (%.0f, %.0f) of %v\n", peak.W, peak.H, peak.X, peak.Y, overlay.Bounds().Size())
	// Output:
	// (8, 8) values
	// strongest at 30×30 pixels from (218, 150) of (320,240)
}

// What the model makes of a photo, for search and clustering.
func ExampleModel_Embed() {
	m, err := vitserve.Open("starter")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	data, err := os.ReadFile("testdata/images/orange.jpg")
	if err != nil {
		log.Fatal(err)
	}
	x, err := m.Embed(context.Background(), vitserve.Bytes(data), vit.Embedding{Pool: vit.PoolMean, L2: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(x.Shape())
	// Output:
	// (192)
}

// Many photos: answers come in their order, and a broken one is an error of
// its own.
func ExampleModel_Stream() {
	m, err := vitserve.Open("starter")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	photos := vitserve.Files("testdata/images/banana.jpg", "testdata/images/broken.jpg", "testdata/images/pizza.jpg")
	for r, err := range m.Stream(context.Background(), photos, vitserve.StreamOptions{}) {
		switch {
		case err != nil:
			log.Fatal(err)
		case r.Err != nil:
			fmt.Println(r.Source.Name, "is broken")
		default:
			fmt.Println(r.Source.Name, m.Checkpoint.Top(r.Logits, 1, 0)[0].Label)
		}
	}
	// Output:
	// testdata/images/banana.jpg banana
	// testdata/images/broken.jpg is broken
	// testdata/images/pizza.jpg pizza
}

// How often a model is right about pictures whose class is known: here by a
// table of labels.
func ExampleModel_Evaluate() {
	m, err := vitserve.Open("starter")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	table, err := os.CreateTemp("", "labels-*.csv")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(table.Name())
	fmt.Fprintln(table, "file,label")
	for _, photo := range []string{"banana", "pizza", "orange"} {
		path, err := filepath.Abs("testdata/images/" + photo + ".jpg")
		if err != nil {
			log.Fatal(err)
		}
		if _, err := fmt.Fprintf(table, "%s,%s\n", path, photo); err != nil {
			log.Fatal(err)
		}
	}
	v, err := m.Evaluate(context.Background(), vitserve.Sources(table.Name()), vitserve.StreamOptions{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d pictures, %.0f %% right, %.0f %% among the best five\n", v.All.Pictures, v.Top1, v.Top5)
	// Output:
	// 3 pictures, 100 % right, 100 % among the best five
}
