#!/usr/bin/env bash
# The tests of models/train. They need PyTorch, several gigabytes, so they run only where that folder has changed: since
# the commit where this branch left main, if git knows one, or since they passed here. --needed only says whether.
. "$(dirname "$0")/lib.sh"
hash=$(find models/train -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
stamp=$cache-train-$hash.passed

why_not() {
  if [ -e "$stamp" ]; then
    echo "models/train is what passed here on $(date -r "$stamp" +%F)"
    return
  fi
  # main itself says nothing of what is new on it.
  local main base
  for main in origin/main origin/HEAD main; do
    if base=$(git merge-base HEAD "$main" 2>/dev/null) && [ "$base" != "$(git rev-parse HEAD)" ] &&
      git diff --quiet "$base" -- models/train; then
      echo "models/train is that of $main, $(git rev-parse --short "$base")"
      return
    fi
  done
  return 1
}

if why=$(why_not); then
  echo "not needed: $why"
  [ "${1:-}" != --needed ] # its answer is no
  exit
fi
if [ "${1:-}" = --needed ]; then exit 0; fi
python=$(bash ci/venv.sh train models/train/requirements.txt)
"$python" -m pytest -q models/train
mkdir -p "$(dirname "$stamp")"
touch "$stamp"
