package main

import (
	"fmt"
	"regexp"
	"strings"
)

// docs say what each kernel computes, by its name without the instruction set
// and the number of rows; they stand above it in the assembly. In them r is
// the number of rows, n that of values in a row.
var docs = map[string]string{
	"gemm": `multiplies a strip of R rows of k float32 with a panel of COLS columns:

	for i := range R { for j := range COLS {
		s := bias[j] // 0 without bias
		for q := range k { s += a[i][q] * b[q][j] }
		c[i][j] = s // or += s when acc is 1
	} }`,
	"gemmBF16": `multiplies a strip of R rows of k pairs of bf16 with a panel of COLS columns:

	for i := range R { for j := range COLS {
		s := bias[j] // float32, 0 without bias
		for q := range k { s += a[i][q][0]*b[q][j][0] + a[i][q][1]*b[q][j][1] }
		c[i][j] = s // or += s when acc is 1
	} }`,
	"gemmInt8": `multiplies a strip of R rows of k fours of u8 with a panel of COLS columns of s8:

	for i := range R { for j := range COLS {
		s := offset[j] // int32
		for q := range k { for v := range 4 { s += a[i][q][v] * b[q][j][v] } }
		c[i][j] = s*rowScale[i]*colScale[j] + bias[j] // or += when acc is 1
	} }`,
	"peak":          "does n rounds of multiplications and additions that wait for nothing.",
	"gelu":          "is c[i][j] = c[i][j]*Φ(c[i][j]) over r rows of n, Φ the normal distribution.",
	"geluTanh":      "is c[i][j] = x/(1+exp(-2√(2/π)(x+0.044715x³))), x = c[i][j], over r rows of n.",
	"quickGELU":     "is c[i][j] = x/(1+exp(-1.702x)), x = c[i][j], over r rows of n.",
	"geluGrad":      "is y[i][j] *= Φ(x)+x*φ(x), x = x[i][j], over r rows of n.",
	"geluTanhGrad":  "is y[i][j] *= σ(u)+x*u'*σ(u)σ(-u), u = 2√(2/π)(x+0.044715x³), x = x[i][j], over r rows of n.",
	"quickGELUGrad": "is y[i][j] *= σ(z)(1+z*σ(-z)), z = 1.702x[i][j], over r rows of n.",
	"swiglu":        "is y[i][j] = x[i][j]*σ(x[i][j])*x[i][n+j] over r rows of n.",
	"softmax": `is, in each of r rows of n values,

	x[j] = exp(scale*(x[j]-max)) / Σ exp(scale*(x-max))

	with zeros behind n up to a multiple of 16.`,
	"softmaxGrad": "is y[i][j] = p[i][j]*(y[i][j] - Σ p[i][k]*y[i][k]) over r rows of n.",
	"relevance":   "is y[i][j] += max(0, p[i][j]*d[i][j]) over r rows of n.",
	"layerNorm":   "is y[j] = (x[j]-mean)/sqrt(var+eps)*w[j] + b[j] over n values.",
	"rmsNorm":     "is y[j] = x[j]/sqrt(mean(x²)+eps)*w[j] over n values.",
	"add":         "is y[i][j] += x[i][j] over r rows of n.",
	"fetch":       "brings r rows of n values into the cache.",
	"transpose":   "is y[j][i] = x[i][j] over r rows of n values of four bytes.",
	"rotate": `turns r rows of n values by their positions, j < n/2, m = j+n/2:

	y[i][j] = (x[i][j]*cos[i][j] - x[i][m]*sin[i][j])*scale
	y[i][m] = (x[i][m]*cos[i][m] + x[i][j]*sin[i][m])*scale`,
	"rotatePairs": `turns r rows of n values by their positions, j even, m = j+1:

	y[i][j] = (x[i][j]*cos[i][j] - x[i][m]*sin[i][j])*scale
	y[i][m] = (x[i][m]*cos[i][m] + x[i][j]*sin[i][m])*scale`,
	"toBF16": "is y[i][j] = bf16(x[i][j]) over r rows of n, to the nearest, ties to even.",
	"pairs":  "is y[i/2][j][i%2] = bf16(x[i][j]) over r rows of n, with zeros beside an odd last row.",
	"toU8":   "is scales[i] = max|x[i]|/127, y[i][j] = 128 + round(x[i][j]/scales[i]) over r rows of n.",
}

var kernelName = regexp.MustCompile(`^(\w+?)(Half)?(BF16|Int8)?(AVX512|AVX2)(?:x(\d+))?$`)

// doc is the comment above a kernel. A kernel without one is an error.
func (w *fn) doc() string {
	m := kernelName.FindStringSubmatch(w.name)
	if m == nil {
		panic("the name of " + w.name)
	}
	base, half, low, rows := m[1], m[2] != "", m[3], m[5]
	text, ok := docs[base+low]
	if !ok && low == "BF16" { // a kernel of float32 with its result in bf16
		text, ok = docs[base]
		text = strings.TrimSuffix(text, ".") + "; the result is rounded to bf16."
	}
	if !ok {
		panic("docs has no " + base + low)
	}
	if rows != "" {
		cols := 2 * w.size / 4
		if half {
			cols /= 2
		}
		text = regexp.MustCompile(`\bR rows`).ReplaceAllString(text, rows+" rows")
		text = regexp.MustCompile(`\bR\b`).ReplaceAllString(text, rows)
		text = regexp.MustCompile(`\bCOLS\b`).ReplaceAllString(text, fmt.Sprint(cols))
		text = strings.ReplaceAll(text, " 1 rows ", " 1 row ")
	}
	var lines []string
	for _, l := range strings.Split(w.name+" "+text, "\n") {
		if !strings.HasPrefix(l, "\t") {
			l = " " + l
		}
		lines = append(lines, strings.TrimRight("//"+l, " "))
	}
	return strings.Join(lines, "\n") + "\n"
}
