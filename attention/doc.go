// Package attention is self-attention, the layer that a Vision Transformer is
// named for: forward, backward, and what of it is kept for those who look
// inside.
//
// A token is projected to a query, a key and a value. Each query is compared
// with every key, the scores become probabilities, and the token takes up
// that share of every value:
//
//	q, k, v = x Wq + bq, x Wk + bk, x Wv + bv     (B, N, C) each, of H heads (B, H, N, D)
//	scores  = q kᵀ / √D                           (B, H, N, N)
//	A       = softmax(scores), row by row         (B, H, N, N)
//	heads   = A v                                 (B, H, N, D), side by side (B, N, C)
//	y       = heads Wᵒ + bᵒ                       (B, N, C)
//
// Vaswani et al., "Attention Is All You Need",
// https://arxiv.org/abs/1706.03762, equation 1 and section 3.2.2.
//
// Backward the same steps are derived from the last to the first, of a loss L
// with ∂ short for ∂L/∂; weights are not derived:
//
//	∂heads  = ∂y Wᵒᵀ                              (B, H, N, D)
//	∂v      = Aᵀ ∂heads                           (B, H, N, D)
//	∂A      = ∂heads vᵀ                           (B, H, N, N)
//	∂scores = A ∘ (∂A - Σ over the row of A ∘ ∂A) (B, H, N, N)
//	∂q, ∂k  = ∂scores k / √D, ∂scoresᵀ q / √D     (B, H, N, D)
//	∂x      = ∂q Wqᵀ + ∂k Wkᵀ + ∂v Wvᵀ            (B, N, C)
//
// The relevance of the layer is the heads' mean of max(0, A ∘ ∂A) (B, N, N):
// attention that speaks for what L measures.
//
// Chefer et al., "Generic Attention-model Explainability for Interpreting
// Bi-Modal and Encoder-Decoder Transformers",
// https://arxiv.org/abs/2103.15679, equation 5.
//
// The N×N matrices are made only where Capture or GradCapture asks for them.
// What they say of a picture is read by package attention/focus.
//
// Letters in shapes are those of package vit: B batch, N tokens, C dim, H
// heads, D = C/H head dim; R are the query rows that are computed or kept.
package attention
