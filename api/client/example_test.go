package client_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"

	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/client"
)

// serve serves the model inside the binary on an address of this machine.
func serve() (url string, stop func()) {
	cfg := api.DefaultConfig()
	cfg.Logger = slog.New(slog.DiscardHandler)
	s, err := api.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Preload(context.Background()); err != nil {
		log.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	return srv.URL, func() {
		srv.Close()
		if err := s.Close(); err != nil {
			log.Fatal(err)
		}
	}
}

func readPhoto(name string) client.Picture {
	data, err := os.ReadFile("../../testdata/images/" + name)
	if err != nil {
		log.Fatal(err)
	}
	return client.Picture{Name: name, Data: data}
}

// What is in several photos, in one request. A broken one is an error of its
// own.
func ExampleClient_Classify() {
	url, stop := serve()
	defer stop()
	c, err := client.New(url, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	answer, err := c.Classify(context.Background(), client.Params{"top_k": {"1"}}, readPhoto("banana.jpg"), readPhoto("broken.jpg"))
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range answer.Results {
		if r.Error.Status != 0 {
			fmt.Println(r.Image, r.Error.Status, r.Error.Title)
			continue
		}
		best := (*r.Predictions)[0]
		fmt.Printf("%s %.4f %s\n", r.Image, best.Score, best.Label)
	}
	// Output:
	// banana.jpg 0.7068 banana
	// broken.jpg 400 Bad Request
}

// Where the model looked, as a picture.
func ExampleClient_ExplainAs() {
	url, stop := serve()
	defer stop()
	c, err := client.New(url, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	file, err := c.ExplainAs(context.Background(), "png", client.Params{"method": {"relevance"}}, readPhoto("school_bus.png"))
	if err != nil {
		log.Fatal(err)
	}
	overlay, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(overlay.Bounds().Size())
	// Output:
	// (320,240)
}
