package backend

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"
)

// The functions Check… are the shape rules of a Stream's operations, for
// backends to call where an operation is enqueued: a wrong shape is the
// caller's bug and panics with what was wanted and what was found. They
// allocate nothing when all is well.

// HostFloats returns the values of a host tensor, which must be row-major,
// contiguous float32, as every tensor at the border of a package is.
func HostFloats(t *tensor.Dense) ([]float32, error) {
	switch {
	case t == nil:
		return nil, fmt.Errorf("backend: host tensor is nil")
	case t.Dtype() != tensor.Float32:
		return nil, fmt.Errorf("backend: host tensor %v of %v, want float32", t.Shape(), t.Dtype())
	case t.RequiresIterator() || t.DataOrder().IsColMajor():
		return nil, fmt.Errorf("backend: host tensor %v with strides %v, want contiguous rows", t.Shape(), t.Strides())
	}
	// A scalar of one value or a view of a larger tensor may hold more than
	// its shape says.
	return t.Float32s()[:t.Shape().TotalSize()], nil
}

// CheckHost panics unless t is of the shape of d and HostFloats has it.
func CheckHost(op string, d Tensor, t *tensor.Dense) []float32 {
	f, err := HostFloats(t)
	if err != nil {
		panic("backend: " + op + ": " + err.Error())
	}
	// Not Shape.Eq, to which a vector is equal to a matrix of one row.
	if !slices.Equal(d.Shape, t.Shape()) {
		panic(fmt.Sprintf("backend: %s: host tensor %v, device tensor %v", op, t.Shape(), d.Shape))
	}
	checkKept(op, "tensor", d)
	checkView(op, "tensor", d)
	return f
}

// CheckPatchEmbed panics unless the operands fit. Pixels behind the last
// whole patch are not looked at.
func CheckPatchEmbed(x, pixels Tensor, p *PatchEmbed) {
	const op = "PatchEmbed"
	checkEmbed(op, x, pixels, p)
	checkWritten(op, x)
}

// checkEmbed checks the operands of the embedding and of its gradient.
func checkEmbed(op string, x, pixels Tensor, p *PatchEmbed) {
	if len(pixels.Shape) != 4 || pixels.Shape[1] != 3 {
		panic(fmt.Sprintf("backend: %s: pixels %v, want (B, 3, H, W)", op, pixels.Shape))
	}
	if p.Patch[0] < 1 || p.Patch[1] < 1 || p.Patch[0] > pixels.Shape[2] || p.Patch[1] > pixels.Shape[3] {
		panic(fmt.Sprintf("backend: %s: patch %v, pixels %v", op, p.Patch, pixels.Shape))
	}
	n := (pixels.Shape[2] / p.Patch[0]) * (pixels.Shape[3] / p.Patch[1])
	c := p.Proj.Out()
	if in := 3 * p.Patch[0] * p.Patch[1]; p.Proj.In() != in {
		panic(fmt.Sprintf("backend: %s: weight (%d, %d), want (%d, %d)", op, c, p.Proj.In(), c, in))
	}
	prefix := 0
	if !p.Prefix.IsZero() {
		prefix = p.Prefix.Shape[0]
		checkShape(op, "prefix", p.Prefix, prefix, c)
	}
	if !p.Pos.IsZero() {
		checkShape(op, "positions", p.Pos, n, c)
	}
	checkKept(op, "pixels", pixels)
	checkView(op, "pixels", pixels)
	checkKept(op, "x", x)
	checkShape(op, "x", x, pixels.Shape[0], prefix+n, c)
}

// CheckLayerNorm panics unless the operands fit.
func CheckLayerNorm(y, x Tensor, n Norm) {
	const op = "LayerNorm"
	b, rows, c := dims(op, "x", x)
	checkNorm(op, x, n)
	checkShape(op, "y", y, b, rows, c)
	checkWritten(op, y)
	checkResidual(op, n.Residual, b, rows, c)
}

// checkNorm checks the constants of the norm of x and of its gradient.
func checkNorm(op string, x Tensor, n Norm) {
	c, heads := x.Shape[2], max(n.Heads, 1)
	if n.Heads < 0 || c%heads != 0 {
		panic(fmt.Sprintf("backend: %s: norm of %d heads, x %v", op, n.Heads, x.Shape))
	}
	checkShape(op, "weight", n.Weight, c/heads)
	if !n.RMS {
		checkShape(op, "bias", n.Bias, c/heads)
	} else if !n.Bias.IsZero() {
		panic(fmt.Sprintf("backend: %s: bias %v of a root mean square, x %v", op, n.Bias.Shape, x.Shape))
	}
}

