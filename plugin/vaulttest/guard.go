package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// guardScript runs in a shell that outlives us. It reads the process groups of its folder until its input ends, which
// happens when we close it and also when we are killed. Then it ends these groups and removes the folder. It sends
// SIGQUIT before SIGKILL, because PostgreSQL still releases its shared memory on SIGQUIT.
const guardScript = `
trap '' HUP INT TERM QUIT
groups=
while read -r verb group; do
	case $verb in
	watch) groups="$groups $group" ;;
	forget)
		left=
		for g in $groups; do [ "$g" = "$group" ] || left="$left $g"; done
		groups=$left ;;
	esac
done
for signal in QUIT KILL; do
	for g in $groups; do kill -s "$signal" -- "-$g" 2>/dev/null; done
	tries=0
	while [ "$tries" -lt 30 ]; do
		alive=
		for g in $groups; do kill -s 0 -- "-$g" 2>/dev/null && alive=yes; done
		[ -n "$alive" ] || break
		sleep 0.1
		tries=$((tries + 1))
	done
done
rm -rf -- "$1"
`

// A sandbox is a temporary folder and the processes that work in it. Neither outlives this process, however that ends:
// a shell at the other end of a pipe notices our end and cleans up.
type sandbox struct {
	dir   string
	guard *exec.Cmd
	pipe  io.WriteCloser
}

// newSandbox makes a sandbox. what is part of the name of its folder.
func newSandbox(what string) (*sandbox, error) {
	dir, err := os.MkdirTemp(shortTempDir(), "jit-"+what+"-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for %s: %w", what, err)
	}
	guard := exec.Command("/bin/sh", "-c", guardScript, "guard", dir)
	guard.Dir = "/"
	// The guard has its own session, so that Ctrl-C in the terminal does not reach it.
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the guard of %s: %w", dir, err), os.RemoveAll(dir))
	}
	return &sandbox{dir: dir, guard: guard, pipe: pipe}, nil
}

// shortTempDir returns the temporary folder, or /tmp if its name is long. Plugins talk through a Unix socket, whose path
// must be shorter than 104 bytes.
func shortTempDir() string {
	if dir := os.TempDir(); len(dir) <= 24 {
		return dir
	}
	return "/tmp"
}

// close ends the processes and removes the folder. It may be called twice.
func (s *sandbox) close() error {
	if s.guard == nil {
		return nil
	}
	err := errors.Join(s.pipe.Close(), s.guard.Wait())
	s.guard = nil
	if err != nil {
		return fmt.Errorf("cleaning up %s: %w", s.dir, err)
	}
	return nil
}

func (s *sandbox) tell(verb string, pid int) error {
	if _, err := fmt.Fprintf(s.pipe, "%s %d\n", verb, pid); err != nil {
		return fmt.Errorf("telling the guard of %s to %s process group %d: %w", s.dir, verb, pid, err)
	}
	return nil
}

// A process runs in its own process group, together with the processes that it starts. A nil one has never run.
type process struct {
	cmd      *exec.Cmd
	box      *sandbox
	log      string
	done     chan struct{} // closed once the process has ended
	killOnce sync.Once     // another process may get its number afterwards
}

// command describes a process to be started in a sandbox.
type command struct {
	path string
	args []string
	env  []string
	log  string              // file that its output is appended to
	user *syscall.Credential // nil: our own
}

// start runs a command. The process waits until we have told the guard about it, so it never outlives us unnoticed.
func (s *sandbox) start(c command) (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.path, err)
	}
	defer log.Close() //nolint:errcheck // nothing is written through this descriptor

	cmd := exec.Command("/bin/sh", append([]string{"-c", `read -r go && exec "$@" </dev/null`, "sh", c.path}, c.args...)...)
	cmd.Dir = s.dir
	cmd.Env = c.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.user}
	word, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.path, err)
	}
	p := &process{cmd: cmd, box: s, log: c.log, done: make(chan struct{})}
	go func() {
		cmd.Wait() //nolint:errcheck // how it ended is in its log
		close(p.done)
	}()
	err = s.tell("watch", p.pid())
	if err == nil {
		_, err = io.WriteString(word, "go\n")
	}
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("starting %s: %w", c.path, err)
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop signals the process to end, and kills its group after the grace period.
func (p *process) stop(sig syscall.Signal, grace time.Duration) {
	if p.running() {
		syscall.Kill(p.pid(), sig) //nolint:errcheck // it may have ended by itself
		select {
		case <-p.done:
		case <-time.After(grace):
		}
	}
	p.kill()
}

// kill ends the whole group as kill -9 does.
func (p *process) kill() {
	if p == nil {
		return
	}
	p.killOnce.Do(func() {
		syscall.Kill(-p.pid(), syscall.SIGKILL) //nolint:errcheck // the group may be gone
		<-p.done
		// If the guard is gone it cannot kill a group by mistake, so the error does not matter.
		p.box.tell("forget", p.pid()) //nolint:errcheck
	})
}

// await waits for a server that is starting, and no longer than its process lives.
func (p *process) await(ctx context.Context, what string, done func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.done:
			cancel(fmt.Errorf("it ended; its last words were:\n%s", readTail(p.log, 15)))
		case <-ctx.Done():
		}
	}()
	return await(ctx, startLimit, what, done)
}

// readTail returns the last lines of a text file, for error messages.
func readTail(path string, lines int) string {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
