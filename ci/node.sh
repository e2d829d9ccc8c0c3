#!/usr/bin/env bash
# Makes a folder of pinned Node packages once, and prints it: bash ci/node.sh NAME FOLDER, which has package.json and
# package-lock.json. Whoever asks while another makes it waits. It fails when the packages cannot be installed.
. "$(dirname "$0")/lib.sh"
name=$1 folder=$2
command -v npm >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || fail "want Node 20 or later, with npm"
modules=$cache-$name-$(cat "$folder/package.json" "$folder/package-lock.json" | sha256sum | cut -c1-12)
mkdir -p "$(dirname "$modules")"
exec 9>"$modules.lock"
flock 9
if [ ! -e "$modules/complete" ]; then
  echo "installing $folder/package-lock.json into $modules" >&2
  rm -rf "$modules"
  mkdir -p "$modules"
  cp "$folder/package.json" "$folder/package-lock.json" "$modules"
  npm ci --prefix "$modules" --omit=dev --ignore-scripts --no-audit --no-fund >&2 || fail "$folder/package-lock.json could not be installed"
  touch "$modules/complete"
fi
echo "$modules"
