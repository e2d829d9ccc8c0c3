package corrupt

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// array is one of an .npz file.
type array struct {
	kind  string // numpy's: |u1, <i2, <u2
	shape []int
	data  []byte
}

func (a array) ints() []int {
	out := make([]int, 0, len(a.data))
	for i := range a.data {
		switch {
		case a.kind == "|u1":
			out = append(out, int(a.data[i]))
		case i%2 == 1:
		case a.kind == "<i2":
			out = append(out, int(int16(binary.LittleEndian.Uint16(a.data[i:]))))
		case a.kind == "<u2":
			out = append(out, int(binary.LittleEndian.Uint16(a.data[i:])))
		default:
			panic(a.kind)
		}
	}
	return out
}

func (a array) picture() *Picture { return &Picture{a.shape[1], a.shape[0], a.data} }

func readNPZ(t *testing.T, name string) map[string]array {
	z, err := zip.OpenReader(name)
	require.NoError(t, err)
	defer z.Close()
	kind, shape := regexp.MustCompile(`'descr': '([^']*)'`), regexp.MustCompile(`'shape': \(([^)]*)\)`)
	all := map[string]array{}
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		n := 10 + int(binary.LittleEndian.Uint16(data[8:]))
		head := string(data[10:n])
		a := array{kind: kind.FindStringSubmatch(head)[1], data: data[n:]}
		for _, s := range strings.Split(shape.FindStringSubmatch(head)[1], ",") {
			if s = strings.TrimSpace(s); s != "" {
				v, err := strconv.Atoi(s)
				require.NoError(t, err)
				a.shape = append(a.shape, v)
			}
		}
		all[strings.TrimSuffix(f.Name, ".npy")] = a
	}
	return all
}

// recorded is Draws that the reference made.
type recorded struct {
	t                                 *testing.T
	normal, uniform, counts, integers []int
}

func (r *recorded) take(from *[]int, n int) []int {
	require.GreaterOrEqual(r.t, len(*from), n, "more random numbers than the reference's")
	v := (*from)[:n]
	*from = (*from)[n:]
	return v
}

func (r *recorded) Uniform(dst []float64) {
	for i, v := range r.take(&r.uniform, len(dst)) {
		dst[i] = float64(v) / 65536
	}
}

func (r *recorded) Normal(dst []float64) {
	for i, v := range r.take(&r.normal, len(dst)) {
		dst[i] = float64(v) / 128
	}
}

func (r *recorded) Below(dst []int, lo, hi int) {
	for i, v := range r.take(&r.integers, len(dst)) {
		require.True(r.t, v >= lo && v < hi, "%d is not in [%d, %d)", v, lo, hi)
		dst[i] = v
	}
}

func (r *recorded) Poisson(dst []uint16, _ []uint8, _ float64) {
	for i, v := range r.take(&r.counts, len(dst)) {
		dst[i] = uint16(v)
	}
}

// difference is the largest between two pictures, and the mean.
func difference(a, b *Picture) (most int, mean float64) {
	for i, v := range a.Pix {
		d := int(v) - int(b.Pix[i])
		d = max(d, -d)
		most = max(most, d)
		mean += float64(d)
	}
	return most, mean / float64(len(a.Pix))
}

// TestGolden: every corruption is the reference's within one grey level, the
// random ones with the random numbers that the reference drew, all of them.
func TestGolden(t *testing.T) {
	name := "testdata/golden.npz"
	if other := os.Getenv("VITSERVE_CORRUPT_GOLDEN"); other != "" {
		name = other // that make_golden.py has made of a photo
	}
	npz := readNPZ(t, name)
	for key, a := range readNPZ(t, "testdata/original.npz") {
		npz["magick "+key] = a
	}
	seen := map[string]int{}
	for key, want := range npz {
		parts := strings.Split(key, "/")
		if len(parts) != 4 {
			continue
		}
		t.Run(key, func(t *testing.T) {
			src := npz[parts[0]].picture()
			severity, err := strconv.Atoi(parts[3])
			require.NoError(t, err)
			d := &recorded{t, npz[key+"/normal"].ints(), npz[key+"/uniform"].ints(), npz[key+"/counts"].ints(), npz[key+"/integers"].ints()}
			c, err := Find(parts[2])
			require.NoError(t, err)
			got := &Picture{}
			if c.Name == "frost" { // by the texture of the golden file, which stands for all five
				got.Set(src.W, src.H)
				one := npz["texture"].picture()
				frost(new(work), got, src, [5]rime{{1, .4}, {.8, .6}, {.7, .7}, {.65, .7}, {.6, .75}}[severity-1], Flavour(parts[1]), d, []*Picture{one, one, one, one, one})
			} else {
				require.NoError(t, c.Apply(got, src, severity, Flavour(parts[1]), d))
			}
			most, mean := difference(want.picture(), got)
			if testing.Verbose() {
				fmt.Printf("%-50s most %d mean %.4f\n", key, most, mean)
			}
			require.LessOrEqual(t, most, 1)
			require.Empty(t, d.normal, "of the normal numbers some are left")
			require.Empty(t, d.uniform, "of the uniform numbers some are left")
			require.Empty(t, d.counts, "of the counts some are left")
			require.Empty(t, d.integers, "of the whole numbers some are left")
		})
		seen[parts[1]+"/"+parts[2]]++
	}
	require.Len(t, seen, len(table)+6) // flavours differ in six
}
