// Command vitserve is the program of github.com/vitserve/vitserve/cmd/vitserve
// that also reads and writes s3://, gs:// and azblob://.
package main

import (
	"os"

	"github.com/vitserve/vitserve/cloud"
	"github.com/vitserve/vitserve/internal/cli"
)

func main() { os.Exit(cli.Main(cloud.Stores())) }
