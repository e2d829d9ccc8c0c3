// Package inference is the Open Inference Protocol over gRPC, as its clients
// have it: inference.proto, and what is made of it.
package inference

//go:generate go run -C _gen . ..
