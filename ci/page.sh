#!/usr/bin/env bash
# The page in Debian's Chromium, by clicks and keys, against the real binary; axe-core looks at it, and TypeScript reads
# the types of its modules. What is missing is installed; where it cannot be, the stage fails. --install does no more
# than that.
. "$(dirname "$0")/lib.sh"
modules=$(bash ci/node.sh page-node scripts/page)
if ! command -v chromium >/dev/null; then
  as=()
  if [ "$(id -u)" != 0 ]; then as=(sudo -n); fi
  apt=("${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update || fail "apt-get update fails"
  "${apt[@]}" install --no-install-recommends -y chromium >/dev/null || fail "chromium cannot be installed"
fi
go mod download -C api/page/browsertest
if [ "${1:-}" = --install ]; then exit 0; fi

"$modules/node_modules/.bin/tsc" -p scripts/page/tsconfig.json

temporary
bash ci/build.sh "$here/vitserve"
go vet -C api/page/browsertest ./...
VITSERVE=$here/vitserve AXE=$modules/node_modules/axe-core/axe.min.js CHROMIUM=$(command -v chromium) \
  go test -C api/page/browsertest -count=1 -v ./... | grep -v '^=== '
