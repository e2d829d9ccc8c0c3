package cli

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/models/hub"
)

// modelList is what models --json writes.
type modelList struct {
	Embedded []string       `json:"embedded"`
	Cache    string         `json:"cache"`
	Cached   []cachedModel  `json:"cached"`
	Presets  []string       `json:"presets"`
	Families []familyOfList `json:"families"`
}

type cachedModel struct {
	Name  string `json:"name"`
	Dir   string `json:"dir,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
	Error string `json:"error,omitempty"`
}

type familyOfList struct {
	Name    string   `json:"name"`
	Library string   `json:"library"`
	Types   []string `json:"model_types,omitempty"`
}

func newModels() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "models",
		Short: "List the models there are, and how to get more",
		Long: `List the models that --model takes by name: those inside the program, those in the
Hugging Face hub's cache of this machine, and the families that load. It asks nobody.`,
		Example: `  vitserve models
  vitserve classify --model google/vit-base-patch16-224 photo.jpg
  vitserve models --json`,
		Args: exactly(0, "arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := listModels()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), l)
			}
			return l.show(cmd)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write one JSON object")
	return cmd
}

func listModels() (*modelList, error) {
	l := &modelList{Embedded: models.Embedded(), Cached: []cachedModel{}}
	client, err := hub.FromEnv()
	if err != nil {
		return nil, err
	}
	l.Cache = client.Cache
	entries, err := client.List()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		m := cachedModel{Name: e.Name, Dir: e.Dir, Bytes: e.Bytes}
		if e.Err != nil {
			m.Error = words.Plain(e.Err)
		}
		l.Cached = append(l.Cached, m)
	}
	for _, p := range models.Presets() {
		l.Presets = append(l.Presets, p.Name)
	}
	for _, f := range models.Families() {
		l.Families = append(l.Families, familyOfList(f))
	}
	return l, nil
}

// show writes for people.
func (l *modelList) show(cmd *cobra.Command) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "Inside the program:")
	for _, name := range l.Embedded {
		fmt.Fprintf(w, "  %s\t--model %s\n", name, name)
	}
	fmt.Fprintf(w, "\nIn the hub's cache, %s:\n", printable(l.Cache))
	for _, m := range l.Cached {
		if m.Error != "" {
			fmt.Fprintf(w, "  %s\tnot whole (%s): vitserve pull %s\n", m.Name, printable(m.Error), m.Name)
			continue
		}
		fmt.Fprintf(w, "  %s\t%s\t--model %s\n", m.Name, size(m.Bytes), m.Name)
	}
	if len(l.Cached) == 0 {
		fmt.Fprintln(w, "  none yet")
	}
	fmt.Fprintln(w, `
From the hub, fetched when they are first asked for:
  --model google/vit-base-patch16-224
  --model timm/deit_tiny_patch16_224.fb_in1k
  --model ORG/NAME of any model of a family below with weights in safetensors

Of your own: --model FOLDER with model.safetensors and config.json, or --model FILE.safetensors;
  a .pth or .bin: vitserve convert FILE

Families that load, by the names of their tensors:`)
	for _, f := range l.Families {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", f.Name, f.Library, cmp.Or(strings.Join(f.Types, ", "), "any"))
	}
	fmt.Fprintln(w, "\nArchitectures without weights, for vitserve bench --preset:")
	fmt.Fprintf(w, "  %s\n", strings.Join(l.Presets, "\n  "))
	return w.Flush()
}
