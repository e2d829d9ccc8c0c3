package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/models/hub"
)

func newPull() *cobra.Command {
	return &cobra.Command{
		Use:   "pull ORG/NAME",
		Short: "Bring a model from the Hugging Face hub into its cache",
		Long: `Bring a model from the Hugging Face hub into the hub's own cache on this machine,
where --model ORG/NAME finds it, as do Python programs. What is there already is
not fetched again, what was interrupted goes on, and every file is checked by its
hash. A revision stands behind an @: a branch, a tag or a commit.

HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_ENDPOINT and HF_HUB_OFFLINE
mean what they mean to the hub's own programs.`,
		Example: `  vitserve pull timm/vit_base_patch16_224.augreg2_in21k_ft_in1k
  vitserve pull google/vit-base-patch16-224@main
  vitserve classify --model google/vit-base-patch16-224 photo.jpg`,
		Args: exactly(1, "model"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, revision, _ := strings.Cut(args[0], "@")
			if !hub.IsName(name) {
				return usageError{fmt.Errorf("%q is no model of the hub, want ORG/NAME", name)}
			}
			client, err := hub.FromEnv()
			if err != nil {
				return err
			}
			bars := downloads{stderr: cmd.ErrOrStderr()}
			client.Progress = bars.report
			dir, err := client.Pull(cmd.Context(), name, revision)
			bars.end()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), dir)
			return err
		},
	}
}

// downloads shows one file after the other: a bar on a terminal, a line for
// each file elsewhere and on a dumb one.
type downloads struct {
	stderr io.Writer
	file   string
	bar    *progressbar.ProgressBar
}

func (d *downloads) report(file string, done, total int64) {
	if file != d.file {
		d.end()
		d.file = file
		if isLively(d.stderr) {
			d.bar = progressbar.NewOptions64(total,
				progressbar.OptionSetWriter(d.stderr),
				progressbar.OptionSetDescription(printable(file)),
				progressbar.OptionShowBytes(true),
				progressbar.OptionSetWidth(30),
			)
		}
	}
	if d.bar != nil {
		_ = d.bar.Set64(done) // a terminal that cannot be written to is no reason to stop
	} else if done == total {
		fmt.Fprintf(d.stderr, "%s: %s\n", printable(file), size(total))
	}
}

// end leaves the line of the last bar.
func (d *downloads) end() {
	if d.bar != nil {
		fmt.Fprintln(d.stderr)
		d.bar = nil
	}
}
