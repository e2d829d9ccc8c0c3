package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"

	"github.com/vitserve/vitserve/backend"
)

// version is set by the linker for a release; else the module's own is shown.
var version string

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say what this program is and what it computes with",
		Args:  exactly(0, "arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, commit := buildVersion()
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "vitserve  %s\n", v)
			fmt.Fprintf(w, "commit    %s\n", commit)
			fmt.Fprintf(w, "go        %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
			what := "backend"
			for _, name := range backendNames() {
				fmt.Fprintf(w, "%-9s %s\n", what, name)
				what = ""
			}
			_, err := fmt.Fprintf(w, "cpu       %d threads, %s\n", runtime.GOMAXPROCS(0), cpuFeatures())
			return err
		},
	}
}

// buildVersion returns the version and the commit that the program was built
// from, as far as the build knows them.
func buildVersion() (v, commit string) {
	v, commit = version, "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, commit
	}
	if v == "" {
		v = info.Main.Version
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " with changes"
		}
	}
	return v, commit + dirty
}

// backendNames returns what the default backend calls itself on this machine
// in each precision, or why it refuses it.
func backendNames() (names []string) {
	for _, p := range []backend.Precision{backend.F32, backend.BF16, backend.Int8} {
		b, err := backend.Open("cpu", backend.Options{Precision: p, Threads: 1})
		if err != nil {
			names = append(names, err.Error())
			continue
		}
		names = append(names, b.Name())
		b.Close()
	}
	return names
}

// cpuFeatures lists what kernels may use of this processor.
func cpuFeatures() string {
	if runtime.GOARCH != "amd64" {
		return "portable kernels"
	}
	var have []string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA}, {"avx512f", cpu.X86.HasAVX512F}, {"avx512vl", cpu.X86.HasAVX512VL},
		{"avx512bw", cpu.X86.HasAVX512BW}, {"avx512_vnni", cpu.X86.HasAVX512VNNI}, {"avx512_bf16", cpu.X86.HasAVX512BF16},
	} {
		if f.has {
			have = append(have, f.name)
		}
	}
	if len(have) == 0 {
		return "no vector features used"
	}
	return strings.Join(have, " ")
}
