package api

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// gently calls f on a thread of lower priority, which ends with it. A pass of a
// model waits for each of its threads at every step: one that shares its core
// with seconds of decoding holds up all pictures of the batch.
func gently(f func() error) error {
	var err error
	var fault any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				fault = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
		}()
		runtime.LockOSThread() // for good: Go ends the thread then, and makes none from it
		lowerPriority()
		err = f()
	}()
	<-done
	if fault != nil {
		panic(fault) // where it is expected
	}
	return err
}
