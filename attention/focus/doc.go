// Package focus reads attention as maps: what a model looked at, laid back
// over the photo in the photo's own pixels, and how far each map can be
// trusted.
//
// It knows a model only by what it asks of one: see Explainer.
//
// Letters in shapes: B batch, N tokens (prefix tokens included), P prefix
// tokens, C dim, H heads, R recorded query rows.
package focus
