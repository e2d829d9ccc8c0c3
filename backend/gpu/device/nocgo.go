//go:build !cgo || !linux

package device

import (
	"fmt"
	"runtime"

	"github.com/vitserve/vitserve/backend"
)

// Missing says why this binary computes on no GPU.
func Missing() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: vitserve computes on GPUs under Linux alone, this is %s", backend.ErrUnsupported, runtime.GOOS)
	}
	return fmt.Errorf("%w: this binary was built without cgo; the archive whose name ends in -gpu computes on GPUs, and so does CGO_ENABLED=1 go build", backend.ErrUnsupported)
}
