// Package corrupt disturbs pictures as the corruptions of ImageNet-C do, in two
// flavours that differ: those of the Python package imagecorruptions and, where
// a formula settles them, those of the original programs.
//
// Pictures are bytes (H, W, 3) of any size from MinSize on. Gray photos are
// three equal channels, alpha is dropped, and of sixteen bits the upper eight
// count, as in package patch, whose photos these are. Random numbers are an
// argument: Draws gives them, and Seed makes the same ones for the same file,
// corruption, severity and seed on every machine.
//
// Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
// Corruptions and Perturbations", https://arxiv.org/abs/1903.12261; programs
// https://github.com/hendrycks/robustness. Michaelis et al., "Benchmarking
// Robustness in Object Detection", https://arxiv.org/abs/1907.07484; program
// https://github.com/bethgelab/imagecorruptions, version 1.1.2.
package corrupt
