//go:build purego || !amd64

package jpeg

const useAVX2 = false

func idct8(dst []byte, stride int, coef *[64]int16, q *[64]int16) { idct8Go(dst, stride, coef, q) }
func idct4(dst []byte, stride int, coef *[64]int16, q *[64]int16) { idct4Go(dst, stride, coef, q) }
func addRows(sums []uint16, near, far []byte)                     { addRowsGo(sums, near, far) }
func widen(dst []byte, sums []uint16, n int, left, right uint16)  { widenGo(dst, sums, n, left, right) }

// YCC converts n pixels of YCbCr to RGBA.
func YCC(dst, y, cb, cr []byte, n int) { yccRowGo(dst, y, cb, cr, n) }
