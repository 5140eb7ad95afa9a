package approval

import (
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// A Task is something that the engine has to do about a request.
//
//sumtype:decl
type Task interface{ task() }

type (
	// EndHandle is to end one thing, and then to say [Gone].
	EndHandle struct{ Handle grant.Handle }
	// File is to move the request to the ended ones: nothing else will ever be done about it.
	File struct{}
)

func (EndHandle) task() {}
func (File) task()      {}

// Next says what has to be done about a request now. Whoever runs a claim leaves the token of that claim alone. A handle
// whose end failed is there again when its next try is due; a grant token comes before what was made with it.
func Next(r Request, now time.Time) []Task {
	if r.Finished(now) {
		return []Task{File{}}
	}
	if r.Grant != nil && r.Ending(now) == nil {
		return nil
	}
	var tasks []Task
	for _, handle := range r.Handles() {
		if r.Attempts[handle.Key()].isDue(now) {
			tasks = append(tasks, EndHandle{handle})
		}
	}
	return tasks
}

// isDue reports whether it is time for the next try. A try that another clock dated into the future holds nothing up.
func (a Attempt) isDue(now time.Time) bool {
	return !now.Before(a.Next) || now.Before(a.At)
}

// idleUntil is until when [Next] has nothing to say, whatever the next try is: zero if something is over.
func (r Request) idleUntil() time.Time {
	if r.phase().Open() && (r.Grant != nil || !r.Holding()) {
		return r.Deadline()
	}
	return time.Time{}
}
