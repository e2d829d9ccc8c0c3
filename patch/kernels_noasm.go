//go:build purego || !amd64

package patch

const useAVX2 = false

func idct8(dst []byte, stride int, coef *coefficients, q *[64]int32) { idct8Go(dst, stride, coef, q) }
func idct4(dst []byte, stride int, coef *coefficients, q *[64]int32) { idct4Go(dst, stride, coef, q) }
func horizontal(dst, src []byte, a *axis)                            { horizontalGo(dst, src, a) }
func line(dst, src []byte, a *axis)                                  { lineGo(dst, src, a) }
func vertical(dst, src []byte, stride int, w []int32)                { verticalGo(dst, src, stride, w) }
func addRows(sums []uint16, near, far []byte)                        { addRowsGo(sums, near, far) }
func widen(dst []byte, sums []uint16, n int, left, right uint16)     { widenGo(dst, sums, n, left, right) }
func yccRow(dst, y, cb, cr []byte, n int)                            { yccRowGo(dst, y, cb, cr, n) }
