#!/usr/bin/env bash
# Bounds that hold from version to version: of the stripped static binary, of the module graph, of the processor time of
# a cold build beside that of the commit below in the same run, and of the time from a start to the first answer.
. "$(dirname "$0")/lib.sh"
temporary
base=ed064fe2fce57517a0dd63adb2d09f95eea47f0c
# What that commit's cold build takes beside that of net/http and go/types alone, for clones that do not have it.
known=0

bash ci/build.sh "$here/vitserve"
bytes=$(stat -c %s "$here/vitserve")
echo "binary: $bytes bytes, at most 42000000"
[ "$bytes" -le 42000000 ] || fail "the binary is too large"

modules=$(go list -m all | wc -l)
echo "modules: $modules, at most 200"
[ "$modules" -le 200 ] || fail "the module graph is too large"

# cold prints the processor time of a build without a cache, in hundredths of a second: cold FOLDER ARGUMENT…
cold() {
  local folder=$1 TIMEFORMAT='%U %S'
  shift
  rm -rf "$here/cache"
  { time GOCACHE=$here/cache CGO_ENABLED=0 go build -C "$folder" "$@"; } 2>&1 | awk 'END { print int(100 * ($1 + $2)) }'
}
go mod download
if ! git cat-file -e "$base^{commit}" 2>/dev/null; then git fetch -q --unshallow origin 2>/dev/null || true; fi
if git cat-file -e "$base^{commit}" 2>/dev/null; then
  mkdir "$here/base"
  git archive "$base" | tar -x -C "$here/base"
  go mod download -C "$here/base"
  what=$base
  old() { cold "$here/base" -o /dev/null ./cmd/vitserve; }
else
  echo "$base is not in this clone (git fetch --unshallow brings it): its build is taken as $known times that of a part of Go's library"
  what="$known × net/http and go/types"
  old() { awk "BEGIN { print int($known * $(cold . net/http go/types)) }"; }
fi
# Other programs may disturb one of two; three times in a row they do not.
for try in 1 2 3; do
  before=$(old)
  after=$(cold . -o /dev/null ./cmd/vitserve)
  echo "cold build: $((after / 100)) s of processor time, $((before / 100)) s of $what, ratio $(awk "BEGIN { printf \"%.2f\", $after / $before }"), at most 1.30"
  if [ $((100 * after)) -le $((130 * before)) ]; then break; fi
  [ "$try" != 3 ] || fail "a cold build takes too long"
done

python3 ci/start.py "$here/vitserve"
