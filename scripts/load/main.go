// Load shows that a server does not fall over: throughput, tails, overload,
// faults and the end under load. It starts the server itself:
//
//	go build -o vitserve ./cmd/vitserve
//	go run ./scripts/load -server ./vitserve -- --model ./deit_tiny_patch16_224
//
// What comes after -- goes to "vitserve serve". With -taskset the server and
// the clients are kept apart on the machine's cores. docs/serving.md has what
// was measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	server  string
	args    []string
	taskset string
	only    string
	clients int
	length  time.Duration
	over    time.Duration
	faults  int
	write   string
}

// scenarios in the order they are run.
var scenarios = []struct {
	name string
	run  func(context.Context, *bench) error
}{
	{"throughput", throughput},
	{"openloop", openLoop},
	{"mixed", mixed},
	{"overload", overload},
	{"faults", faults},
	{"sigterm", sigterm},
}

func main() {
	var o options
	flag.StringVar(&o.server, "server", "./vitserve", "the program to be loaded")
	flag.StringVar(&o.taskset, "taskset", "", "cores of the server, as taskset -c takes them; none without it")
	flag.StringVar(&o.only, "only", "", "scenarios, separated by commas; all without it")
	flag.IntVar(&o.clients, "clients", 32, "clients of the closed loop")
	flag.DurationVar(&o.length, "length", 20*time.Second, "length of each measurement")
	flag.DurationVar(&o.over, "overload", 5*time.Minute, "length of the overload")
	flag.IntVar(&o.faults, "faults", 10_000, "requests of the crowd that misbehaves")
	flag.StringVar(&o.write, "write", "", "folder for the pictures, so that vitserve bench --images can take the same; nothing else is done then")
	flag.Parse()
	o.args = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	b := &bench{options: o, photos: photos(32)}
	if o.write != "" {
		for i, data := range b.photos {
			if err := os.WriteFile(filepath.Join(o.write, fmt.Sprintf("%02d.jpg", i)), data, 0o644); err != nil {
				return err
			}
		}
		return nil
	}
	fmt.Printf("%d pictures of 640×480, %.0f kB on average; server: %s serve %s\n\n",
		len(b.photos), meanSize(b.photos)/1000, o.server, strings.Join(o.args, " "))
	var failed []string
	for _, s := range scenarios {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+s.name+",") {
			continue
		}
		fmt.Printf("## %s\n", s.name)
		if err := b.scenario(ctx, s.run); err != nil {
			fmt.Printf("FAILED: %v\n", err)
			failed = append(failed, s.name)
		}
		fmt.Println()
	}
	if len(failed) > 0 {
		return errors.New("failed: " + strings.Join(failed, ", "))
	}
	return nil
}

// scenario runs one with a server of its own.
func (b *bench) scenario(ctx context.Context, run func(context.Context, *bench) error) error {
	defer b.kill()
	if err := b.start(ctx); err != nil {
		return err
	}
	return run(ctx, b)
}
