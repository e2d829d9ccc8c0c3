package main

import (
	"bufio"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed worker.py
var program string

//go:embed requirements.txt
var requirements string

// worker is a process that reads and writes pictures with Pillow; it is
// started anew after it died or took too long.
type worker struct {
	python string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	starts int
}

// verdict is what a decoder says of a file.
type verdict struct {
	err           string // "": a picture
	width, height int
	rgb           []byte
	format        string // as Pillow calls it, if it was asked to find it out
	warnings      int    // of Pillow
}

// newWorker returns one of an interpreter that has Pillow, or of one that is
// made.
func newWorker(python string) (*worker, error) {
	if python != "" {
		return &worker{python: python}, nil
	}
	python, err := install()
	return &worker{python: python}, err
}

// install returns the Python of an environment with the pinned Pillow, which
// is made in the user's cache if it is not there.
func install() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "vitserve-pillowfuzz")
	python := filepath.Join(dir, "bin", "python")
	list := filepath.Join(dir, "requirements.txt")
	if have, err := os.ReadFile(list); err == nil && string(have) == requirements {
		return python, nil
	}
	wanted := list + ".wanted"
	for _, args := range [][]string{{"python3", "-m", "venv", dir}, {python, "-m", "pip", "install", "-q", "-r", wanted}} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("%v: %w", args, err)
		}
		if err := os.WriteFile(wanted, []byte(requirements), 0o644); err != nil {
			return "", err
		}
	}
	return python, os.Rename(wanted, list)
}

func (w *worker) start() (err error) {
	w.cmd = exec.Command(w.python, "-c", program)
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	w.out = bufio.NewReaderSize(out, 1<<16)
	w.starts++
	return w.cmd.Start()
}

func (w *worker) stop() {
	if w.cmd != nil {
		_ = w.in.Close()
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
		w.cmd = nil
	}
}

// ask sends a request and reads the answer's letter and what follows it.
func (w *worker) ask(letter byte, parts ...[]byte) (v verdict, file []byte, err error) {
	if w.cmd == nil {
		if err := w.start(); err != nil {
			return v, nil, err
		}
	}
	patience := time.AfterFunc(30*time.Second, func() { _ = w.cmd.Process.Kill() })
	defer func() {
		patience.Stop()
		if err != nil {
			w.stop()
		}
	}()
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	msg := binary.LittleEndian.AppendUint32([]byte{letter}, uint32(n))
	for _, p := range parts {
		msg = append(msg, p...)
	}
	if _, err := w.in.Write(msg); err != nil {
		return v, nil, err
	}
	kind, err := w.out.ReadByte()
	if err != nil {
		return v, nil, err
	}
	number := func() (n int) {
		var b [4]byte
		if err == nil {
			_, err = io.ReadFull(w.out, b[:])
		}
		return int(binary.LittleEndian.Uint32(b[:]))
	}
	bytes := func(n int) []byte {
		out := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(w.out, out)
		}
		return out
	}
	if kind == 'W' {
		said := string(bytes(number()))
		if _, e := fmt.Sscan(said, &v.format, &v.warnings); e != nil {
			return v, nil, fmt.Errorf("answer %q of the worker: %w", said, e)
		}
		if kind, err = w.out.ReadByte(); err != nil {
			return v, nil, err
		}
	}
	switch kind {
	case 'P':
		v.width, v.height = number(), number()
		v.rgb = bytes(3 * v.width * v.height)
	case 'E':
		v.err = string(bytes(number()))
	case 'F':
		file = bytes(number())
	default:
		err = fmt.Errorf("answer %q of the worker", kind)
	}
	return v, file, err
}

// decode is Pillow's verdict. A worker that dies of a file or takes half a
// minute for it is a verdict, too.
func (w *worker) decode(format string, data []byte) verdict {
	v, _, err := w.ask('D', []byte(format), []byte{0}, data)
	if err != nil {
		return verdict{err: died}
	}
	return v
}

// decodeAny is Pillow's verdict about a file of any format, turned upright.
func (w *worker) decodeAny(data []byte) verdict {
	v, _, err := w.ask('O', data)
	if err != nil {
		return verdict{err: died}
	}
	return v
}

const died = "the reference died or took half a minute"

// picture is a picture that Pillow draws and saves.
type picture struct {
	Format  string         `json:"format"`
	Mode    string         `json:"mode"`
	Width   int            `json:"width"`
	Height  int            `json:"height"`
	Seed    uint32         `json:"seed"`
	Options map[string]any `json:"options"`
}

func (w *worker) encode(p picture) ([]byte, error) {
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	v, file, err := w.ask('E', body)
	if err == nil && v.err != "" {
		err = errors.New(v.err)
	}
	return file, err
}
