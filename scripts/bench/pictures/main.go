// Pictures decodes the files that are named and prints what each takes of the
// processor, in milliseconds: the best of many rounds of three. pictures.py
// builds it with two commits of package patch and compares them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vitserve/vitserve/patch"
)

func main() {
	rounds := flag.Int("rounds", 5, "of which the best counts")
	flag.Parse()
	for _, path := range flag.Args() {
		if err := measure(path, *rounds); err != nil {
			fmt.Fprintln(os.Stderr, "pictures:", err)
			os.Exit(1)
		}
	}
}

func measure(path string, rounds int) error {
	const together = 3
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	best := time.Hour
	for range rounds {
		before, err := spent()
		if err != nil {
			return err
		}
		for range together {
			if _, err := patch.Decode(context.Background(), data, patch.Options{}); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		after, err := spent()
		if err != nil {
			return err
		}
		best = min(best, after-before)
	}
	fmt.Printf("%s %.3f\n", filepath.Base(path), best.Seconds()*1000/together)
	return nil
}

// spent is the processor time of this process.
func spent() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
