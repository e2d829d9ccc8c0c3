// Package standin builds what the tests open in place of a GPU's driver: a
// libcuda.so.1 that executes the driver's calls and the kernels on the host,
// and an OpenCL loader between the program and the real one. Both fail on
// demand. Nothing of it is in the program.
package standin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"testing"

	"github.com/vitserve/vitserve/backend"
)

// Required names the variable that says what tests need: "required" makes a
// missing tool a failure, without it a test that needs one is skipped;
// "installed" does so, too, and takes the driver that VITSERVE_CUDA names or
// the machine has in place of the stand-in, as on a machine with a GPU.
const Required = "VITSERVE_GPU_TESTS"

// installed reports whether tests take the driver of the machine.
func installed() bool { return os.Getenv(Required) == "installed" }

// required reports whether what is missing fails.
func required() bool { return installed() || os.Getenv(Required) == "required" }

// missing skips or fails.
func missing(t testing.TB, what string) {
	t.Helper()
	if required() {
		t.Fatalf("%s, and %s=%s", what, Required, os.Getenv(Required))
	}
	t.Skipf("%s", what)
}

// Whole skips a test that takes a minute of the processor, unless tools are
// required, as they are where the GPU's own stage runs.
func Whole(t testing.TB) {
	t.Helper()
	if !required() {
		t.Skipf("a minute of emulation: %s=required runs it", Required)
	}
}

// folder is where the sources are: not beside the Go files, which would be taken for cgo.
func folder(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("no sources")
	}
	return filepath.Join(filepath.Dir(file), "src")
}

// CUDA builds the stand-in for libcuda.so.1, if its sources have changed, and
// makes it the driver of the test.
func CUDA(t testing.TB) {
	t.Helper()
	if installed() {
		return
	}
	here := folder(t)
	t.Setenv("VITSERVE_CUDA", build(t, "libcuda.so.1", filepath.Join(here, "standin.cpp"), here, filepath.Join(here, "..", "..", "kernels")))
}

// OpenCL makes the installed loader the driver of the test, with the functions
// between that fail on demand.
func OpenCL(t testing.TB) {
	t.Helper()
	if installed() {
		return
	}
	if found, _ := filepath.Glob("/etc/OpenCL/vendors/*.icd"); len(found) == 0 && os.Getenv("OCL_ICD_VENDORS") == "" {
		missing(t, "no OpenCL driver: /etc/OpenCL/vendors has no file (Debian: pocl-opencl-icd, ocl-icd-libopencl1)")
	}
	here := folder(t)
	t.Setenv("VITSERVE_OPENCL", build(t, "libOpenCL.so.1", filepath.Join(here, "opencl.cpp"), here))
}

// Each runs a test on the stand-in for NVIDIA's driver and on the OpenCL device
// that is installed, by the names that backends have.
func Each(t *testing.T, test func(t *testing.T, name string)) {
	for name, driver := range map[string]func(testing.TB){"cuda": CUDA, "opencl": OpenCL} {
		t.Run(name, func(t *testing.T) {
			driver(t)
			test(t, name)
		})
	}
}

// Backends is Each for tests that take a minute: where Whole lets them, each
// has the backend, which the test's package imports, and closes it at the end.
func Backends(t *testing.T, test func(t *testing.T, b backend.Backend)) {
	Whole(t)
	Each(t, func(t *testing.T, name string) {
		b, err := backend.Open(name, backend.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		test(t, b)
	})
}

// build compiles a shared library into the user's cache, under the hash of
// what it is made of.
func build(t testing.TB, name, source string, include ...string) string {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		missing(t, "the stand-in is written for linux/amd64")
	}
	compiler, err := exec.LookPath("g++")
	if err != nil {
		missing(t, "no g++ to build the stand-in driver with")
	}
	flags := []string{"-std=c++17", "-O2", "-ffp-contract=off", "-mfma", "-Wall", "-Wno-unknown-pragmas", "-shared", "-fPIC"}
	hash := sha256.New()
	fmt.Fprintln(hash, name, flags)
	for _, folder := range include {
		files, err := filepath.Glob(filepath.Join(folder, "*.[hc]*"))
		if err != nil {
			t.Fatal(err)
		}
		sort.Strings(files)
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(hash, "%s %d\n%s", filepath.Base(f), len(data), data)
		}
		flags = append(flags, "-I", folder)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "vitserve-standin", hex.EncodeToString(hash.Sum(nil))[:16])
	library := filepath.Join(dir, name)
	if _, err := os.Stat(library); err == nil {
		return library
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Under a name of its own first: tests of several packages run at once.
	f, err := os.CreateTemp(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	cmd := exec.Command(compiler, append(flags, "-o", f.Name(), source, "-lpthread", "-ldl")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Rename(f.Name(), library); err != nil {
		t.Fatal(err)
	}
	return library
}