// CheckLinear panics unless the operands fit. gated is what the weight was
// made with.
func CheckLinear(y, x Tensor, w Linear, gated bool, e Epilogue) {
	const op = "Linear"
	b, n, in := dims(op, "x", x)
	out := w.Out()
	if in != w.In() {
		panic(fmt.Sprintf("backend: %s: x %v, weight (%d, %d)", op, x.Shape, out, w.In()))
	}
	if gated != (e.Act == SwiGLU) {
		panic(fmt.Sprintf("backend: %s: activation %v on a weight (%d, %d) made with Gated %v", op, e.Act, out, in, gated))
	}
	if e.Act > SwiGLU {
		panic(fmt.Sprintf("backend: %s: %v", op, e.Act))
	}
	if !e.Pre.IsZero() {
		checkKept(op, "pre", e.Pre)
		checkShape(op, "pre", e.Pre, b, n, out)
		checkWritten(op, e.Pre)
	}
	if gated {
		out /= 2
	}
	checkShape(op, "y", y, b, n, out)
	checkWritten(op, y)
	checkResidual(op, e.Residual, b, n, out)
}

// checkResidual checks what is added to an output, if there is any.
func checkResidual(op string, t Tensor, shape ...int) {
	if !t.IsZero() {
		checkKept(op, "residual", t)
		checkShape(op, "residual", t, shape...)
	}
}

// CheckAttention panics unless the operands fit.
func CheckAttention(o, q, k, v Tensor, a Attention) {
	const op = "Attention"
	b, r, n := checkHeads(op, q, k, v, a)
	checkShape(op, "o", o, b, r, q.Shape[2])
	checkWritten(op, o)
	if !a.Probs.IsZero() {
		kept := r
		if a.Rows != nil {
			kept = len(a.Rows)
		}
		checkKept(op, "probs", a.Probs)
		checkShape(op, "probs", a.Probs, b, a.Heads, kept, n)
		checkWritten(op, a.Probs)
		checkRows(op, a.Rows, r, q)
	}
}

// checkHeads checks what attention and its gradient read, and returns their
// batch, rows of q and of k.
func checkHeads(op string, q, k, v Tensor, a Attention) (b, r, n int) {
	b, r, c := dims(op, "q", q)
	_, n, _ = dims(op, "k", k)
	checkShape(op, "k", k, b, n, c)
	checkShape(op, "v", v, b, n, c)
	if a.Heads < 1 || c%a.Heads != 0 {
		panic(fmt.Sprintf("backend: %s: %d heads, q %v", op, a.Heads, q.Shape))
	}
	if (a.Rope != nil || a.Causal) && r > n {
		panic(fmt.Sprintf("backend: %s: q %v, k %v with rope or a causal mask, want no more rows in q", op, q.Shape, k.Shape))
	}
	if a.Rope != nil {
		d := c / a.Heads
		if d%2 != 0 || a.Rope.Prefix < 0 || a.Rope.Prefix > n {
			panic(fmt.Sprintf("backend: %s: rope after %d tokens for heads of %d, k %v", op, a.Rope.Prefix, d, k.Shape))
		}
		checkAngles(op, "cos", a.Rope.Cos, b, n-a.Rope.Prefix, d, c)
		checkAngles(op, "sin", a.Rope.Sin, b, n-a.Rope.Prefix, d, c)
	}
	checkKept(op, "bias", a.Bias)
	if len(a.Bias.Shape) == 4 {
		checkShape(op, "bias", a.Bias, b, a.Heads, r, n)
	} else if !a.Bias.IsZero() {
		checkShape(op, "bias", a.Bias, a.Heads, r, n)
	}
	return b, r, n
}

// checkAngles checks rotary positions of all images or of each, of all heads
// (d) or of each (c).
func checkAngles(op, name string, t Tensor, b, n, d, c int) {
	if len(t.Shape) > 0 && t.Shape[len(t.Shape)-1] == c {
		d = c
	}
	if len(t.Shape) == 3 {
		checkShape(op, name, t, b, n, d)
		return
	}
	checkShape(op, name, t, n, d)
}

// CheckPool panics unless the operands fit.
func CheckPool(y, x Tensor, spans ...Span) {
	const op = "Pool"
	b, _, c := checkSpans(op, "x", x, spans)
	checkKept(op, "y", y)
	checkShape(op, "y", y, b, 1, len(spans)*c)
	checkWritten(op, y)
}

// checkSpans returns the shape of tokens that spans are of.
func checkSpans(op, name string, x Tensor, spans []Span) (b, n, c int) {
	b, n, c = dims(op, name, x)
	checkKept(op, name, x)
	for _, s := range spans {
		if s.Lo < 0 || s.Hi <= s.Lo || s.Hi > n {
			panic(fmt.Sprintf("backend: %s: span %v, %s %v", op, s, name, x.Shape))
		}
	}
	return b, n, c
}

// CheckGather panics unless the operands fit.
func CheckGather(y, x Tensor, rows []int) {
	const op = "Gather"
	checkGather(op, y, x, rows)
	checkWritten(op, y)
}

