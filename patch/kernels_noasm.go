//go:build purego || !amd64

package patch

const useAVX2 = false

func horizontal(dst, src []byte, a *axis)             { horizontalGo(dst, src, a) }
func line(dst, src []byte, a *axis)                   { lineGo(dst, src, a) }
func vertical(dst, src []byte, stride int, w []int32) { verticalGo(dst, src, stride, w) }
