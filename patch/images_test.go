package patch

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestImages reads the pictures that the project draws itself.
func TestImages(t *testing.T) {
	decode := func(name string) (*Photo, error) {
		data, err := os.ReadFile("../testdata/images/" + name)
		require.NoError(t, err)
		return Decode(t.Context(), data, Options{})
	}
	for _, name := range []string{
		"banana.jpg", "basketball.jpg", "beacon.jpg", "gray.jpg", "jellyfish.jpg", "ladybug.png",
		"orange.jpg", "pizza.jpg", "school_bus.png", "sideways.jpg", "umbrella.jpg",
	} {
		p, err := decode(name)
		require.NoError(t, err, name)
		require.Equal(t, [2]int{320, 240}, [2]int{p.Image.Rect.Dx(), p.Image.Rect.Dy()}, name)
	}
	_, err := decode("broken.jpg")
	require.ErrorIs(t, err, ErrImage)
	_, err = decode("text.png")
	require.ErrorIs(t, err, ErrFormat)

	// The picture that lies on its side is the upright one, compressed anew.
	side, err := decode("sideways.jpg")
	require.NoError(t, err)
	require.Equal(t, 6, side.Orientation)
	up, err := decode("basketball.jpg")
	require.NoError(t, err)
	mean, _ := difference(t, up.Image, side.Image)
	require.Less(t, mean, 3.0)
}
