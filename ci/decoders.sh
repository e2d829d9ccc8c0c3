#!/usr/bin/env bash
# HEIC, AVIF and JPEG XL by Debian's programs, held to the references' pictures, in go test and by the real binary with
# the lines of docs/decode.md. Programs that are missing are installed; where they cannot be, the stage fails.
# --install does no more than that.
. "$(dirname "$0")/lib.sh"

missing() {
  local p
  for p in heif-convert avifdec djxl; do command -v "$p" >/dev/null || return 0; done
  return 1
}

if missing; then
  as=()
  if [ "$(id -u)" != 0 ]; then as=(sudo -n); fi
  apt=("${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update || fail "apt-get update fails"
  "${apt[@]}" install --no-install-recommends -y libheif-examples libavif-bin libjxl-tools >/dev/null ||
    fail "libheif-examples, libavif-bin and libjxl-tools cannot be installed"
fi
if missing; then fail "want heif-convert, avifdec and djxl"; fi
if [ "${1:-}" = --install ]; then exit 0; fi

VITSERVE_DECODERS=1 go test -count=1 -v -run Programs ./patch/external | grep -v '^=== '

temporary
bash ci/build.sh "$here/vitserve"
"$here/vitserve" classify --top 1 patch/external/testdata/pictures \
  --decoder 'heic=heif-convert --quiet {in} {out}.png' \
  --decoder 'avif=avifdec --no-strict -d 8 --png-compress 0 {in} {out}.png' \
  --decoder 'jxl=djxl --quiet --bits_per_sample=8 {in} {out}.ppm' >"$here/answers"
files=$(find patch/external/testdata/pictures -type f | wc -l)
[ "$(wc -l <"$here/answers")" = "$files" ] || fail "want $files answers: $(cat "$here/answers")"
echo "$files pictures answered"
