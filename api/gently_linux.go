package api

import "golang.org/x/sys/unix"

// lowerPriority makes the calling thread yield to ordinary ones: a tenth of
// their share of a core where both want it (sched(7)). Where that is not
// allowed, nothing changes.
func lowerPriority() {
	const more = 10
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid()) // 20 less the nice value
	if err == nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), min(20-priority+more, 19))
	}
}
