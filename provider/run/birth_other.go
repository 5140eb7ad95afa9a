//go:build !linux && !darwin && !windows

package run

// findBirth cannot tell here when a process started: the process id alone names the run.
func findBirth(int) (uint64, error) { return 0, nil }
