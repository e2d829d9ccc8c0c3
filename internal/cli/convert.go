package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/models"
)

func newConvert() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "convert CHECKPOINT",
		Short: "Turn a PyTorch checkpoint into safetensors",
		Long: `Turn a checkpoint that PyTorch saved (.pth, .pt, .bin) into safetensors. Nothing
that the file holds is executed. Of moving averages and what they are averages of,
the averages are taken; what stands beside weights is left out. The new file appears beside the old one when it
is whole; an existing file is not written over.`,
		Example: `  vitserve convert dino_deitsmall16_pretrain.pth
  vitserve convert pytorch_model.bin -o ./my_model/model.safetensors`,
		Args: exactly(1, "checkpoint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, dst := args[0], output
			if dst == "" {
				dst = strings.TrimSuffix(src, filepath.Ext(src)) + ".safetensors"
			}
			c, err := models.Convert(dst, src)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			from := ""
			if c.Key != "" {
				from = fmt.Sprintf(" under %q", c.Key)
			}
			_, err = fmt.Fprintf(w, "%d tensors%s, %s, in %s\n", c.Tensors, from, size(c.Bytes), printable(dst))
			if err == nil && len(c.Skipped) > 0 {
				_, err = fmt.Fprintf(w, "left out, for they are no tensors: %s\n", printable(strings.Join(c.Skipped, ", ")))
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; default the checkpoint's name with .safetensors")
	return cmd
}
