package run

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// startField is where /proc/PID/stat has the start, counted from what follows the name of the program, which may hold
// blanks. It is in ticks since the machine started: a date made of it would differ from one look to the next.
const startField = 19

// findBirth tells a process from another one that had its id before.
func findBirth(pid int) (uint64, error) {
	about, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("looking when Terraform started: %w", err)
	}
	fields := strings.Fields(string(about[strings.LastIndexByte(string(about), ')')+1:]))
	if len(fields) <= startField {
		return 0, fmt.Errorf("looking when Terraform started: /proc has only %d fields of it", len(fields))
	}
	return strconv.ParseUint(fields[startField], 10, 64)
}
