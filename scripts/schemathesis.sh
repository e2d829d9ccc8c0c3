#!/usr/bin/env bash
# Holds a running server to its contract with Schemathesis, every check, and ends with another code than 0 where
# anything is found:
#
#	scripts/schemathesis.sh               # the program is built; Schemathesis comes from a virtual environment of its own
#	ST=st EXAMPLES=50 scripts/schemathesis.sh --phases fuzzing
#
# ST is an installed "st", EXAMPLES how many requests each operation gets at most, VITSERVE a built program. What
# comes after the name goes to "st run".
set -euo pipefail
cd "$(dirname "$0")/.."
config=$PWD/scripts/schemathesis.toml
version=4.32.5 # of Schemathesis, which what it finds depends on

here=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi; rm -rf "$here"' EXIT

if [ -z "${ST:-}" ]; then
  python3 -m venv "$here/venv"
  "$here/venv/bin/pip" -q install "schemathesis==$version"
  ST=$here/venv/bin/st
fi
if [ -z "${VITSERVE:-}" ]; then
  VITSERVE=$here/vitserve
  go build -o "$VITSERVE" ./cmd/vitserve
fi
"$VITSERVE" serve --addr 127.0.0.1:0 --log-format json 2>"$here/log" &
server=$!
url=
for _ in $(seq 200); do
  url=$(sed -n 's/.*"msg":"ready","addr":"\([^"]*\)".*/http:\/\/\1/p' "$here/log")
  if [ -n "$url" ]; then break; fi
  if ! kill -0 "$server" 2>/dev/null; then break; fi
  sleep 0.1
done
if [ -z "$url" ]; then
  echo "the server is not ready:" >&2
  cat "$here/log" >&2
  exit 1
fi
found=0
(cd "$here" && "$ST" --config-file "$config" run "$url/openapi.json" --checks all --max-examples "${EXAMPLES:-200}" "$@") || found=$? # it writes where it is

# What the server says of itself: no fault of its own, and SIGTERM ends it with 0.
kill -TERM "$server"
wait "$server" || { echo "the server ended with $?" >&2; found=1; }
server=
if grep -q '"status":500' "$here/log"; then
  echo "faults of the server:" >&2
  grep '"msg":"request failed"' "$here/log" | head >&2
  found=1
fi
exit "$found"
