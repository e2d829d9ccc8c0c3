package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/score"
	"github.com/vitserve/vitserve/vit"
)

// values are what a flag may be, for those that are one of few; a shell
// completes them.
func values(flag string) []string {
	switch flag {
	case "method":
		return focus.Names()
	case "fusion":
		return focus.Fusions()
	case "compat":
		return []string{focus.VitExplain}
	case "picture":
		return focus.Pictures()
	case "colors":
		return focus.Colors()
	case "upsample":
		return focus.Upsamplings()
	case "values":
		return []string{focus.ValuesMap, focus.ValuesAttention}
	case "precision":
		return []string{"f32", "bf16", "int8", "auto"}
	case "backend":
		return backend.Names()
	case "preprocess":
		return []string{string(patch.PreprocessModel), string(patch.PreprocessCrop), string(patch.PreprocessNone)}
	case "resize":
		return []string{string(patch.ResizeExact), string(patch.ResizeFast)}
	case "pool":
		return vit.Pools()
	case "format":
		return formats
	case "log-format":
		return []string{"text", "json"}
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	case "fetch-models":
		return []string{api.FetchStart, api.FetchRequest, api.FetchNever}
	case "decoder":
		return []string{patch.HEIC + "=", patch.AVIF + "=", patch.JXL + "="}
	case "preset":
		var names []string
		for _, p := range models.Presets() {
			names = append(names, p.Name)
		}
		return names
	}
	return nil
}

// completeValues has the shell complete what flags may be, of every command.
func completeValues(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			var complete cobra.CompletionFunc
			switch {
			case f.Name == "model":
				complete = completeModels
			case f.Name == "class" || f.Name == "versus":
				complete = completeClasses
			case cmd.Name() == "score" && f.Name == "format":
				complete = cobra.FixedCompletions(score.Formats(), cobra.ShellCompDirectiveNoFileComp)
			case cmd.Name() == "score" && f.Name == "focus":
				complete = cobra.FixedCompletions(append([]string{focusDefault}, focus.Names()...), cobra.ShellCompDirectiveNoFileComp)
			case cmd.Name() == "score" && f.Name == "pool":
				complete = cobra.FixedCompletions(pools(), cobra.ShellCompDirectiveNoFileComp)
			case len(values(f.Name)) > 0:
				complete = cobra.FixedCompletions(values(f.Name), cobra.ShellCompDirectiveNoFileComp)
			default:
				return
			}
			if err := cmd.RegisterFlagCompletionFunc(f.Name, complete); err != nil {
				panic(err)
			}
		})
	}
}

// completeModels offers the models that have names here, and files.
func completeModels(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	l, err := listModels()
	if err != nil {
		return models.Embedded(), cobra.ShellCompDirectiveDefault
	}
	names := l.Embedded
	for _, m := range l.Cached {
		if m.Error == "" {
			names = append(names, m.Name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, begun) }), cobra.ShellCompDirectiveDefault
}

// completeClasses offers the labels of the model that --model names.
func completeClasses(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	name, err := cmd.Flags().GetString("model")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := models.Open(name, models.Options{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	var found []string
	for _, label := range c.Labels {
		first, _, _ := strings.Cut(label, ",")
		if strings.HasPrefix(strings.ToLower(first), strings.ToLower(begun)) {
			found = append(found, first)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
