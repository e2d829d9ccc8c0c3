#!/usr/bin/env bash
# Runs ray_pipeline.py on testdata/images with an actor and the real program, and holds its rows to those of score.
# Ray comes from a virtual environment of its own, 700 MB.
. "$(dirname "$0")/../../ci/lib.sh"
temporary

python=$(bash ci/venv.sh ray scripts/score/ray_requirements.txt)
go build -o "$here/vitserve" ./cmd/vitserve
"$here/vitserve" score testdata/images --output "$here/scores"
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
VITSERVE=$here/vitserve ACTORS=1 "$python" scripts/score/ray_pipeline.py "$here/rows" testdata/images
"$python" scripts/score/ray_check.py "$here/rows" "$here"/scores/part-*.jsonl
