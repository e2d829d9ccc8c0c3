#!/usr/bin/env bash
# Pointers stay within their allocations (checkptr ends a test in which one does not), and kernels within their memory
# (guard pages). Both run every variant that this machine has.
. "$(dirname "$0")/lib.sh"
go test -count=1 -run GuardPages ./backend/cpu ./patch/... ./internal/fence
# Of the backend's tests those of kernels, packing and programs: the rest is arithmetic on the same paths.
go test -gcflags=all=-d=checkptr ./vit ./models
# Of pictures those of kernels: the rest keeps to slices, and some of it is held to a time, which checkptr takes.
go test -gcflags=all=-d=checkptr ./patch/... -run 'Kernels|GuardPages|Pixels|Kinds|Resize|Transform'
go test -gcflags=all=-d=checkptr ./backend/cpu -run \
  'GEMM|BF16|Pairs|Rounded|ToU8|Activation|SwiGLU|Add|Transpose|Rotate|Softmax|Norm|Grads|AnyQueue|Packs|Chunks|Attention|Barriers'
