package models

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRefused: families that the encoder does not have are refused by their
// names and with the reason, whatever their tensors are called.
func TestRefused(t *testing.T) {
	for config, says := range map[string]string{
		`{"model_type":"swin"}`:                   `config.json: model_type "swin" is not supported: its attention is in windows, and it is hierarchical`,
		`{"model_type":"yolos"}`:                  `model_type "yolos" is not supported: it finds objects`,
		`{"model_type":"siglip2"}`:                `model_type "siglip2" is not supported: it takes pictures of any shape`,
		`{"architecture":"swinv2_base_window16"}`: `architecture "swinv2_base_window16" is not supported: its attention is in windows`,
		`{"architecture":"vit_base_r50_s16_224"}`: `architecture "vit_base_r50_s16_224" is not supported: its patches come from a convolutional network`,
		`{"architecture":"samvit_base_patch16"}`:  `architecture "samvit_base_patch16" is not supported: its attention is in windows`,
	} {
		l := loaderFor(t, config, "")
		l.tensors = map[string]stored{timmViT.anchor: {}, huggingFaceViT.anchor: {}}
		_, err := l.layoutOf()
		require.ErrorContains(t, err, says)
	}
	for name, a := range timmArchs() {
		require.Empty(t, whyRefused("", name), "%s of %+v is read", name, a)
	}
	for _, y := range layouts {
		for _, kind := range y.types {
			require.Empty(t, whyRefused(kind, ""), "%s is read", kind)
		}
	}
}
