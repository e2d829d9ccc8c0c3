#!/usr/bin/env bash
# A release is whole: a program for each of six systems, static, stripped and of this commit, with right checksums; that of
# this system runs. On linux/amd64 there is a second, with a GPU's drivers, which needs libc alone and runs without them.
. "$(dirname "$0")/lib.sh"
temporary
bash ci/release.sh "$here/dist"
cd "$here/dist"
own=$(go env GOHOSTOS)-$(go env GOHOSTARCH)
programs=6
if [ "$own" = linux-amd64 ]; then programs=7; fi
[ "$(ls | wc -l)" = $((programs + 1)) ] || fail "want $programs programs and SHA256SUMS, found: $(ls)"
[ "$(wc -l < SHA256SUMS)" = "$programs" ] || fail "want $programs checksums, found: $(cat SHA256SUMS)"
sha256sum --check --strict --quiet SHA256SUMS
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
if [ "$own" = linux-amd64 ]; then
  file=$(ls | grep -E -- '-linux-amd64-gpu$') || fail "no program with a GPU's drivers"
  grep -qF CGO_ENABLED=1 <<< "$(go version -m "$file")" || fail "$file, want it built with cgo"
  # Where there is no driver it says so, and works all the same.
  for driver in cuda opencl; do
    says=$(VITSERVE_CUDA=/nowhere/libcuda.so.1 VITSERVE_OPENCL=/nowhere/libOpenCL.so.1 "./$file" version --backend "$driver")
    grep -qE 'no (NVIDIA driver|OpenCL loader): /nowhere' <<< "$says" || fail "$file, want it to name the driver that is missing, found: $says"
  done
  says=$("./$file" classify --json "$OLDPWD/testdata/images/orange.jpg")
  grep -q '"predictions"' <<< "$says" || fail "$file answers $says"
fi
