package patch

func idct8(dst []byte, stride int, coef *coefficients, q *[64]int32) { idct8Go(dst, stride, coef, q) }
