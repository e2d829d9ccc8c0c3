// Package external decodes pictures with programs of other people, such as
// heif-convert, avifdec and djxl. Each picture is decoded by a process of its
// own, without a shell, in a private folder, with an environment of its own,
// and within limits on time, memory, what it writes and how many run at the
// same time. A process ends with its caller.
package external

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vitserve/vitserve/patch"
)

// Limits of a program. A zero is that of DefaultLimits.
type Limits struct {
	Timeout time.Duration // of one picture
	Memory  int64         // bytes of address space of one process
	AtOnce  int           // processes at the same time
}

// DefaultLimits are enough for 12 megapixels of what Debian's programs decode.
func DefaultLimits() Limits {
	return Limits{Timeout: 20 * time.Second, Memory: 450_000_000, AtOnce: 2}
}

// Program decodes one kind of picture. It is a patch.Decoder.
type Program struct {
	format string
	name   string   // for people
	path   string   // of the program
	args   []string // with places
	limits Limits
	places chan struct{}
}

// Places in the arguments of a command.
const (
	placeIn  = "{in}"  // the file to be decoded; without it, that is standard input
	placeOut = "{out}" // the file to be written, without an ending; without it, that is standard output
)

// SplitCommand cuts a command into arguments at white space. Nothing is quoted.
func SplitCommand(command string) []string { return strings.Fields(command) }

// New returns a program that decodes a format, patch.HEIC, AVIF or JXL. Its
// command is the program's name or path and its arguments, in which {in} and
// {out} stand for files. It fails where the program is not there, or the
// system knows no such limits.
func New(format string, command []string, l Limits) (*Program, error) {
	bad := func(text string, args ...any) (*Program, error) {
		return nil, fmt.Errorf("external: decoder %s: "+text, append([]any{format}, args...)...)
	}
	d := DefaultLimits()
	if l.Timeout == 0 {
		l.Timeout = d.Timeout
	}
	if l.Memory == 0 {
		l.Memory = d.Memory
	}
	if l.AtOnce == 0 {
		l.AtOnce = d.AtOnce
	}
	switch {
	case format != patch.HEIC && format != patch.AVIF && format != patch.JXL:
		return bad("unknown format, want %s, %s or %s", patch.HEIC, patch.AVIF, patch.JXL)
	case len(command) == 0 || command[0] == "":
		return bad("no command, want a program and its arguments with {in} and {out}")
	case l.Timeout < 0 || l.Memory < 0 || l.AtOnce < 0:
		return bad("timeout %v, memory %d, at once %d, want at least 0", l.Timeout, l.Memory, l.AtOnce)
	case l.Memory < leastMemory:
		return bad("memory %d, want at least %d", l.Memory, int64(leastMemory))
	case !supported:
		return bad("its limits need Linux, this is %s", runtime.GOOS)
	}
	path, err := exec.LookPath(command[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return bad("%v", err)
	}
	return &Program{
		format: format, name: filepath.Base(command[0]), path: path, args: command[1:],
		limits: l, places: make(chan struct{}, l.AtOnce),
	}, nil
}

// What a process may take of its memory: so much, and so much for a pixel
// (djxl takes 18 bytes, heif-convert 8 and avifdec 6), but never more than
// Limits say.
const (
	leastMemory = 16 << 20
	baseMemory  = 150_000_000
	pixelMemory = 24
)

// Bytes implements patch.Decoder.
func (p *Program) Bytes(w, h int) int64 {
	return min(p.limits.Memory, baseMemory+pixelMemory*int64(w)*int64(h))
}

// Decode implements patch.Decoder.
func (p *Program) Decode(ctx context.Context, data []byte, w, h int) (file []byte, err error) {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	folder, err := os.MkdirTemp("", "vitserve-decode-")
	if err != nil {
		return nil, fmt.Errorf("external: %w", err)
	}
	defer os.RemoveAll(folder) // of what cannot be removed nothing else can be done
	// Names are relative to the folder: no message tells where it lies.
	in, out := "in."+p.format, "out"
	if err := os.WriteFile(filepath.Join(folder, in), data, 0o600); err != nil {
		return nil, fmt.Errorf("external: %w", err)
	}
	r := run{p: p, folder: folder, in: in, out: out, memory: p.Bytes(w, h), most: patch.OutsideBytes(w, h)}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	if r.piped {
		return r.stdout.b, nil
	}
	return r.output()
}

// run is one process.
type run struct {
	p       *Program
	folder  string
	in, out string
	memory  int64
	most    int64 // bytes that it may write

	piped  bool // its picture comes by standard output
	stdout capped
	stderr capped
}

// Why a process was ended.
var (
	errTime  = errors.New("took too long")
	errFlood = errors.New("wrote too much")
	errFirst = errors.New("has written the first frame")
)

// run starts the process and waits for its end.
func (r *run) run(parent context.Context) error {
	ctx, stop := context.WithTimeoutCause(parent, r.p.limits.Timeout, errTime)
	defer stop()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	r.stdout, r.stderr = capped{most: r.most, full: func() { end(errFlood) }}, capped{most: 4 << 10}
	// The process ends with the thread that started it, which alone may trace it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, limited, err := r.start(ctx)
	if err != nil {
		return fmt.Errorf("external: %s: %w", r.p.name, err)
	}
	if limited != nil {
		end(limited)
	}
	go r.watch(ctx, end)
	err = cmd.Wait()
	killGroup(cmd.Process.Pid) // what it may have started itself
	switch cause := context.Cause(ctx); {
	case parent.Err() != nil:
		return parent.Err()
	case limited != nil:
		return fmt.Errorf("external: %s: limits: %w", r.p.name, limited)
	case errors.Is(cause, errFirst):
		return nil
	case errors.Is(cause, errTime):
		return fmt.Errorf("%s was not done within %v: %w", r.p.name, r.p.limits.Timeout, patch.ErrSize)
	case errors.Is(cause, errFlood) || tooMuch(cmd.ProcessState):
		return fmt.Errorf("%s wrote more than %d bytes: %w", r.p.name, r.most, patch.ErrSize)
	case err != nil:
		return fmt.Errorf("%s: %w, with %d MB of memory%s: %w", r.p.name, err, r.memory/1e6, r.said(), patch.ErrImage)
	}
	return nil
}

// start starts the process, which waits until it has its limits where the
// system lets this process trace it. limited is why it has none.
func (r *run) start(ctx context.Context) (cmd *exec.Cmd, limited, err error) {
	for _, traced := range []bool{true, false} {
		if cmd, err = r.command(ctx); err != nil {
			return nil, nil, err
		}
		isolate(cmd, traced)
		err = cmd.Start()
		if in, ok := cmd.Stdin.(*os.File); ok {
			in.Close() // the process has its own
		}
		if err == nil {
			return cmd, limit(cmd.Process.Pid, traced, r.memory, r.most), nil
		}
		if !errors.Is(err, os.ErrPermission) {
			break
		}
	}
	return nil, nil, err
}

// command is the process that is to be started.
func (r *run) command(ctx context.Context) (*exec.Cmd, error) {
	places := strings.NewReplacer(placeIn, r.in, placeOut, r.out)
	args, hasIn := make([]string, len(r.p.args)), false
	r.piped = true
	for i, a := range r.p.args {
		args[i] = places.Replace(a)
		hasIn = hasIn || strings.Contains(a, placeIn)
		r.piped = r.piped && !strings.Contains(a, placeOut)
	}
	cmd := exec.CommandContext(ctx, r.p.path, args...)
	cmd.Dir = r.folder
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.folder, "TMPDIR=" + r.folder, "LC_ALL=C",
		"MALLOC_ARENA_MAX=1", // of glibc: an arena a thread would take address space for nothing
	}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = time.Second
	cmd.Stderr = &r.stderr
	if r.piped {
		cmd.Stdout = &r.stdout
	}
	if !hasIn {
		f, err := os.Open(filepath.Join(r.folder, r.in))
		if err != nil {
			return nil, fmt.Errorf("external: %w", err)
		}
		cmd.Stdin = f
	}
	return cmd, nil
}

