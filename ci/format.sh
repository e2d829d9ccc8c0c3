#!/usr/bin/env bash
# Go sources are formatted and pass vet, and prose of documents has at most 100 columns.
. "$(dirname "$0")/lib.sh"
unformatted=$(gofmt -l $(git ls-files '*.go'))
[ -z "$unformatted" ] || fail "not formatted: $unformatted"
go vet ./...
python3 ci/prose.py
