package backend

import "fmt"

// CheckPatchEmbedGrad panics unless the operands fit.
func CheckPatchEmbedGrad(dpixels, dx Tensor, p *PatchEmbed) {
	const op = "PatchEmbedGrad"
	checkEmbed(op, dx, dpixels, p)
	checkWritten(op, dpixels)
}

// CheckLayerNormGrad panics unless the operands fit.
func CheckLayerNormGrad(dx, dy, x Tensor, n Norm, residual Tensor) {
	const op = "LayerNormGrad"
	b, rows, c := dims(op, "x", x)
	checkNorm(op, x, n)
	checkShape(op, "dy", dy, b, rows, c)
	checkShape(op, "dx", dx, b, rows, c)
	checkWritten(op, dx)
	checkResidual(op, residual, b, rows, c)
}

// CheckLinearGrad panics unless the operands fit. gated is what the weight
// was made with.
func CheckLinearGrad(dx, dy Tensor, w Linear, gated bool, e Epilogue) {
	const op = "LinearGrad"
	b, n, columns := dims(op, "dy", dy)
	out, in := w.Out(), w.In()
	if gated != (e.Act == SwiGLU) {
		panic(fmt.Sprintf("backend: %s: activation %v on a weight (%d, %d) made with Gated %v", op, e.Act, out, in, gated))
	}
	if e.Act > SwiGLU {
		panic(fmt.Sprintf("backend: %s: %v", op, e.Act))
	}
	want := out
	if gated {
		want /= 2
	}
	if columns != want {
		panic(fmt.Sprintf("backend: %s: dy %v, weight (%d, %d)", op, dy.Shape, out, in))
	}
	if e.Act != Identity {
		checkKept(op, "pre", e.Pre)
		checkShape(op, "pre", e.Pre, b, n, out)
	}
	checkShape(op, "dx", dx, b, n, in)
	checkWritten(op, dx)
	checkResidual(op, e.Residual, b, n, in)
}

// CheckAttentionGrad panics unless the operands fit.
func CheckAttentionGrad(dq, dk, dv, do, q, k, v Tensor, a Attention) {
	const op = "AttentionGrad"
	b, r, n := checkHeads(op, q, k, v, a)
	c := q.Shape[2]
	checkShape(op, "do", do, b, r, c)
	kept := func(name string, t Tensor, shape ...int) {
		if !t.IsZero() {
			checkShape(op, name, t, shape...)
			checkWritten(op, t)
		}
	}
	kept("dq", dq, b, r, c)
	kept("dk", dk, b, n, c)
	kept("dv", dv, b, n, c)
	checkKept(op, "probs' gradient", a.ProbsGrad)
	checkKept(op, "relevance", a.Relevance)
	kept("probs' gradient", a.ProbsGrad, b, a.Heads, r, n)
	kept("relevance", a.Relevance, b, r, n)
}

// CheckPoolGrad panics unless the operands fit.
func CheckPoolGrad(dx, dy Tensor, spans ...Span) {
	const op = "PoolGrad"
	b, _, c := checkSpans(op, "dx", dx, spans)
	checkKept(op, "dy", dy)
	checkShape(op, "dy", dy, b, 1, len(spans)*c)
	checkWritten(op, dx)
}

// CheckGatherGrad panics unless the operands fit.
func CheckGatherGrad(dx, dy Tensor, rows []int) {
	const op = "GatherGrad"
	checkGather(op, dy, dx, rows)
	checkWritten(op, dx)
}
