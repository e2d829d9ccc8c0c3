// Pillowfuzz compares the decoders of package patch with Pillow 13.0.0 on files
// that it makes: seeds of every sampling, scan script and mode, as they are and
// spoilt in ways that know the format's structure.
//
//	go run ./scripts/pillowfuzz -format jpeg -time 1h -out /tmp/findings
//
// Both have to say the same of a file, a picture or an error, or differ for one
// of the reasons listed in reasons.go; pictures have to be the same within the
// bound. What differs otherwise is written to the folder, a few files for each
// cause, with both verdicts, and ends the program with 1. The same -seed makes
// the same files.
//
//	go run ./scripts/pillowfuzz -files folder...
//
// compares them on the files of folders instead, as they are used: upright, with
// the default limits. It prints how many Pillow reads, with and without a
// warning, how many of them are equal, and why the others are refused.
//
// It needs Python 3; Pillow is installed into the user's cache
// unless -python names an interpreter that has it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/vitserve/vitserve/patch"
)

func main() {
	format := flag.String("format", "jpeg", "jpeg, png, gif, bmp, dib, ico, tiff or webp")
	length := flag.Duration("time", time.Minute, "how long")
	seed := flag.Uint64("seed", 1, "of the files")
	python := flag.String("python", "", "interpreter with Pillow 13.0.0; one is made in the cache without it")
	out := flag.String("out", "pillowfuzz-findings", "folder for findings")
	files := flag.Bool("files", false, "compare on the files of the folders that are named, and make none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := func() error {
		ref, err := newWorker(*python)
		if err != nil {
			return err
		}
		defer ref.stop()
		if *files {
			return compareFolders(ctx, flag.Args(), ref)
		}
		return run(ctx, *format, *length, *seed, ref, *out)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pillowfuzz:", err)
		os.Exit(1)
	}
}

// maxPixels is the same for both decoders, so that neither gets slow.
const maxPixels = 1 << 20

func run(ctx context.Context, format string, length time.Duration, seed uint64, ref *worker, out string) error {
	src, err := newSource(format, ref)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 15))
	if v := ref.decode(format, src.bombs[0]); v.err == died {
		return errors.New("the worker does not run: see above")
	}
	r := newReport(format, out)
	begin := time.Now()
	last := begin
	for time.Since(begin) < length && ctx.Err() == nil {
		file, from := src.next(rng)
		good := file
		for range 6 {
			if readable := r.judge(file, from, decode(file), ref.decode(format, file)); readable {
				good = file // what one of them reads is spoilt further
			}
			file, from = mutate(rng, format, good), "spoilt"
		}
		if time.Since(last) > time.Minute {
			last = time.Now()
			fmt.Printf("%v: %s\n", time.Since(begin).Round(time.Second), r.line())
			if err := r.write(); err != nil {
				return err
			}
		}
	}
	if err := r.write(); err != nil {
		return err
	}
	fmt.Printf("%s\n%s", r.line(), r.table(time.Since(begin)))
	if r.findings > 0 {
		return fmt.Errorf("%d files differ for %d causes, see %s", r.findings, len(r.causes), out)
	}
	return nil
}

// decode is the project's verdict on a made file.
func decode(file []byte) verdict {
	return judged(file, patch.Options{MaxPixels: maxPixels, IgnoreEXIF: true})
}

// judged is the project's verdict; a panic is one, too.
func judged(file []byte, o patch.Options) (v verdict) {
	defer func() {
		if p := recover(); p != nil {
			v = verdict{err: fmt.Sprintf("PANIC: %v", p)}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p, err := patch.Decode(ctx, file, o)
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "patch: ")
		if errors.Is(err, patch.ErrSize) && strings.Contains(text, "the limit is") {
			text = tooLarge
		}
		return verdict{err: text}
	}
	b := p.Image.Bounds()
	v = verdict{width: b.Dx(), height: b.Dy(), rgb: make([]byte, 0, 3*b.Dx()*b.Dy())}
	for y := range b.Dy() {
		row := p.Image.Pix[y*p.Image.Stride:]
		for x := range b.Dx() {
			v.rgb = append(v.rgb, row[4*x:4*x+3]...)
		}
	}
	return v
}

// tooLarge is what both say of a file beyond maxPixels.
const tooLarge = "too large"
