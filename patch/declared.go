package patch

// Declaration is what the header of a picture says of it.
type Declaration struct {
	Format        string // as in Photo
	Width, Height int    // pixels as they are stored, before an EXIF orientation is undone
	Bytes         int64  // memory that Decode takes at its peak, its Photo included
	PixelsBytes   int64  // and Transform.Pixels, which makes no picture of a JPEG
}

// Declared reads a picture's header, which costs no memory, so that a caller
// can make room before Decode. Its errors are those that Decode would give
// without decoding.
func Declared(data []byte, o Options) (Declaration, error) {
	_, d, err := check(data, o)
	return d, err
}
