package cli

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"

	"github.com/vitserve/vitserve/backend"
)

// version and commit are set by the linker for a release: ci/build.sh.
var version, commit string

// versionText is the version that is being worked on and, in an archive that
// git made, its commit.
//
//go:embed version.txt
var versionText string

func newVersion() *cobra.Command {
	var on string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say what this program is and what it computes with",
		Args:  exactly(0, "arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkBackend(on); err != nil {
				return err
			}
			return sayVersion(cmd.OutOrStdout(), on)
		},
	}
	registerBackend(cmd.Flags(), &on)
	return cmd
}

// sayVersion says what this program is and what it computes with on a backend.
func sayVersion(w io.Writer, on string) error {
	v, revision := buildVersion()
	if revision == "" { // tell builds apart at least
		revision = "not known to this build; its program has the SHA-256 " + ownHash()
	}
	fmt.Fprintf(w, "vitserve  %s\n", v)
	fmt.Fprintf(w, "commit    %s\n", revision)
	fmt.Fprintf(w, "go        %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	what := "backend"
	for _, name := range backendNames(on) {
		fmt.Fprintf(w, "%-9s %s\n", what, name)
		what = ""
	}
	_, err := fmt.Fprintf(w, "cpu       %d threads, %s\n", runtime.GOMAXPROCS(0), cpuFeatures())
	return err
}

// buildVersion returns the version and the commit that the program was built
// from, by whatever the build knows them: its linker's flags, git (unless
// -buildvcs=false kept it out), the module that was installed, the archive
// that was unpacked. The commit is "" where none of them knows it.
func buildVersion() (v, revision string) {
	working, archived, _ := strings.Cut(strings.TrimSpace(versionText), "\n")
	if strings.HasPrefix(archived, "$") {
		archived = "" // nobody put a commit there
	}
	v, revision = version, commit
	if info, ok := debug.ReadBuildInfo(); ok {
		module, vcs := fromBuild(info)
		v, revision = cmp.Or(v, module), cmp.Or(revision, vcs)
	}
	return cmp.Or(v, working), cmp.Or(revision, archived)
}

// pseudoVersion is a version that Go made of a commit's time and first digits.
var pseudoVersion = regexp.MustCompile(`\d{14}-([0-9a-f]{12})(\+|$)`)

// fromBuild returns what Go wrote into the program; "" is what it did not.
func fromBuild(info *debug.BuildInfo) (v, revision string) {
	if v = info.Main.Version; v == "(devel)" {
		v = ""
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " with changes"
		}
	}
	if revision != "" {
		return v, revision + dirty
	}
	if m := pseudoVersion.FindStringSubmatch(v); m != nil {
		revision = m[1]
	}
	return v, revision
}

// ownHash is the hash of the program that runs.
func ownHash() string {
	path, err := os.Executable()
	if err != nil {
		return err.Error()
	}
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err.Error()
	}
	return hex.EncodeToString(h.Sum(nil))
}

// backendNames returns what a backend calls itself on this machine in each
// precision, or why it refuses it.
func backendNames(on string) (names []string) {
	for _, p := range []backend.Precision{backend.F32, backend.BF16, backend.Int8} {
		b, err := backend.Open(on, backend.Options{Precision: p, Threads: 1})
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
