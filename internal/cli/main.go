// Package cli is the program: its commands, their flags and words. It is a
// package and not cmd/vitserve itself, so that the program of the nested module
// cloud is the same with more stores.
package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	_ "github.com/vitserve/vitserve/backend/cpu" // fast kernels; the default
	_ "github.com/vitserve/vitserve/backend/gpu" // cuda and opencl, where the build has cgo
	_ "github.com/vitserve/vitserve/backend/ref" // plain loops in float64, to check answers against
	"github.com/vitserve/vitserve/score"
)

// Main runs the program with the arguments of the process, and returns its exit
// code. Photos and parts may lie in stores, too, beside the disk and the web.
func Main(stores ...score.Stores) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks the command to finish; with the handler gone, a
	// second one ends the process at once.
	context.AfterFunc(ctx, stop)
	ctx = untilHangup(ctx)
	return Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, stores...)
}

// untilHangup ends a context when the terminal goes, too, as the first signal
// does. A terminal that closes may say so several times, which is no second
// signal; under nohup it is to be ignored.
func untilHangup(ctx context.Context) context.Context {
	if signal.Ignored(syscall.SIGHUP) {
		return ctx
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		<-hangup
		cancel()
	}()
	return ctx
}
