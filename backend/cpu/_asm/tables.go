package main

import "math"

// table is 32 numbers that VPERMI2PS chooses from.
type table struct {
	name   string
	values [32]float32
}

// exp2Table has 2^(i/32). The polynomial beside it is for |f| ≤ w = 1/64:
//
//	2^f = 1 + f·ln 2 + f²·ln²2/2 + f³·ln³2/6 + …
//
// where the cubic term is replaced by the linear one that is nearest to it,
// 3w²/4 times as large, which leaves an error of w³ln³2/24 = 5e-8.
var exp2Table = func() *table {
	t := &table{name: "exp2Table"}
	for i := range t.values {
		t.values[i] = float32(math.Exp2(float64(i) / 32))
	}
	return t
}()

var (
	exp2Linear = math.Ln2 + math.Pow(math.Ln2, 3)/6*3/(4*64*64)
	exp2Square = math.Ln2 * math.Ln2 / 2
)

// phiStep is the distance of the points about which Φ(-a) is a cubic. At the
// last one, 5.3, it is below 5e-8 and taken for zero.
const phiStep = 11. / 64

// phiTables have the coefficients of the cubics, the highest first. Each
// cubic passes through Φ(-a) at the four Chebyshev points of its interval;
// it is off by 1.6e-7 at most.
var phiTables = func() (tables [4]*table) {
	for i, name := range []string{"phi3", "phi2", "phi1", "phi0"} {
		tables[i] = &table{name: name}
	}
	for k := range 32 {
		center := float64(k) * phiStep
		var nodes, values [4]float64
		for i := range nodes {
			nodes[i] = phiStep / 2 * math.Cos((2*float64(i)+1)*math.Pi/8)
			values[i] = 0.5 * math.Erfc((center+nodes[i])/math.Sqrt2)
		}
		c := cubic(nodes, values)
		if k == 31 {
			c[0] = 0
		}
		for i := range tables {
			tables[i].values[k] = float32(c[3-i])
		}
	}
	return tables
}()

// cubic interpolates four values; its coefficients come lowest first.
func cubic(x, y [4]float64) (c [4]float64) {
	for d := 1; d < 4; d++ { // divided differences
		for i := 3; i >= d; i-- {
			y[i] = (y[i] - y[i-1]) / (x[i] - x[i-d])
		}
	}
	for i := 3; i >= 0; i-- { // c = c·(X - xᵢ) + yᵢ
		for j := 3; j > 0; j-- {
			c[j] = c[j-1] - c[j]*x[i]
		}
		c[0] = y[i] - c[0]*x[i]
	}
	return c
}
