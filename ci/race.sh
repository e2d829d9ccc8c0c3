#!/usr/bin/env bash
# The race detector where goroutines share.
. "$(dirname "$0")/lib.sh"
# internal/cli starts programs and waits for them: they are not under the detector.
go test -race $(go list ./internal/... ./api/... ./vit/... | grep -v /internal/cli)
# The whole conformance suite is arithmetic; these are where its workers share.
go test -race ./backend/cpu -run 'AnyQueue|EarlyWake|Chunks|Barriers|Panic|Priority|Gate|Close|Split|Compiled|Write'
