#!/usr/bin/env bash
# Generated files are what their generators write.
. "$(dirname "$0")/lib.sh"
go generate ./...
git diff --exit-code -- . || fail "go generate changed something: commit it"
