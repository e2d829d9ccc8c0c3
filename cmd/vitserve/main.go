// Command vitserve recognises what is in photos with Vision Transformers: it
// serves them over HTTP, and classifies and explains pictures from the
// command line.
package main

import (
	"os"

	"github.com/vitserve/vitserve/internal/cli"
)

func main() { os.Exit(cli.Main()) }
