// Package remote asks servers of other makes about disturbed photos: Hugging
// Face's task API, the Open Inference Protocol with pixels, and any classifier
// that answers JSON, by a small file that says how it is asked.
package remote
