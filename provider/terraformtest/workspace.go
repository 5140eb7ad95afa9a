package terraformtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Workspace is a folder with a configuration, and its state.
type Workspace struct {
	// Dir is the folder.
	Dir string
	// Env is added to the environment, KEY=value. None of the developer's own VAULT_* and TF_* variables are.
	Env []string

	cli CLI
}

// New makes a workspace in a folder, which may hold a configuration already.
func New(dir string, cli CLI, mirror Mirror) (*Workspace, error) {
	w := &Workspace{Dir: dir, cli: cli}
	config := filepath.Join(dir, ".terraformrc")
	if err := os.WriteFile(config, []byte(mirror.config()), 0o600); err != nil {
		return nil, fmt.Errorf("making a workspace: %w", err)
	}
	w.Env = []string{"TF_CLI_CONFIG_FILE=" + config, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1", "TF_INPUT=0", "XDG_CACHE_HOME=" + w.Dir}
	return w, nil
}

// Write puts a file into the workspace.
func (w *Workspace) Write(name, content string) error {
	if err := os.WriteFile(filepath.Join(w.Dir, name), []byte(content), 0o600); err != nil {
		return fmt.Errorf("writing a configuration: %w", err)
	}
	return nil
}

// Init installs the providers.
func (w *Workspace) Init(ctx context.Context) error {
	_, err := w.Run(ctx, "init", "-no-color")
	return err
}

// Run runs a command to its end. The output is there also when it failed, and then in the error as well.
func (w *Workspace) Run(ctx context.Context, args ...string) (output string, err error) {
	run, err := w.Start(ctx, args...)
	if err != nil {
		return "", err
	}
	err = run.Wait()
	return run.Output(), err
}

// A Running is a command that runs.
type Running struct {
	cmd    *exec.Cmd
	output lockedBuffer
	what   string
	done   chan struct{}
	err    error
}

// Start starts a command, in a process group of its own as a shell would.
func (w *Workspace) Start(ctx context.Context, args ...string) (*Running, error) {
	r := &Running{what: w.cli.Name() + " " + args[0], done: make(chan struct{})}
	r.cmd = exec.CommandContext(ctx, w.cli.Path, args...)
	r.cmd.Dir = w.Dir
	r.cmd.Env = append(inheritEnvironment(), w.Env...)
	r.cmd.Stdout, r.cmd.Stderr = &r.output, &r.output
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Cancel = func() error { return syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) }
	r.cmd.WaitDelay = 10 * time.Second
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", r.what, err)
	}
	go func() {
		r.err = r.cmd.Wait()
		close(r.done)
	}()
	return r, nil
}

// Interrupt is Ctrl-C: the whole process group gets it, the providers too.
func (r *Running) Interrupt() error { return syscall.Kill(-r.cmd.Process.Pid, syscall.SIGINT) }

// Kill ends the CLI alone as kill -9 does; its providers are left to themselves.
func (r *Running) Kill() error { return r.cmd.Process.Kill() }

// Wait waits for the end.
func (r *Running) Wait() error {
	<-r.done
	if r.err != nil {
		return &FailedError{What: r.what, Output: r.Output(), cause: r.err}
	}
	return nil
}

// Output is what was printed up to now.
func (r *Running) Output() string { return r.output.String() }

// A FailedError is a command that ended with an error.
type FailedError struct {
	What, Output string
	cause        error
}

func (f *FailedError) Error() string { return fmt.Sprintf("%s: %v\n%s", f.What, f.cause, f.Output) }
func (f *FailedError) Unwrap() error { return f.cause }

// Code is the exit code of a command that ran: `plan -detailed-exitcode` gives 2 for a plan that is not empty.
func Code(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func inheritEnvironment() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "VAULT_") && !strings.HasPrefix(variable, "TF_") {
			env = append(env, variable)
		}
	}
	return env
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
