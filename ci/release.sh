#!/usr/bin/env bash
# Builds the programs of a release, static and stripped, for every system, with their checksums: bash ci/release.sh [FOLDER]
. "$(dirname "$0")/lib.sh"
out=${1:-dist}
mkdir -p "$out"
name=$(git describe --tags --match 'v*' 2>/dev/null || echo "v$(head -1 internal/cli/version.txt)")
built=()
for system in linux darwin windows; do
  for processor in amd64 arm64; do
    file=vitserve-$name-$system-$processor
    if [ "$system" = windows ]; then file=$file.exe; fi
    GOOS=$system GOARCH=$processor bash ci/build.sh "$out/$file"
    built+=("$file")
    echo "$file: $(wc -c < "$out/$file") bytes"
  done
done
(cd "$out" && sha256sum "${built[@]}" > SHA256SUMS)
echo "checksums in $out/SHA256SUMS"
