package run

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// findBirth tells a process from another one that had its id before.
func findBirth(pid int) (uint64, error) {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid)) //nolint:gosec // a process id
	if err != nil {
		return 0, fmt.Errorf("looking when Terraform started: %w", err)
	}
	defer windows.CloseHandle(process) //nolint:errcheck // read only
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(process, &created, &exited, &kernel, &user); err != nil {
		return 0, fmt.Errorf("looking when Terraform started: %w", err)
	}
	return uint64(created.Nanoseconds()), nil //nolint:gosec // after 1970
}
