#!/usr/bin/env bash
# The race detector where goroutines share.
. "$(dirname "$0")/lib.sh"
go test -race ./internal/... ./api/... ./vit/...
# The whole conformance suite is arithmetic; these are where its workers share.
go test -race ./backend/cpu -run 'AnyQueue|EarlyWake|Chunks|Barriers|Panic|Priority|Gate|Close|Split|Compiled|Write'
