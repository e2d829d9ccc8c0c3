#!/usr/bin/env bash
# The image twice, which is one digest, and what lies in it, serving from an empty root; manifests of deploy/; the
# stores of cloud/ against a fake; parts of score read by pyarrow and DuckDB.
. "$(dirname "$0")/lib.sh"
temporary

for n in 1 2; do bash ci/buildimage.sh "$here/image$n"; done
cmp "$here/image1/digest" "$here/image2/digest" || fail "two builds have two digests"
VITSERVE_IMAGE=$here/image1 go test -C deploy/image ./...
