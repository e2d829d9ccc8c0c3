package patch

// Declared returns the size that a picture's header declares, which costs no
// memory, so that a caller can make room before Decode. Its errors are those
// that Decode would give without decoding.
func Declared(data []byte, o Options) (width, height int, err error) {
	_, width, height, err = check(data, o)
	return width, height, err
}
