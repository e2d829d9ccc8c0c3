package oip

import (
	"cmp"
	"fmt"
	"slices"
)

// classify turns the values of an output into its k best, each a text
// "value:index" or "value:index:label".
//
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
func (o output) classify(k int, labels []string) output {
	n, each := o.shape[0], 1
	for _, d := range o.shape[1:] {
		each *= d
	}
	k = min(k, each)
	out := output{wanted: o.wanted, datatype: bytesType, shape: []int{n, k}}
	all := slices.Concat(o.parts...)
	for row := range slices.Chunk(all, each) {
		order := make([]int, each)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(row[j], row[i]) })
		for _, i := range order[:k] {
			text := fmt.Sprintf("%f:%d", row[i], i)
			if i < len(labels) && labels[i] != "" {
				text += ":" + labels[i]
			}
			out.texts = append(out.texts, text)
		}
	}
	return out
}
