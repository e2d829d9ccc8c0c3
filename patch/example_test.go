package patch_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

// imagenet is how most models of 224 pixels want their photos.
var imagenet = patch.Transform{
	Size: [2]int{224, 224}, Fit: patch.FitShort, Resize: [2]int{256, 256}, Interpolation: patch.Bicubic,
	Mean: [3]float32{0.485, 0.456, 0.406}, Std: [3]float32{0.229, 0.224, 0.225},
}

// A photo becomes a model's input: pixels (3, H, W) in 0 to 1, and the way
// back to the photo.
func ExampleTransform_PhotoPixels() {
	data, err := os.ReadFile("../testdata/images/banana.jpg")
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	photo, err := patch.Decode(ctx, data, patch.Options{})
	if err != nil {
		log.Fatal(err)
	}
	pixels := tensor.New(tensor.WithShape(3, 224, 224), tensor.Of(tensor.Float32))
	g, err := imagenet.PhotoPixels(ctx, pixels, photo)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(photo.Image.Bounds().Size(), "becomes", pixels.Shape())
	fmt.Printf("the model sees %.0f %% of the photo\n", 100*g.Coverage)
	// Output:
	// (320,240) becomes (3, 224, 224)
	// the model sees 57 % of the photo
}

// A patch of the model's grid has its place in the photo's own pixels.
func ExampleGeometry_Cell() {
	g := patch.Geometry{
		Photo: [2]int{640, 480}, Orientation: 1, Input: [2]int{224, 224},
		Seen: patch.Rect{X: 80, W: 480, H: 480}, // the middle square
	}
	cell := g.Cell(0, 13, 14, 14)
	fmt.Printf("%.1f×%.1f pixels from (%.1f, %.1f)\n", cell.W, cell.H, cell.X, cell.Y)
	// Output:
	// 34.3×34.3 pixels from (525.7, 0.0)
}

// Positions learnt for one grid serve another: a model of 2×2 patches looks
// at 2×4.
func ExampleResamplePos() {
	pos := tensor.New(tensor.WithShape(4, 1), tensor.WithBacking([]float32{0, 1, 2, 3}))
	wide := patch.ResamplePos(pos, [2]int{2, 2}, [2]int{2, 4}, patch.PosTimm)
	fmt.Println(wide.Shape())
	// Output:
	// (8, 1)
}
