#!/usr/bin/env bash
# The binary itself: it says what it is, classifies by command line and over HTTP, and ends when it is told to.
. "$(dirname "$0")/lib.sh"
temporary
bash ci/build.sh "$here/vitserve"
"$here/vitserve" version | tee "$here/version"
if commit=$(git rev-parse HEAD); then
  grep -q "^commit *$commit" "$here/version" || fail "vitserve version does not name the commit $commit"
fi
"$here/vitserve" classify --json testdata/images/orange.jpg
"$here/vitserve" serve --addr 127.0.0.1:0 >"$here/log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -rf "$here"' EXIT
url=
for _ in $(seq 100); do
  url=$(sed -n 's/.*msg=listening addr=\([0-9.:]*\).*/\1/p' "$here/log")
  if [ -n "$url" ] && curl -fs "http://$url/readyz" >/dev/null; then break; fi
  sleep 0.1
done
curl -fsS --data-binary @testdata/images/orange.jpg "http://$url/v1/classify?top_k=1" || { cat "$here/log"; exit 1; }
echo
kill -TERM "$server"
wait "$server"
