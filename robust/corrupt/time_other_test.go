//go:build !unix

package corrupt

import "time"

var begun = time.Now()

// processorTime is the time that has passed, where nobody counts the
// processor's.
func processorTime() float64 { return time.Since(begun).Seconds() }
