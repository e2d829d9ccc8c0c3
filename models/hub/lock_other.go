//go:build !windows && (!unix || solaris || aix)

package hub

import "os"

// tryLock always succeeds where there are no locks to have: two processes
// that download one file at once are then found out by its hash.
func tryLock(*os.File) (bool, error) { return true, nil }
