#!/usr/bin/env bash
# Builds the image of containers for amd64 and arm64, without a daemon: bash ci/buildimage.sh [FOLDER [PACKAGE FOLDER]]
# The second and third are the program's package and the module's folder, for the program with the drivers of clouds.
. "$(dirname "$0")/lib.sh"
out=$(realpath -m "${1:-dist/image}")
temporary
programs=()
for processor in amd64 arm64; do
  GOOS=linux GOARCH=$processor bash ci/build.sh "$here/vitserve-$processor" "${@:2}"
  programs+=("$processor=$here/vitserve-$processor")
done
version=$(git describe --tags --match 'v*' 2>/dev/null || echo "v$(head -1 internal/cli/version.txt)")
go run -C deploy/image . -out "$out" -version "$version" -revision "$(git rev-parse HEAD 2>/dev/null || true)" \
  -created "$(git log -1 --format=%ct 2>/dev/null || echo 0)" "${programs[@]}"
