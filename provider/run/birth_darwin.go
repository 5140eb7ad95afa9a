package run

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// findBirth tells a process from another one that had its id before.
func findBirth(pid int) (uint64, error) {
	about, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, fmt.Errorf("looking when Terraform started: %w", err)
	}
	return uint64(about.Proc.P_starttime.Nano()), nil //nolint:gosec // after 1970
}
