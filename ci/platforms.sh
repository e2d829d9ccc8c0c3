#!/usr/bin/env bash
# The program builds for systems that no test runs on.
. "$(dirname "$0")/lib.sh"
for target in linux/arm64 darwin/arm64 windows/amd64; do
  echo "$target"
  CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build -o /dev/null ./cmd/vitserve
done
