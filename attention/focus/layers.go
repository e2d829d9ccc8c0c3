package focus

// Layers count from 1 for people: in Options, Part and Map, in flags, answers
// and errors, where 0 says that none is named. Blocks count from 0 in code.
// The two functions here are the one place where one becomes the other.

// blockOf returns the block of a layer, or unnamed where none is named.
func blockOf(layer, unnamed int) int {
	if layer == 0 {
		return unnamed
	}
	return layer - 1
}

// layerOf returns the layer of a block.
func layerOf(block int) int { return block + 1 }
