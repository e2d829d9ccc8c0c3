package main

import (
	"archive/tar"
	"bufio"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// folder holds the images that are looked at: ci/scale.sh makes them.
func folder(t *testing.T) string {
	dir := os.Getenv("VITSERVE_IMAGE")
	if dir == "" {
		t.Skip("VITSERVE_IMAGE names no folder with images; ci/scale.sh does")
	}
	return dir
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// extract lays the image's files into a folder.
func extract(t *testing.T, img v1.Image, root string) {
	r := mutate.Extract(img)
	defer r.Close()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s is not root's: the user could change it", h.Name)
		}
		path := filepath.Join(root, h.Name)
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, must(io.ReadAll(in))(t), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestImage: the tars and the layout hold the same images, whole, with static
// programs of their processors and what the image should say.
func TestImage(t *testing.T) {
	dir := folder(t)
	index := must(layout.ImageIndexFromPath(filepath.Join(dir, "oci")))(t)
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	outer := must(index.IndexManifest())(t)
	inner := must(must(index.ImageIndex(outer.Manifests[0].Digest))(t).IndexManifest())(t)
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if len(inner.Manifests) != len(machines) {
		t.Fatalf("%d images in the layout", len(inner.Manifests))
	}
	for _, m := range inner.Manifests {
		processor := m.Platform.Architecture
		img := must(tarball.ImageFromPath(filepath.Join(dir, "vitserve-"+processor+".tar"), nil))(t)
		if a, b := must(img.ConfigName())(t), must(must(must(index.ImageIndex(outer.Manifests[0].Digest))(t).Image(m.Digest))(t).ConfigName())(t); a != b {
			t.Errorf("%s: the tar holds %v, the layout %v", processor, a, b)
		}
		c := must(img.ConfigFile())(t)
		if c.Architecture != processor || c.Config.User != "65532:65532" || !slices.Equal(c.Config.Entrypoint, []string{"/vitserve"}) || c.Config.Labels["org.opencontainers.image.licenses"] == "" {
			t.Errorf("%s: %+v", processor, c.Config)
		}
		root := t.TempDir()
		extract(t, img, root)
		program := must(elf.Open(filepath.Join(root, "vitserve")))(t)
		defer program.Close()
		if program.Machine != machines[processor] {
			t.Errorf("%s: the program is for %v", processor, program.Machine)
		}
		for _, p := range program.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s: the program is not static: %v", processor, p.Type)
			}
		}
		var sbom struct {
			BOMFormat  string
			Components []struct{ PURL string }
		}
		if err := json.Unmarshal(must(os.ReadFile(filepath.Join(root, "usr/share/sbom/vitserve.cdx.json")))(t), &sbom); err != nil {
			t.Fatal(err)
		}
		if sbom.BOMFormat != "CycloneDX" || len(sbom.Components) < 20 {
			t.Errorf("%s: %d components", processor, len(sbom.Components))
		}
		if n := strings.Count(string(must(os.ReadFile(filepath.Join(root, "etc/ssl/certs/ca-certificates.crt")))(t)), "BEGIN CERTIFICATE"); n < 50 {
			t.Errorf("%s: %d certificates", processor, n)
		}
	}
}

// TestServes: the layer alone, in an empty root that cannot be written to, as
// the image's user, is ready and classifies. It wants root, for the mount.
func TestServes(t *testing.T) {
	dir := folder(t)
	if os.Getuid() != 0 {
		t.Skip("wants root, to mount and to become another user")
	}
	root := t.TempDir()
	extract(t, must(tarball.ImageFromPath(filepath.Join(dir, "vitserve-amd64.tar"), nil))(t), root)
	for p := root; p != "/"; p = filepath.Dir(p) { // others may go through
		if info, err := os.Stat(p); err == nil && info.Mode()&0o005 != 0o005 {
			if err := os.Chmod(p, info.Mode()|0o055); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	addr := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "-m", "sh", "-c", fmt.Sprintf(
		`mount --bind %[1]s %[1]s && mount -o remount,bind,ro %[1]s && exec env -i HOME=/tmp "$(command -v chroot)" --userspec=%[2]d:%[2]d --groups= %[1]s /vitserve serve --addr %[3]s --log-format json`, root, user, addr))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	logs := must(cmd.StderrPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := false
	for lines := bufio.NewScanner(logs); !ready && lines.Scan(); {
		t.Log(lines.Text())
		ready = strings.Contains(lines.Text(), `"msg":"ready"`)
	}
	if !ready {
		t.Fatal("never ready")
	}
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	status := string(must(os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)))(t))
	if !strings.Contains(status, fmt.Sprintf("Uid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\n", user)) || !strings.Contains(status, "CapEff:\t0000000000000000\n") {
		t.Errorf("not the image's user: %s", status)
	}
	mounts := string(must(os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", cmd.Process.Pid)))(t))
	if !slices.ContainsFunc(strings.Split(mounts, "\n"), func(m string) bool {
		f := strings.Fields(m)
		return len(f) > 5 && f[4] == "/" && strings.HasPrefix(f[5], "ro")
	}) {
		t.Errorf("the root is not read-only: %s", mounts)
	}
	resp := must(http.Get("http://" + addr + "/readyz"))(t)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %s", resp.Status)
	}
	photo := must(os.Open("../../testdata/images/banana.jpg"))(t)
	defer photo.Close()
	resp = must(http.Post("http://"+addr+"/v1/classify", "image/jpeg", photo))(t)
	answer := must(io.ReadAll(resp.Body))(t)
	resp.Body.Close()
	if !strings.Contains(string(answer), "banana") {
		t.Errorf("%s: %s", resp.Status, answer)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the end: %v", err)
	}
}
