#!/usr/bin/env bash
# staticcheck and errorlint, at the versions of ci/tools/go.mod.
. "$(dirname "$0")/lib.sh"
temporary
go build -C ci/tools -o "$here" honnef.co/go/tools/cmd/staticcheck github.com/polyfloyd/go-errorlint
"$here/staticcheck" ./...
"$here/go-errorlint" ./...
