#!/usr/bin/env bash
# Models on every kernel variant that this machine has, by force, and the kernels' packages without any assembly.
. "$(dirname "$0")/lib.sh"
temporary
for variant in portable avx2 avx512; do
  if VITSERVE_CPU=$variant go run ./cmd/vitserve version >/dev/null 2>"$here/why"; then
    VITSERVE_CPU=$variant go test ./vit ./models
  else
    echo "$variant is not for this machine: $(tail -n 1 "$here/why")"
  fi
done
go test -tags purego ./backend/... ./patch/...
