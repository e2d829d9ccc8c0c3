#!/usr/bin/env bash
# Honest requests beside small bombs: none fails, their times stay, and so does the memory; SIGTERM ends a server amid
# them. In full, with large ones: scripts/load -only bombs,costs (docs/lab/load.md). Tails of half a minute are rough, so
# a machine that others use may miss the bound of time once; not three times.
. "$(dirname "$0")/lib.sh"
temporary
bash ci/build.sh "$here/vitserve"
go build -o "$here/load" ./scripts/load
for try in 1 2 3; do
  if "$here/load" -only bombs -small -bombs 30 -length 4s -server "$here/vitserve" -- --log-level error | tee "$here/out"; then break; fi
  # What fails other than by its time, fails at once.
  if grep BROKEN "$here/out" | grep -qv p99; then fail "a bound is broken"; fi
  [ "$try" != 3 ] || fail "honest requests take too long beside bombs"
done
