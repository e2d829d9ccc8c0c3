package models_test

import (
	"fmt"
	"log"

	"github.com/vitserve/vitserve/backend/ref"
	"github.com/vitserve/vitserve/models"
)

// A checkpoint is opened by the name of an embedded model, or by a folder or
// a file, and says what it is.
func ExampleOpen() {
	c, err := models.Open("starter", models.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	rows, cols := c.Config.Grid()
	fmt.Printf("%d classes, %d layers of %d heads over %d×%d patches\n", c.Config.Classes, c.Config.Depth, c.Config.Heads, rows, cols)
	fmt.Println(c.Labels[:3])
	// Output:
	// 20 classes, 6 layers of 3 heads over 8×8 patches
	// [goldfish koala jellyfish]
}

// A checkpoint becomes a model on a backend. ref is the one to be read; a
// program imports backend/cpu and asks backend.Open for it.
func ExampleCheckpoint_Model() {
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
	fmt.Println(m.Backend().Name(), "computes with width", m.Config().Dim)
	// Output:
	// ref computes with width 192
}

// Logits become labels, the best first.
func ExampleCheckpoint_Top() {
	c, err := models.Open("starter", models.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	logits := make([]float32, c.Config.Classes)
	logits[2], logits[0] = 5, 4
	for _, p := range c.Top(logits, 2, 0) {
		fmt.Printf("%s %.2f\n", p.Label, p.Score)
	}
	// Output:
	// jellyfish 0.67
	// goldfish 0.25
}

// A preset is a published model's configuration, by the name it has in timm.
func ExampleFindPreset() {
	p, err := models.FindPreset("deit_tiny_patch16_224")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Config.Dim, p.Config.Depth, p.Config.Heads)
	// Output:
	// 192 12 3
}