// watch ends the process when its files take more than they may together.
func (r *run) watch(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		entries, err := os.ReadDir(r.folder)
		if err != nil {
			continue
		}
		if found, err := r.written(); err == nil && len(found) > 1 && r.frames() {
			end(errFirst)
			return
		}
		sum := int64(0)
		for _, e := range entries {
			if info, err := e.Info(); err == nil && e.Name() != r.in {
				sum += info.Size()
			}
		}
		const files = 64
		if sum > r.most || len(entries) > files {
			end(errFlood)
			return
		}
	}
}

// written are the files that the process has written, in the order of their names.
func (r *run) written() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(r.folder, r.out+"*"))
	if err != nil {
		return nil, fmt.Errorf("external: %w", err)
	}
	return found, nil
}

// frames reports whether several files are the frames of an animation, written
// one after the other: what a decoder of JPEG XL makes of one. Other kinds have
// one picture, as patch takes the others out of the file.
func (r *run) frames() bool { return r.p.format == patch.JXL }

// output reads the one file that the process has written, or the first frame.
func (r *run) output() ([]byte, error) {
	found, err := r.written()
	if err != nil {
		return nil, err
	}
	if len(found) > 1 && r.frames() {
		found = found[:1]
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s wrote %d pictures, want one%s: %w", r.p.name, len(found), r.said(), patch.ErrImage)
	}
	info, err := os.Lstat(found[0])
	switch {
	case err != nil:
		return nil, fmt.Errorf("external: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s wrote no plain file: %w", r.p.name, patch.ErrImage)
	case info.Size() > r.most:
		return nil, fmt.Errorf("%s wrote %d bytes, want at most %d: %w", r.p.name, info.Size(), r.most, patch.ErrSize)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		return nil, fmt.Errorf("external: %w", err)
	}
	return data, nil
}

// said is the last line of what the process has said, for a message.
func (r *run) said() string {
	lines := strings.Split(strings.TrimSpace(string(r.stderr.b)), "\n")
	last := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, strings.ToValidUTF8(lines[len(lines)-1], ""))
	if last == "" {
		return ""
	}
	const most = 200
	return ": " + last[:min(len(last), most)]
}

// capped keeps what is written to it, up to most bytes. What is beyond them
// goes away, after full is called if there is one.
type capped struct {
	b    []byte
	most int64
	full func()
}

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	room := c.most - int64(len(c.b))
	if int64(len(p)) > room && c.full != nil {
		c.full()
	}
	c.b = append(c.b, p[:min(int64(len(p)), max(room, 0))]...)
	return len(p), nil
}
