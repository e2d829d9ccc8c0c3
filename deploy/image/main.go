// Command image packs the static program into an image of containers, without a
// daemon, a base image or the network: for each processor a tar that docker
// load takes, and one OCI layout of both. The same program gives the same
// digest.
//
//	go run . -out ../../dist/image -version v0.1.0 -created 1700000000 amd64=vitserve-amd64 arm64=vitserve-arm64
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user runs the program: distroless' nonroot.
const user = 65532

func main() {
	var o options
	created := flag.Int64("created", 0, "seconds since 1970 that all files and the image have; the commit's, so that it can be made again")
	flag.StringVar(&o.out, "out", "dist/image", "folder to write to")
	flag.StringVar(&o.version, "version", "v0.0.0", "of the program")
	flag.StringVar(&o.revision, "revision", "", "commit of the program")
	flag.StringVar(&o.tag, "tag", "vitserve:latest", "name that docker load gives the image")
	flag.Parse()
	o.created = time.Unix(*created, 0).UTC()
	if err := o.run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

type options struct {
	out, version, revision, tag string
	created                     time.Time
}

// run makes an image of each PROCESSOR=PROGRAM.
func (o options) run(programs []string) error {
	if len(programs) == 0 {
		return fmt.Errorf("no PROCESSOR=PROGRAM given")
	}
	tag, err := name.NewTag(o.tag)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range programs {
		processor, program, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("%q, want PROCESSOR=PROGRAM", p)
		}
		img, sbom, err := o.image(processor, program)
		if err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
		if err := os.WriteFile(filepath.Join(o.out, "vitserve-"+processor+".cdx.json"), sbom, 0o666); err != nil {
			return err
		}
		file := filepath.Join(o.out, "vitserve-"+processor+".tar")
		if err := tarball.WriteToFile(file, tag, img); err != nil {
			return err
		}
		digest, err := img.Digest()
		if err != nil {
			return err
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		fmt.Printf("linux/%s: %s, %d bytes\n", processor, digest, info.Size())
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: processor}},
		})
	}
	oci := filepath.Join(o.out, "oci")
	if err := os.RemoveAll(oci); err != nil {
		return err
	}
	path, err := layout.Write(oci, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": o.version})); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("index: %s in %s\n", digest, oci)
	return os.WriteFile(filepath.Join(o.out, "digest"), []byte(digest.String()+"\n"), 0o666)
}

// image is that of one processor, with what the program is made of.
func (o options) image(processor, program string) (v1.Image, []byte, error) {
	sbom, err := o.sbom(program)
	if err != nil {
		return nil, nil, err
	}
	files, err := o.layer(program, sbom)
	if err != nil {
		return nil, nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: o.created}, CreatedBy: "vitserve deploy/image"}})
	if err != nil {
		return nil, nil, err
	}
	c, err := img.ConfigFile()
	if err != nil {
		return nil, nil, err
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Created = "linux", processor, v1.Time{Time: o.created}
	c.Config = v1.Config{
		User: fmt.Sprintf("%d:%d", user, user), WorkingDir: "/",
		Entrypoint: []string{"/vitserve"}, Cmd: []string{"serve", "--addr", ":8080"},
		Env:          []string{"PATH=/", "HOME=/tmp", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "9000/tcp": {}},
		StopSignal:   "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":       "vitserve",
			"org.opencontainers.image.description": "Recognise images with Vision Transformers",
			"org.opencontainers.image.source":      "https://github.com/vitserve/vitserve",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     o.version,
			"org.opencontainers.image.revision":    o.revision,
			"org.opencontainers.image.created":     o.created.Format(time.RFC3339),
		},
	}
	img, err = mutate.ConfigFile(img, c)
	return img, sbom, err
}

// layer is the file system, as a tar.
func (o options) layer(program string, sbom []byte) ([]byte, error) {
	binary, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name string
		mode int64
		data []byte // nil: a folder
	}{
		{"etc/", 0o755, nil},
		{"etc/group", 0o644, fmt.Appendf(nil, "root:x:0:\nnonroot:x:%d:\n", user)},
		{"etc/passwd", 0o644, fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/tmp:/sbin/nologin\n", user, user)},
		{"etc/ssl/", 0o755, nil},
		{"etc/ssl/certs/", 0o755, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, certificates()},
		{"tmp/", 0o1777, nil},
		{"usr/", 0o755, nil},
		{"usr/share/", 0o755, nil},
		{"usr/share/sbom/", 0o755, nil},
		{"usr/share/sbom/vitserve.cdx.json", 0o644, sbom},
		{"vitserve", 0o755, binary},
	} {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: o.created, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if f.data == nil {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// certificates are Mozilla's roots, as golang.org/x/crypto has them: the same on
// every machine. Those that hold under a condition, which a file cannot say, are
// left out.
func certificates() []byte {
	var all []byte
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})...)
		}
	}
	return all
}
