#!/usr/bin/env bash
# Builds the program as it is released, static, stripped and with its version and commit: bash ci/build.sh OUT
# With a package and the folder of its module, that program: bash ci/build.sh OUT ./cmd/vitserve cloud
. "$(dirname "$0")/lib.sh"
flags='-s -w'
if commit=$(git rev-parse HEAD 2>/dev/null); then
  git diff --quiet HEAD || commit="$commit with changes"
  flags="$flags -X 'github.com/vitserve/vitserve/internal/cli.commit=$commit'"
fi
if version=$(git describe --tags --match 'v*' 2>/dev/null); then flags="$flags -X 'github.com/vitserve/vitserve/internal/cli.version=$version'"; fi
CGO_ENABLED=0 go build -C "${3:-.}" -trimpath -ldflags "$flags" -o "$(realpath -m "$1")" "${2:-./cmd/vitserve}"
