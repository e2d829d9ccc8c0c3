package api

import (
	"io/fs"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
)

// memory keeps Go's memory limit (runtime/debug.SetMemoryLimit) at what the
// process may take, without what is not Go's: weights and activations, which
// the backend maps itself, and a tenth for code, stacks of the kernel and
// the like. Below the limit, garbage is collected in time; above it, the
// kernel ends the process.
type memory struct {
	most int64 // that the process may take; 0: nothing is known, and Go's limit is left as it is

	mu     sync.Mutex
	before int64 // Go's limit; 0 when it is not set
	mapped int64 // bytes of models
}

// newMemory takes the configuration's limit, or the cgroup's, unless whoever
// started the process has set Go's own.
func newMemory(cfg Config, root fs.FS, gomemlimit string) *memory {
	switch {
	case gomemlimit != "":
		return &memory{}
	case cfg.MemoryLimit > 0:
		return &memory{most: cfg.MemoryLimit}
	}
	return &memory{most: cgroupLimit(root)}
}

// goLimit is what Go may take of most bytes beside so many that are mapped:
// an eighth at least, or it would do nothing but collect garbage.
func goLimit(most, mapped int64) int64 {
	return max(most-most/10-mapped, most/8)
}

// hold sets Go's limit until the function that it returns is called.
func (m *memory) hold() (restore func()) {
	if m.most == 0 {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = debug.SetMemoryLimit(goLimit(m.most, m.mapped))
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		debug.SetMemoryLimit(m.before)
		m.before = 0
	}
}

// add says that a model has come, or gone.
func (m *memory) add(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mapped += bytes
	if m.before != 0 {
		debug.SetMemoryLimit(goLimit(m.most, m.mapped))
	}
}

// cgroupLimit returns the bytes that the cgroups of this process, version 2 or
// 1, let it take, the least of them and of those above; 0: no limit. root is
// the file system from its root. See man 7 cgroups, and memory.max and
// memory.limit_in_bytes in the documentation of Linux.
func cgroupLimit(root fs.FS) int64 {
	list, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	look := func(file string) {
		b, err := fs.ReadFile(root, file)
		if err != nil {
			return
		}
		// "max" is none; version 1 says none by a number near the largest.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && n < 1<<60 {
			least = min(least, n)
		}
	}
	for line := range strings.Lines(string(list)) {
		// number:controllers:path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		if parts[1] != "" {
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
			if !strings.Contains(","+parts[1]+",", ",memory,") {
				continue
			}
		}
		// In a container the path may be one of outside, of which the mount
		// point is what can be seen.
		for p := path.Clean("/" + parts[2]); ; p = path.Dir(p) {
			look(path.Join(mount, p, file))
			if p == "/" {
				break
			}
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}
