package vitserve

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/patch"
)

// MaxFile is the largest picture file that is read, in bytes.
const MaxFile = 256 << 20

// Source is a photo that has not been read yet, or a reason why it cannot be:
// of many sources one that fails does not stop the others.
type Source struct {
	Name  string // as it is reported
	Label string // what is known of its class: what a list says, or the folder that a file lies in; "": nothing

	data  []byte                        // of Bytes
	open  func() (io.ReadCloser, error) // of files and readers
	image image.Image                   // of Image
	err   error                         // why it cannot be read, if that is known already
}

// File is a picture file.
func File(name string) Source {
	label := filepath.Base(filepath.Dir(name))
	return Source{Name: name, Label: label, open: func() (io.ReadCloser, error) { return os.Open(name) }}
}

// Bytes is a picture file in memory.
func Bytes(data []byte) Source {
	if data == nil {
		data = []byte{}
	}
	return Source{data: data}
}

// Reader is a picture file that r gives. It can be read once.
func Reader(r io.Reader) Source {
	return Source{open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

// Image is a picture that is decoded already. Its alpha is dropped, as it is
// of a file.
func Image(m image.Image) Source { return Source{image: m} }

// Opened is a picture file that open gives, each time it is read.
func Opened(name string, open func() (io.ReadCloser, error)) Source {
	return Source{Name: name, open: open}
}

// Failed is a source that cannot be read.
func Failed(name string, err error) Source { return Source{Name: name, err: err} }

// Err returns why the source cannot be read, as far as that is known before it
// is.
func (s Source) Err() error { return s.err }

// bare takes the path out of an error that is reported beside it.
func bare(err error) error {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return missing(path.Path)
	}
	return path.Err
}

// missing is the error of a file or a folder that is not there. It names what
// lies there and was meant, if something is near.
func missing(name string) error {
	const most = 2000 // entries that are looked through
	what := "file or folder"
	switch {
	case strings.HasSuffix(name, "/") || strings.HasSuffix(name, string(filepath.Separator)):
		what = "folder"
	case filepath.Ext(name) != "":
		what = "file"
	}
	near := ""
	name = filepath.Clean(name)
	if dir, err := os.Open(filepath.Dir(name)); err == nil {
		names, _ := dir.Readdirnames(most)
		dir.Close()
		slices.Sort(names)
		if found := words.Nearest(filepath.Base(name), names...); found != "" {
			near = filepath.Join(filepath.Dir(name), found)
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		what = fmt.Sprintf("file, for there is no folder %s", filepath.Dir(name))
	}
	if near != "" {
		near = ", did you mean " + near + "?"
	}
	return &absent{fmt.Sprintf("no such %s%s", what, near)}
}

// absent is fs.ErrNotExist in words.
type absent struct{ text string }

func (e *absent) Error() string { return e.text }

// Unwrap returns fs.ErrNotExist.
func (*absent) Unwrap() error { return fs.ErrNotExist }

// Sources lists what names mean, in their order: a name that ends in .tar is a
// shard (see Tar), in .csv a table (see CSV), in .txt a list (see List), and
// any other a file or a folder (see Files).
func Sources(names ...string) iter.Seq[Source] {
	return func(yield func(Source) bool) {
		for _, name := range names {
			of := Files(name)
			switch strings.ToLower(filepath.Ext(name)) {
			case ".tar":
				of = Tar(name)
			case ".csv":
				of = CSV(name)
			case ".txt":
				of = List(name)
			}
			for s := range of {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Files lists files, and of folders the pictures that lie under them, see
// Folder. What is not there is a source that fails. A pipe is read, as a
// shell's <(…) is one; sockets and devices are refused.
func Files(names ...string) iter.Seq[Source] {
	return func(yield func(Source) bool) {
		for _, name := range names {
			info, err := os.Stat(name)
			of := []Source{File(name)}
			switch {
			case err != nil:
				of[0] = Failed(name, bare(err))
			case info.IsDir():
				of, _ = Folder(name)
			case info.Mode()&fs.ModeSocket != 0:
				of[0] = Failed(name, errors.New("a socket, want a file or a pipe"))
			case info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) == fs.ModeDevice:
				of[0] = Failed(name, errors.New("a device, want a file or a pipe"))
			}
			for _, s := range of {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Folder lists the pictures under a folder in lexical order, and counts what
// it passes over because opening it might wait for ever: pipes, sockets and
// devices. Links to folders are followed. Hidden entries are passed over, too.
func Folder(root string) (found []Source, passed int) {
	found, left := FolderWhole(root)
	return found, left[NoFile]
}

// What FolderWhole passes over.
const (
	NoFile   = "that are no files: pipes, sockets or devices"
	NoFormat = "of formats that are not decoded: raw photos, JPEG 2000, SVG and others"
	Loop     = "that are links back to a folder they are in"
)

// FolderWhole lists as Folder does, and counts what it passes over, by why.
func FolderWhole(root string) (found []Source, left map[string]int) {
	w := folderWalk{left: map[string]int{}}
	w.walk(root, nil)
	if len(w.found) == 0 {
		w.found = []Source{Failed(root, errors.New("no pictures in this folder"))}
	}
	return w.found, w.left
}

// folderWalk is on its way through a folder.
type folderWalk struct {
	found []Source
	left  map[string]int
}

// walk lists a folder, which lies in those above it.
func (w *folderWalk) walk(dir string, above []fs.FileInfo) {
	here, err := os.Stat(dir)
	var list []fs.DirEntry
	if err == nil {
		list, err = os.ReadDir(dir)
	}
	if err != nil {
		w.found = append(w.found, Failed(dir, bare(err)))
		return
	}
	above = append(slices.Clip(above), here)
	for _, d := range list {
		if strings.HasPrefix(d.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, d.Name())
		regular := d.Type().IsRegular()
		var info fs.FileInfo
		var err error
		if !regular {
			info, err = os.Stat(path) // of a link, what it leads to
			regular = err == nil && info.Mode().IsRegular()
		}
		switch {
		case !regular && err == nil && info.IsDir():
			if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, info) }) {
				w.left[Loop]++
			} else {
				w.walk(path, above)
			}
		case err == nil && !regular:
			w.left[NoFile]++
		case looksLikePicture(path, regular): // a link that leads nowhere is reported when it is opened
			w.found = append(w.found, File(path))
		case undecoded(path):
			w.left[NoFormat]++
		}
	}
}

// undecoded tells pictures of kinds that nobody here decodes, by their names.
func undecoded(name string) bool {
	switch strings.ToLower(path.Ext(filepath.ToSlash(name))) {
	case ".jp2", ".j2k", ".svg", ".psd", ".ico", ".tga", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".exr", ".ppm", ".pgm", ".pbm", ".pnm", ".dcm":
		return true
	}
	return false
}

// looksLikePicture decides which files of a folder are meant: those named
// like a picture, so that a broken one is reported and not passed over, and
// those that begin like one whatever their name.
func looksLikePicture(path string, regular bool) bool {
	if namedLikePicture(path) || !regular {
		return namedLikePicture(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	return beginsLikePicture(head[:n])
}

func namedLikePicture(name string) bool {
	switch strings.ToLower(path.Ext(filepath.ToSlash(name))) {
	case ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".ico", ".tif", ".tiff",
		".heic", ".heif", ".hif", ".avif", ".jxl": // which an external program may read
		return true
	}
	return false
}

func beginsLikePicture(head []byte) bool {
	tiff := bytes.HasPrefix(head, []byte("II*\x00")) || bytes.HasPrefix(head, []byte("MM\x00*"))
	return tiff || patch.NamesKind(head) != "" || strings.HasPrefix(http.DetectContentType(head), "image/")
}

// List lists the pictures that a text file names, a line each, from the folder
// of the list. Blank lines do not count.
func List(name string) iter.Seq[Source] {
	return lines(name, func(r io.Reader, yield func(Source) bool) error {
		s := bufio.NewScanner(r)
		for s.Scan() {
			if line := strings.TrimRight(s.Text(), "\r"); line != "" && !yield(File(beside(name, line))) {
				return nil
			}
		}
		return s.Err()
	})
}

// lines reads a file that names pictures. That it cannot be read, or no
// further, is a source that fails.
func lines(name string, read func(r io.Reader, yield func(Source) bool) error) iter.Seq[Source] {
	return func(yield func(Source) bool) {
		f, err := os.Open(name)
		if err != nil {
			yield(Failed(name, bare(err)))
			return
		}
		defer f.Close()
		if err := read(f, yield); err != nil {
			yield(Failed(name, err))
		}
	}
}

// beside is a file that a list in another one names.
func beside(list, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(list), name)
}

// Tar lists the pictures of a tar file, such as a shard of a WebDataset: files
// that have their name up to the first dot of it in common are of one sample,
// whose .cls, if it has one, is the label of its pictures. A picture is in
// memory from when it is listed until it has been read.
//
// https://github.com/webdataset/webdataset
func Tar(name string) iter.Seq[Source] {
	return lines(name, func(r io.Reader, yield func(Source) bool) error { return members(name, r, yield) })
}

// TarReader is Tar of a file of that name that r gives. It can be listed once.
func TarReader(name string, r io.Reader) iter.Seq[Source] {
	return func(yield func(Source) bool) {
		if err := members(name, r, yield); err != nil {
			yield(Failed(name, err))
		}
	}
}

// members lists the pictures of a tar file.
func members(name string, r io.Reader, yield func(Source) bool) error {
	t := tar.NewReader(r)
	var sample sample
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			sample.yield(yield)
			return nil
		}
		if err != nil {
			sample.yield(yield)
			return err
		}
		base := path.Base(h.Name)
		if h.Typeflag != tar.TypeReg || strings.HasPrefix(base, ".") {
			continue
		}
		stem, _, _ := strings.Cut(base, ".")
		if key := path.Join(path.Dir(h.Name), stem); key != sample.key || sample.size > MaxFile {
			if !sample.yield(yield) {
				return nil
			}
			sample.key = key
		}
		if err := sample.add(name+"/"+h.Name, h, t); err != nil {
			return err
		}
	}
}

// sample is what of a tar file belongs together.
type sample struct {
	key      string
	label    string
	pictures []Source
	size     int64
}

// add takes the entry that r is at.
func (m *sample) add(name string, h *tar.Header, r io.Reader) error {
	const longest = 1 << 10 // of a label
	var wrong error
	switch {
	case path.Ext(name) == ".cls" && h.Size <= longest:
		label, err := io.ReadAll(r)
		m.label = strings.TrimSpace(string(label))
		return err
	case h.Size > MaxFile:
		wrong = errLarge
	case isSparse(h): // which may be far larger than its shard
		wrong = errors.New("a sparse file")
	}
	if wrong != nil {
		if namedLikePicture(name) {
			m.pictures = append(m.pictures, Failed(name, wrong))
		}
		return nil
	}
	b := bufio.NewReaderSize(r, 512)
	if head, _ := b.Peek(512); !namedLikePicture(name) && !beginsLikePicture(head) {
		return nil
	}
	data, err := io.ReadAll(b)
	s := Bytes(data)
	s.Name = name
	m.pictures = append(m.pictures, s)
	m.size += h.Size
	return err
}

func isSparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// yield lists the pictures of the sample and forgets them.
func (m *sample) yield(yield func(Source) bool) bool {
	for _, s := range m.pictures {
		s.Label = m.label
		if !yield(s) {
			return false
		}
	}
	*m = sample{}
	return true
}
