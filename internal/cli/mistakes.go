package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/vitserve/vitserve/internal/words"
)

// otherNames are names that flags are known by elsewhere.
var otherNames = map[string]string{"top-k": "top"}

// flagName is the name of a flag that was written in another way.
func flagName(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	name = strings.ReplaceAll(name, "_", "-")
	if own, ok := otherNames[name]; ok {
		name = own
	}
	return pflag.NormalizedName(name)
}

// flagError is an error of a command line in words.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		err = fmt.Errorf("unknown flag: -%s; a name has two dashes", unknown.GetSpecifiedShortnames())
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		found := "--" + unknown.GetSpecifiedName()
		err = fmt.Errorf("unknown flag: %s%s", found, words.DidYouMean(found, names...))
	case errors.As(err, &value):
		cause := value.Unwrap().Error()
		if !strings.Contains(cause, "want") {
			cause = "want " + kindOfFlag(value.GetFlag())
		}
		cause = strings.TrimPrefix(cause, fmt.Sprintf("%q, ", value.GetValue()))
		err = fmt.Errorf("invalid argument %q for --%s, %s", value.GetValue(), value.GetFlag().Name, cause)
	case errors.As(err, &missing):
		err = fmt.Errorf("--%s needs a value: %s", missing.GetFlag().Name, missing.GetFlag().Usage)
	}
	return usageError{err}
}

// kindOfFlag is what the value of a flag is.
func kindOfFlag(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "int", "int64", "uint", "uint64":
		return "a whole number"
	case "float", "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "duration":
		return "a time such as 1.5s or 2m"
	}
	return "a text"
}
