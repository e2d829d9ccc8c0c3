package vit_test

import (
	"fmt"
	"log"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// small is a model of 16 patches and a class token with random weights.
func small() *vit.Session {
	c := vit.Config{
		Image: [2]int{32, 32}, Patch: [2]int{8, 8}, Prefix: 1, Dim: 24, Depth: 2, Heads: 3, Hidden: 96,
		Act: backend.GELU, Eps: 1e-6, Pool: []backend.Span{{Lo: 0, Hi: 1}}, Classes: 10,
	}
	m, err := vit.New(ref.Backend{}, c, vit.Random(c, 1))
	if err != nil {
		log.Fatal(err)
	}
	s, err := m.NewSession(vit.SessionOptions{MaxBatch: 2})
	if err != nil {
		log.Fatal(err)
	}
	return s
}

// A session classifies a batch of pixels (B, 3, H, W) and keeps what is
// wanted beside: here the class token's attention in every block.
func ExampleSession_Forward() {
	s := small()
	defer s.Close()
	pixels := tensor.New(tensor.WithShape(2, 3, 32, 32), tensor.Of(tensor.Float32))
	out, err := s.Forward(pixels, vit.Wants{Features: true, AttnRows: []int{0}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("logits", out.Logits.Shape())
	fmt.Println("features", out.Features.Shape())
	fmt.Println("attention", len(out.Attn), "times", out.Attn[0].Shape())
	// Output:
	// logits (2, 10)
	// features (2, 24)
	// attention 2 times (2, 3, 1, 17)
}

// A trace is derived from a seed down to what is wanted: how a class's logit
// changes with each pixel, and with the attention of the last block.
func ExampleTrace_Backward() {
	s := small()
	defer s.Close()
	t, err := s.Trace(tensor.New(tensor.WithShape(1, 3, 32, 32), tensor.Of(tensor.Float32)), vit.Wants{})
	if err != nil {
		log.Fatal(err)
	}
	g, err := t.Backward(vit.AtLogits(vit.OneHot(10, 7)), vit.GradWants{Pixels: true, Probs: []int{1}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("pixels", g.Pixels.Shape())
	fmt.Println("attention", g.Probs[1].Shape())
	// Output:
	// pixels (1, 3, 32, 32)
	// attention (1, 3, 17, 17)
}

// Logits become probabilities, of one class or of many.
func ExampleScores() {
	logits := []float32{2, 0, -2}
	fmt.Printf("%.2f\n", vit.Scores(logits, vit.Softmax))
	fmt.Printf("%.2f\n", vit.Scores(logits, vit.Sigmoid))
	// Output:
	// [0.87 0.12 0.02]
	// [0.88 0.50 0.12]
}
