package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models/hub"
)

// finding is a line of doctor. One that is wrong ends the command with 1.
type finding struct {
	what  string
	text  string
	wrong bool
}

func newDoctor() *cobra.Command {
	var f fetchFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether this machine has what is needed",
		Long: `Look whether this machine has what is needed: the processor and the kernels that
it runs, whether they compute what the plain reference computes, the hub's cache,
whether the hub can be reached, and the limits that the process runs under. What is
wrong ends the command with exit code 1; an unreachable hub is told and is no fault.`,
		Example: `  vitserve doctor
  vitserve doctor --offline`,
		Args: exactly(0, "arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			wrong := false
			for _, look := range []func(context.Context) []finding{
				lookAtProcessor, lookAtAnswers, lookAtCache, f.lookAtHub, lookAtLimits,
			} {
				for _, found := range look(cmd.Context()) {
					mark := "ok   "
					if found.wrong {
						mark, wrong = "WRONG", true
					}
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %-12s %s\n", mark, found.what, printable(found.text)); err != nil {
						return err
					}
				}
			}
			if wrong {
				return errReported
			}
			return nil
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func lookAtProcessor(context.Context) (all []finding) {
	all = append(all, finding{what: "processor", text: fmt.Sprintf("%s/%s, %d threads, %s", runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), cpuFeatures())})
	for _, name := range backendNames("cpu") {
		all = append(all, finding{what: "kernels", text: name})
	}
	if v := os.Getenv("VITSERVE_CPU"); v != "" {
		all = append(all, finding{what: "kernels", text: "VITSERVE_CPU=" + v + " forces them"})
	}
	return all
}

// lookAtAnswers compares the kernels with the plain reference, on a picture
// that needs no file.
func lookAtAnswers(ctx context.Context) []finding {
	m := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := range m.Pix {
		m.Pix[i] = uint8(i*i/64 + 3*i)
	}
	var file bytes.Buffer
	if err := png.Encode(&file, m); err != nil {
		return []finding{{"answers", words.Plain(err), true}}
	}
	var logits [2][]float32
	var took time.Duration
	for i, name := range []string{"ref", "cpu"} {
		start := time.Now()
		a, err := answerOf(ctx, name, file.Bytes())
		if err != nil {
			return []finding{{"answers", words.Plain(err), true}}
		}
		logits[i], took = a, time.Since(start)
	}
	var most float64
	for i, v := range logits[0] {
		most = max(most, math.Abs(float64(v-logits[1][i])))
	}
	const allowed = 1e-3
	return []finding{{"answers", fmt.Sprintf("starter differs from the plain reference by %.1g at most, want %g; opened and answered in %v", most, allowed, took.Round(time.Millisecond)), !(most <= allowed)}}
}

func answerOf(ctx context.Context, backend string, file []byte) (_ []float32, err error) {
	m, err := lib.Open("", lib.Options{Backend: backend})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	a, err := m.Classify(ctx, lib.Bytes(file))
	if err != nil {
		return nil, err
	}
	return a.Logits, nil
}

func lookAtCache(context.Context) []finding {
	c, err := hub.FromEnv()
	if err != nil {
		return []finding{{"cache", words.Plain(err), true}}
	}
	list, err := c.List()
	if err != nil {
		return []finding{{"cache", words.Plain(err), true}}
	}
	text := fmt.Sprintf("%s, %d models", c.Cache, len(list))
	dir := c.Cache
	for { // the nearest folder that is there
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			break
		}
		if up := filepath.Dir(dir); up != dir {
			dir = up
			continue
		}
		return []finding{{"cache", text + ": no such disk", true}}
	}
	probe, err := os.CreateTemp(dir, ".vitserve-doctor-*")
	if err != nil {
		return []finding{{"cache", fmt.Sprintf("%s; cannot be written, set HF_HOME to a folder that can: %s", text, words.Plain(err)), true}}
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	return []finding{{"cache", text + ", can be written", false}}
}

func (f *fetchFlags) lookAtHub(ctx context.Context) []finding {
	c, err := hub.FromEnv()
	if err != nil {
		return nil // told of the cache
	}
	at := c.Endpoint
	if at == "" {
		at = hub.DefaultEndpoint
	}
	if f.offline || c.Offline {
		return []finding{{"hub", at + ", not to be asked (--offline or HF_HUB_OFFLINE)", false}}
	}
	ctx, cancel := context.WithTimeout(ctx, reachable)
	defer cancel()
	if err := c.Reach(ctx); err != nil {
		return []finding{{"hub", fmt.Sprintf("%s cannot be reached, so no model can be fetched: %s", at, words.Plain(err)), false}}
	}
	token := "without a token"
	if c.Token != "" {
		token = "with a token"
	}
	return []finding{{"hub", fmt.Sprintf("%s, can be reached, %s", at, token), false}}
}

func lookAtLimits(context.Context) (all []finding) {
	limit := debug.SetMemoryLimit(-1)
	text := "no limit set (GOMEMLIMIT)"
	if limit < math.MaxInt64 {
		text = fmt.Sprintf("GOMEMLIMIT %s", size(limit))
	}
	all = append(all, finding{what: "memory", text: text})
	if n, ok := openFiles(); ok {
		all = append(all, finding{"files", fmt.Sprintf("%d may be open at once, want 256 or more for a server", n), n < 64})
	}
	dir, err := os.MkdirTemp("", "vitserve-doctor-")
	if err != nil {
		return append(all, finding{"temporary", words.Plain(err), true})
	}
	defer os.RemoveAll(dir)
	return append(all, finding{"temporary", os.TempDir() + ", can be written", false})
}
