package main

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
)

// TestDrawn: the same coefficients in other tables and scans, sequential or
// progressive, are the same picture, so the fuzzer's files are good ones.
func TestDrawn(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	compared := 0
	for i := range 1200 {
		d := newDrawn(rng)
		one, two := decode(d.file(false)), decode(d.file(true))
		if one.err != "" || two.err != "" {
			continue // a sampling that is not decoded
		}
		compared++
		require.Equal(t, one.width, d.width)
		require.Equal(t, one.height, d.height)
		mean, most := apart(one.rgb, two.rgb)
		require.LessOrEqual(t, most, 4, "%d: %v", i, d.comps)
		require.LessOrEqual(t, mean, 0.3, "%d", i)
	}
	require.Greater(t, compared, 200)
}

// TestMutate: what is spoilt is no longer the same, and the parts of a file
// that were taken apart are the file when put together.
func TestMutate(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	changed := 0
	for range 500 {
		file := drawJPEG(rng)
		require.Equal(t, file, join(split(file)))
		if string(mutate(rng, "jpeg", file)) != string(file) {
			changed++
		}
	}
	require.Greater(t, changed, 350)
}

// TestJudge: verdicts fall where they belong.
func TestJudge(t *testing.T) {
	r := newReport("jpeg", t.TempDir())
	good := verdict{width: 2, height: 1, rgb: []byte{1, 2, 3, 4, 5, 6}}
	off := verdict{width: 2, height: 1, rgb: []byte{1, 2, 3, 4, 5, 16}}
	turned := verdict{width: 1, height: 2, rgb: good.rgb}
	bad := verdict{err: "broken"}
	require.True(t, r.judge(nil, "", good, good))
	require.False(t, r.judge(nil, "", bad, bad))
	require.Zero(t, r.findings)
	require.True(t, r.judge(nil, "", good, off))
	require.True(t, r.judge(nil, "", good, turned))
	require.True(t, r.judge(nil, "", good, bad))
	require.True(t, r.judge(nil, "", bad, good))
	r.judge(nil, "", verdict{err: "PANIC: index out of range"}, bad)
	require.Equal(t, 5, r.findings)
	require.Equal(t, 1, r.same.pictures)
	require.Equal(t, 1, r.same.errors)
	require.NoError(t, r.write())
	require.LessOrEqual(t, len(reasons("jpeg")), 10)
}

// TestLarge: beyond the limit nothing is compared.
func TestLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	file := drawJPEG(rng)
	for decode(file).err != "" {
		file = drawJPEG(rng)
	}
	pieces := split(file)
	for i := range pieces {
		if isFrame(pieces[i]) {
			copy(pieces[i].body[1:], "\xf0\x00\xf0\x00")
		}
	}
	require.Equal(t, tooLarge, decode(join(pieces)).err)
	require.Greater(t, patch.DefaultMaxPixels, maxPixels)
}
