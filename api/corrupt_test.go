package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/corrupt"
)

// TestCorrupt: what is answered is what package corrupt makes of the file, for
// every corruption.
func TestCorrupt(t *testing.T) {
	c := start(t, nil)
	data, err := os.ReadFile("../testdata/images/banana.jpg")
	require.NoError(t, err)
	photo, err := patch.Decode(context.Background(), data, patch.Options{})
	require.NoError(t, err)
	for _, of := range corrupt.Table() {
		r := c.post("/v1/corrupt?corruption="+of.Name+"&severity=4&seed=11", data)
		require.Equal(t, http.StatusOK, r.status, string(r.body))
		require.Equal(t, "image/png", r.header.Get("Content-Type"))
		got, err := png.Decode(bytes.NewReader(r.body))
		require.NoError(t, err)
		var want corrupt.Picture
		require.NoError(t, of.Apply(&want, corrupt.FromImage(photo.Image), 4, corrupt.Package, corrupt.Seed(sha256.Sum256(data), of.Name, 4, 11)))
		m, err := patch.FromImage(got, patch.Options{})
		require.NoError(t, err)
		require.Equal(t, want.Pix, corrupt.FromImage(m.Image).Pix, of.Name)
	}
	r := c.post("/v1/corrupt?corruption=fog&quality=50", data)
	require.Equal(t, "image/jpeg", r.header.Get("Content-Type"))
	_, err = jpeg.Decode(bytes.NewReader(r.body))
	require.NoError(t, err)
}

// TestCorruptRefuses: what cannot be disturbed, each with its status.
func TestCorruptRefuses(t *testing.T) {
	c := start(t, nil)
	file := func(w, h int) []byte {
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))))
		return b.Bytes()
	}
	for _, x := range []struct {
		path   string
		data   []byte
		status int
		says   string
	}{
		{"", file(40, 40), http.StatusUnprocessableEntity, "corruption"},
		{"?corruption=rain", file(40, 40), http.StatusUnprocessableEntity, "want"},
		{"?corruption=fog&severity=6", file(40, 40), http.StatusUnprocessableEntity, "severity"},
		{"?corruption=fog&severity=much", file(40, 40), http.StatusBadRequest, "severity"},
		{"?corruption=fog&colour=red", file(40, 40), http.StatusBadRequest, "unknown parameter"},
		{"?corruption=fog", file(31, 40), http.StatusUnprocessableEntity, "31×40"},
		{"?corruption=fog", file(4097, 40), http.StatusRequestEntityTooLarge, "4097×40"},
		{"?corruption=fog", file(2049, 2048), http.StatusRequestEntityTooLarge, "4194304"},
		{"?corruption=fog", []byte("hello"), http.StatusUnsupportedMediaType, ""},
		{"?corruption=fog&format=npy", file(40, 40), http.StatusUnprocessableEntity, "want"},
	} {
		r := c.post("/v1/corrupt"+x.path, x.data)
		require.Equal(t, x.status, r.status, "%s: %s", x.path, r.body)
		require.Contains(t, string(r.body), x.says, x.path)
	}
}
