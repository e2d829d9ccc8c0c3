#!/usr/bin/env bash
# The image twice, which is one digest, and what lies in it, serving from an empty root; manifests of deploy/; the
# stores of cloud/ against a fake; parts of score read by pyarrow and DuckDB.
. "$(dirname "$0")/lib.sh"
temporary

for n in 1 2; do bash ci/buildimage.sh "$here/image$n"; done
cmp "$here/image1/digest" "$here/image2/digest" || fail "two builds have two digests"
VITSERVE_IMAGE=$here/image1 go test -C deploy/image ./...

python=$(bash ci/venv.sh scale scripts/score/requirements.txt)
# KEDA and KServe must agree on controller-runtime: their pins in deploy/test/go.mod move together.
VALIDATE=$(dirname "$python")/kubernetes-validate go test -C deploy/test ./...

go test -C cloud ./...

go build -o "$here/vitserve" ./cmd/vitserve
for shard in 0 1; do
  "$here/vitserve" score testdata/images --output "$here/scores" --format parquet --embed --focus --shards 2 --shard $shard
done
"$here/vitserve" score --finish --output "$here/scores" --format parquet --shards 2
"$python" scripts/score/read.py "$here/scores"