// checkGather checks the operands of gathering x to y and of its gradient.
func checkGather(op string, y, x Tensor, rows []int) {
	b, n, c := dims(op, "x", x)
	checkRows(op, rows, n, x)
	each := len(rows)
	if len(y.Shape) == 3 && b*y.Shape[1] == len(rows) {
		each = y.Shape[1]
	}
	checkKept(op, "x", x)
	checkKept(op, "y", y)
	checkShape(op, "y", y, b, each, c)
}

// CheckRelativeBias panics unless the operands fit.
func CheckRelativeBias(y Tensor, p *Relative, tokens []int) {
	const op = "RelativeBias"
	d := len(y.Shape)
	if d != 3 && d != 4 {
		panic(fmt.Sprintf("backend: %s: y %v, want (H, R, N) or (B, H, R, N)", op, y.Shape))
	}
	if p.Grid[0] < 1 || p.Grid[1] < 1 || p.Prefix < 0 {
		panic(fmt.Sprintf("backend: %s: grid %v after %d tokens", op, p.Grid, p.Prefix))
	}
	table := (2*p.Grid[0] - 1) * (2*p.Grid[1] - 1)
	if p.Prefix > 0 {
		table += 3
	}
	checkShape(op, "table", p.Table, table, y.Shape[d-3])
	images, r, n := 1, y.Shape[d-2], y.Shape[d-1]
	if d == 4 {
		images = y.Shape[0]
	}
	want := len(tokens)
	if tokens == nil {
		want = images * p.Tokens()
	}
	if r > n || images*n != want || tokens == nil && d == 4 {
		panic(fmt.Sprintf("backend: %s: y %v of %d tokens of a grid %v after %d", op, y.Shape, want, p.Grid, p.Prefix))
	}
	for _, t := range tokens {
		if t < 0 || t >= p.Tokens() {
			panic(fmt.Sprintf("backend: %s: token %d of a grid %v after %d, y %v", op, t, p.Grid, p.Prefix, y.Shape))
		}
	}
	checkKept(op, "y", y)
	checkView(op, "y", y)
	checkWritten(op, y)
}

func checkRows(op string, rows []int, n int, x Tensor) {
	for _, r := range rows {
		if r < 0 || r >= n {
			panic(fmt.Sprintf("backend: %s: row %d of %v", op, r, x.Shape))
		}
	}
}

// dims returns the shape of a tensor of tokens (B, N, C).
func dims(op, name string, t Tensor) (b, n, c int) {
	if len(t.Shape) != 3 {
		panic(fmt.Sprintf("backend: %s: %s %v, want (B, N, C)", op, name, t.Shape))
	}
	checkView(op, name, t)
	return t.Shape[0], t.Shape[1], t.Shape[2]
}

func checkShape(op, name string, t Tensor, want ...int) {
	same := len(t.Shape) == len(want)
	for i := 0; same && i < len(want); i++ {
		same = t.Shape[i] == want[i]
	}
	if !same {
		// A copy, so that want stays on the stack of those who are right.
		panic(fmt.Sprintf("backend: %s: %s %v, want %v", op, name, t.Shape, append(tensor.Shape(nil), want...)))
	}
	checkView(op, name, t)
}

// checkKept panics where a tensor is a Temp that may be none.
func checkKept(op, name string, t Tensor) {
	if t.Mem != nil && t.Mem.Temporary() {
		panic(fmt.Sprintf("backend: %s: %s %v is a Temp", op, name, t.Shape))
	}
}

// checkWritten panics where the images of an output share their memory.
func checkWritten(op string, t Tensor) {
	if len(t.Shape) > 2 && t.Shape[0] > 1 && t.Batch == 0 {
		panic(fmt.Sprintf("backend: %s: output %v with batch stride 0", op, t.Shape))
	}
}

// checkView panics where a view reaches out of its memory.
func checkView(op, name string, t Tensor) {
	if t.Mem == nil {
		panic(fmt.Sprintf("backend: %s: %s is no tensor", op, name))
	}
	d := len(t.Shape)
	end := t.Offset
	rows := 1
	for i, n := range t.Shape {
		if n < 0 {
			panic(fmt.Sprintf("backend: %s: %s %v", op, name, t.Shape))
		}
		if n == 0 {
			return
		}
		switch {
		case i == d-1:
			end += n
		case i == 0 && d > 2:
			end += (n - 1) * t.Batch
		default:
			rows *= n
		}
	}
	end += (rows - 1) * t.Row
	if t.Offset < 0 || t.Batch < 0 || t.Row < 0 || end > t.Mem.Floats() {
		panic(fmt.Sprintf("backend: %s: %s %v at %d, strides %d and %d, in memory of %d",
			op, name, t.Shape, t.Offset, t.Batch, t.Row, t.Mem.Floats()))
	}
}
