#!/usr/bin/env bash
# Builds the programs of a release, static and stripped, for every system, with their checksums: bash ci/release.sh [FOLDER]
# For linux/amd64 there is a second one, with -gpu behind its name, that opens a GPU's driver where there is one: it needs
# libc, of which it says the version, and nothing else. Other systems need a C compiler for linux/amd64, named by CC.
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
own=$(go env GOHOSTOS)-$(go env GOHOSTARCH)
if [ "$own" = linux-amd64 ] || [ -n "${CC:-}" ]; then
  file=vitserve-$name-linux-amd64-gpu
  GOOS=linux GOARCH=amd64 bash ci/build.sh "$out/$file" gpu
  needs=$(readelf --dynamic "$out/$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  [ "$needs" = libc.so.6 ] || fail "$file needs the libraries $needs, want libc.so.6 alone"
  if [ "$own" = linux-amd64 ]; then
    more=$(ldd "$out/$file" | grep -vE 'linux-vdso|/ld-linux-x86-64|libc\.so\.6') || true
    [ -z "$more" ] || fail "$file loads $more"
  fi
  glibc=$(readelf --wide --dyn-syms "$out/$file" | grep -oE 'GLIBC_[0-9.]+' | sed 's/.*_//' | sort -Vu | tail -1)
  built+=("$file")
  echo "$file: $(wc -c < "$out/$file") bytes, needs glibc $glibc or newer"
else
  echo "linux-amd64-gpu is left out: it takes a C compiler for linux/amd64, named by CC" >&2
fi
(cd "$out" && sha256sum "${built[@]}" > SHA256SUMS)
echo "checksums in $out/SHA256SUMS"
