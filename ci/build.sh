#!/usr/bin/env bash
# Builds the program as it is released, static, stripped and with its version and commit: bash ci/build.sh OUT
# With a package and the folder of its module, that program: bash ci/build.sh OUT ./cmd/vitserve cloud
# With gpu in their place the program can open a GPU's driver, too, which takes a C compiler and libc; names are resolved
# by Go in both: bash ci/build.sh OUT gpu
. "$(dirname "$0")/lib.sh"
flags='-s -w'
if commit=$(git rev-parse HEAD 2>/dev/null); then
  git diff --quiet HEAD || commit="$commit with changes"
  flags="$flags -X 'github.com/vitserve/vitserve/internal/cli.commit=$commit'"
fi
if version=$(git describe --tags --match 'v*' 2>/dev/null); then flags="$flags -X 'github.com/vitserve/vitserve/internal/cli.version=$version'"; fi
cgo=0 tags='' package=${2:-./cmd/vitserve}
if [ "$package" = gpu ]; then cgo=1 tags=netgo,osusergo package=./cmd/vitserve; fi
CGO_ENABLED=$cgo go build -C "${3:-.}" -trimpath -tags "$tags" -ldflags "$flags" -o "$(realpath -m "$1")" "$package"
