// Load shows that a server does not fall over: throughput, tails, overload,
// faults, bombs and the end under load. It starts the server itself:
//
//	go build -o vitserve ./cmd/vitserve
//	go run ./scripts/load -server ./vitserve -doc docs/lab/load.md -- --model ./deit_tiny_patch16_224
//
// What comes after -- goes to "vitserve serve", and of it the model, precision
// and threads to "vitserve bench". -prefix goes before both: "nice -n 5" lets
// the clients go first, as those on another machine would, and "taskset -c 0"
// keeps them apart. It prints a table of what is wanted and what was found,
// ends with 1 where a bound is broken, and takes about twenty minutes; those of
// bombs alone are
//
//	go run ./scripts/load -only bombs,costs -table bombs -server ./vitserve -doc docs/lab/load.md -- --model ./deit_tiny_patch16_224
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	server  string
	args    []string
	prefix  string
	only    string
	clients int
	length  time.Duration
	over    time.Duration
	faults  int
	crowd   int
	bombs   int
	small   bool
	from    string
	formats string
	write   string
	doc     string
	marks   string
	command string // that this is, for the table
}

// scenarios in the order they are run.
var scenarios = []struct {
	name string
	run  func(context.Context, *bench) error
}{
	{"throughput", throughput},
	{"dialects", dialects},
	{"openloop", openLoop},
	{"mixed", mixed},
	{"overload", overload},
	{"faults", faults},
	{"sigterm", sigterm},
	{"bombs", bombs},
	{"costs", costs},
}

func main() {
	var o options
	flag.StringVar(&o.server, "server", "./vitserve", "the program to be loaded")
	flag.StringVar(&o.prefix, "prefix", "", "what goes before the server's command")
	flag.StringVar(&o.only, "only", "", "scenarios, separated by commas; all without it")
	flag.IntVar(&o.clients, "clients", 32, "clients of the closed loop")
	flag.DurationVar(&o.length, "length", 20*time.Second, "length of each measurement")
	flag.DurationVar(&o.over, "overload", 5*time.Minute, "length of the overload")
	flag.IntVar(&o.faults, "faults", 10_000, "requests of the crowd that misbehaves")
	flag.IntVar(&o.crowd, "crowd", 3000, "requests of each dialect, a third of whose clients hang up")
	flag.IntVar(&o.bombs, "bombs", 200, "hostile requests, two a second")
	flag.BoolVar(&o.small, "small", false, "hostile files are small")
	flag.StringVar(&o.from, "from", "", "address that bombs come from, as 127.0.0.2; that of the honest clients without it")
	flag.StringVar(&o.formats, "formats", "", "of hostile files, separated by commas; all without it")
	flag.StringVar(&o.write, "write", "", "folder for the pictures, so that vitserve bench --images can take the same; nothing else is done then")
	flag.StringVar(&o.doc, "doc", "", "document that the table is written into, between its marks")
	flag.StringVar(&o.marks, "table", "load", "marks in the document between which the table is written: load, bombs or dialects")
	flag.Parse()
	o.args = flag.Args()
	o.command = "go run ./scripts/load " + strings.Join(os.Args[1:], " ")
	debug.SetGCPercent(400) // the clients' work is the server's loss
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	b := &bench{options: o, photos: photos(32), loadBefore: loadAverage()}
	begin := time.Now()
	if o.write != "" {
		return b.writePhotos(o.write)
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
			b.hold(false, s.name, "measured", "%v", err)
		}
		fmt.Println()
	}
	table := b.table(time.Since(begin))
	fmt.Print(table)
	if o.doc != "" {
		if err := writeTable(o.doc, o.marks, table); err != nil {
			return err
		}
	}
	for _, r := range b.bounds {
		if r.broken {
			failed = append(failed, r.what)
		}
	}
	if len(failed) > 0 {
		return errors.New("broken: " + strings.Join(failed, "; "))
	}
	return nil
}

// writePhotos writes the pictures into a folder.
func (b *bench) writePhotos(dir string) error {
	for i, data := range b.photos {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.jpg", i)), data, 0o644); err != nil {
			return err
		}
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
