package external

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const supported = true

// isolate puts a command into a process group of its own, which is killed when
// this process dies. A traced one stops before its first instruction.
func isolate(cmd *exec.Cmd, traced bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Ptrace: traced}
}

func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }

// limit bounds the address space of a process, the size of each file that it
// writes, and the number of those that it has open. It leaves no core. A traced
// one goes on then.
func limit(pid int, traced bool, memory, file int64) error {
	if traced {
		var status syscall.WaitStatus
		for {
			_, err := syscall.Wait4(pid, &status, syscall.WALL, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil {
				return os.NewSyscallError("wait4", err)
			}
			if !status.Stopped() {
				return fmt.Errorf("the process has not begun: status %#x", uint32(status))
			}
			break
		}
	}
	if err := setLimits(pid, memory, file); err != nil || !traced {
		return err
	}
	return os.NewSyscallError("ptrace", syscall.PtraceDetach(pid))
}

func setLimits(pid int, memory, file int64) error {
	for _, l := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_AS, uint64(memory)},
		{unix.RLIMIT_FSIZE, uint64(file)},
		{unix.RLIMIT_NOFILE, 64},
		{unix.RLIMIT_CORE, 0},
	} {
		err := unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: l.most, Max: l.most}, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) { // it has ended already
			return os.NewSyscallError("prlimit", err)
		}
	}
	return nil
}

// tooMuch reports whether a process ended because it wrote more to a file than
// limit lets it.
func tooMuch(s *os.ProcessState) bool {
	w, ok := s.Sys().(syscall.WaitStatus)
	const byShell = 128 // and the signal, of what a script has started
	return ok && (w.Signaled() && w.Signal() == syscall.SIGXFSZ || w.ExitStatus() == byShell+int(syscall.SIGXFSZ))
}
