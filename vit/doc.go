// Package vit is the Vision Transformer: its configuration, its encoder and
// the order of the forward pass. One encoder serves many families, because
// most of their differences are folded into the weights when a checkpoint is
// read (package models).
//
// Dosovitskiy et al., "An Image is Worth 16x16 Words", https://arxiv.org/abs/2010.11929, equations 1 to 4.
//
// Letters in shapes, everywhere in this module:
//
//	B  batch: images
//	N  tokens, prefix tokens included
//	P  prefix tokens: class, distillation, registers
//	C  dim: the width of a token
//	H  heads
//	D  head dim, C/H
//	M  MLP dim
//	L  depth: blocks
//	K  classes
package vit
