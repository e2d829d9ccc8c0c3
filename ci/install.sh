#!/usr/bin/env bash
# Fetches and installs what later stages need. .ci/run starts it in the background; a stage that needs what is not there
# yet waits for it or makes it itself, and fails where that cannot be.
. "$(dirname "$0")/lib.sh"
go mod download
go mod download -C ci/tools
bash ci/decoders.sh --install
bash ci/gpu.sh --install
bash ci/clients.sh --install
bash ci/page.sh --install
if bash ci/training.sh --needed; then
  bash ci/venv.sh train models/train/requirements.txt
fi
