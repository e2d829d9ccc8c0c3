#!/usr/bin/env bash
# Makes a Python environment of pinned packages once, and prints its python: bash ci/venv.sh NAME REQUIREMENTS.
# Whoever asks while another makes it waits. It fails when the packages cannot be installed.
. "$(dirname "$0")/lib.sh"
name=$1 requirements=$2
venv=$cache-$name-$(sha256sum "$requirements" | cut -c1-12)
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
pip() { "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$requirements" "$@"; }
# Without an index, pip succeeds where everything is there at its version.
if ! pip --no-index >/dev/null 2>&1; then
  echo "installing $requirements into $venv" >&2
  rm -rf "$venv"
  python3 -m venv "$venv" >&2 && pip --no-cache-dir >&2 || fail "$requirements could not be installed"
fi
echo "$venv/bin/python"
