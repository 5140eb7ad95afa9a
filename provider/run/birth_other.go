//go:build !linux && !darwin && !windows

package run

// birthOf cannot tell here when a process started: the process id alone names the run.
func birthOf(int) (uint64, error) { return 0, nil }
