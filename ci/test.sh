#!/usr/bin/env bash
# All tests, as anybody runs them.
. "$(dirname "$0")/lib.sh"
go test ./...
