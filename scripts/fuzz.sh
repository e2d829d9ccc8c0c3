#!/usr/bin/env bash
# Runs every fuzz target of the project for a time each, two minutes if none is given, and stops at the first finding,
# which go test leaves under testdata/fuzz of its package: commit it as a seed with the change that mends it.
#
#   bash scripts/fuzz.sh            # two minutes a target
#   bash scripts/fuzz.sh 1h JPEG    # an hour for each target with JPEG in its name
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-2m}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
grep -rhoE --include='*_test.go' --with-filename '^func Fuzz\w*' . | grep -E "${2:-.}" | while IFS=: read -r file target; do
  target=${target#func }
  printf '\n== %s of %s for %s\n' "$target" "$(dirname "$file")" "$time"
  # Findings count, not how short they are: minimizing would take a minute of each.
  if ! go test "$(dirname "$file")" -run - -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x </dev/null 2>&1 | tee "$log"; then
    # Up to Go 1.26 the end of the time can pass for a failure (golang/go#75804); what fails is written down.
    if grep -q 'Failing input written' "$log" || ! grep -q '^ *context deadline exceeded' "$log"; then exit 1; fi
    echo "the time ended in the middle of an input: no finding"
  fi
done
