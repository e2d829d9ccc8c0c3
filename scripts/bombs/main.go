// Bombs writes the hostile files of package hostile into a folder, one of each
// kind, to be sent to a server or read by any other decoder:
//
//	go run ./scripts/bombs -out /tmp/bombs           # of 49 megapixels and 2 MiB
//	go run ./scripts/bombs -out /tmp/bombs -small    # of 0.4 megapixels and 48 KiB
//
// The same seed gives the same files; each seed has other sizes and values.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitserve/vitserve/internal/hostile"
)

func main() {
	out := flag.String("out", "bombs", "folder to write to")
	seed := flag.Uint64("seed", 1, "of the sizes and values")
	small := flag.Bool("small", false, "small files, for tests")
	flag.Parse()
	if err := write(*out, *seed, *small); err != nil {
		fmt.Fprintln(os.Stderr, "bombs:", err)
		os.Exit(1)
	}
}

func write(dir string, seed uint64, small bool) error {
	budget := hostile.Full
	if small {
		budget = hostile.Small
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, a := range hostile.Bombs(seed, budget) {
		name := strings.NewReplacer(" ", "_", ",", "").Replace(a.Kind) + "." + a.Format
		if err := os.WriteFile(filepath.Join(dir, name), a.Data, 0o644); err != nil {
			return err
		}
		kind := "broken"
		if a.Whole {
			kind = "whole"
		}
		fmt.Printf("%-6s %9d bytes  %s  %s\n", kind, len(a.Data), a.Format, a.Kind)
	}
	return nil
}
