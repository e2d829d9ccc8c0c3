#!/usr/bin/env bash
# A release is whole: a program for each of six systems, static, stripped and of this commit, with right checksums; that of
# this system runs.
. "$(dirname "$0")/lib.sh"
temporary
bash ci/release.sh "$here/dist"
cd "$here/dist"
[ "$(ls | wc -l)" = 7 ] || fail "want six programs and SHA256SUMS, found: $(ls)"
[ "$(wc -l < SHA256SUMS)" = 6 ] || fail "want six checksums, found: $(cat SHA256SUMS)"
sha256sum --check --strict --quiet SHA256SUMS
own=$(go env GOHOSTOS)-$(go env GOHOSTARCH)
for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do
  system=${target%/*} processor=${target#*/}
  file=$(ls | grep -E -- "-$system-$processor(\.exe)?$") || fail "no program for $target"
  case $file in *.exe) [ "$system" = windows ] || fail "$file, want no ending" ;; *) [ "$system" != windows ] || fail "$file, want .exe" ;; esac
  says=$(go version -m "$file")
  for setting in "GOOS=$system" "GOARCH=$processor" CGO_ENABLED=0 -trimpath=true; do
    grep -qF -- "$setting" <<< "$says" || fail "$file: want $setting in its settings, found: $says"
  done
  if [ "$system" = linux ] && readelf --sections --program-headers "$file" | grep -qE '\.symtab|INTERP'; then
    fail "$file has symbols or asks for a loader, want it stripped and static"
  fi
  if [ "$system-$processor" = "$own" ]; then "./$file" version; fi
done
