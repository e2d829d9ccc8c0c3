package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/score"
)

// Exit codes. Those of signals are the shell's convention: 128 + SIGINT.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError is a command line that was typed wrong, as opposed to one that
// failed: it is answered with a hint at the help and exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errReported ends a command that has told its errors already.
var errReported = errors.New("reported")

// Run runs the command line args (without the program's name) and returns the
// exit code. A cancelled ctx ends it cleanly.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, stores ...score.Stores) int {
	root := newRoot(stores...)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	stderr = &hasty{stderr}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		fmt.Fprintln(stderr, "vitserve: interrupted")
		return exitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "vitserve: %s\nSee: %s --help\n", printableError(err), cmd.CommandPath())
		return exitUsage
	case errors.Is(err, errReported):
		return exitFailed
	}
	fmt.Fprintf(stderr, "vitserve: %s\n", printableError(err))
	if errors.Is(err, score.ErrHopeless) {
		return exitHopeless
	}
	return exitFailed
}

func newRoot(stores ...score.Stores) *cobra.Command {
	root := &cobra.Command{
		Use:   "vitserve",
		Short: "Recognise images with Vision Transformers",
		Long: `vitserve recognises what is in photos with Vision Transformers, by command line
and over HTTP, and shows where the model looked.

A model is a folder, a file, or the name of one inside the program; without
--model the small default model inside the program answers.`,
		Example: `  vitserve classify photo.jpg
  vitserve explain photo.jpg -o overlay.png
  vitserve serve --addr :8080`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usageError{fmt.Errorf("unknown command %q%s", args[0], words.DidYouMean(args[0], commandNames(cmd)...))}
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asked, err := cmd.Flags().GetBool("version"); asked && err == nil {
				return sayVersion(cmd.OutOrStdout(), "cpu")
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetGlobalNormalizationFunc(flagName)
	root.Flags().Bool("version", false, "say what this program is, as vitserve version does")
	root.AddCommand(newClassify(), newExplain(), newEmbed(), newServe(), newEval(), newScore(stores...), newRobust(), newCorrupt(), newBench(), newInspect(), newConvert(), newPull(), newModels(), newDoctor(), newVersion())
	completeValues(root)
	return root
}

func commandNames(cmd *cobra.Command) (names []string) {
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return names
}

// atLeast wants n arguments or more; what says of what.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError{fmt.Errorf("no %s given", what)}
		}
		return nil
	}
}

// exactly wants n arguments; what says of what.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("want %d %s, found %d arguments", n, what, len(args))}
		}
		return nil
	}
}

// hasty is where the last words of a command go. If nobody takes them the
// process ends all the same.
type hasty struct{ to io.Writer }

// Write is of io.Writer. It waits for a moment only.
func (h *hasty) Write(p []byte) (int, error) {
	done := make(chan struct{})
	words := bytes.Clone(p)
	go func() {
		defer close(done)
		_, _ = h.to.Write(words)
	}()
	late := time.NewTimer(lastLines)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
	return len(p), nil
}
