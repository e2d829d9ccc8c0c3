# What the stages have in common; each sources it. It goes to the project's folder, stops at the first error, and finds
# the folder of real weights and photos and the cache of installs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${VITSERVE_SHARED:-}" ] && [ -d ../shared ]; then
  VITSERVE_SHARED=$(cd ../shared && pwd)
  export VITSERVE_SHARED
fi

# Installs outlast a run: they are made once a machine and set of pins.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vitserve

# temporary makes $here, a folder that goes with the stage.
temporary() {
  here=$(mktemp -d)
  trap 'rm -rf "$here"' EXIT
}

fail() {
  echo "$*" >&2
  exit 1
}
