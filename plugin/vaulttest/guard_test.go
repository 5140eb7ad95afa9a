package vaulttest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// orphanEnv is set in the child process that the test kills.
const orphanEnv = "VAULTTEST_LEAVE_BEHIND"

// leaveBehind starts a server and a database, prints their processes and folders, and waits to be killed.
func leaveBehind() {
	ctx := context.Background()
	c, err := vaulttest.Start(ctx, vaulttest.Options{Nodes: 1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	pg, err := vaulttest.StartPostgres(ctx)
	if err == nil {
		_, err = c.Mount(ctx, vaulttest.MountOptions{Unconfigured: true})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	plugins, err := c.Nodes[0].PluginPIDs()
	fmt.Println(append(plugins, c.Nodes[0].PID(), pg.PID()), c.Dir(), pg.Dir(), err)
	select {}
}

func TestGuardCleansUpAfterAKilledTestProcess(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), orphanEnv+"=1")
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			list, rest, found := strings.Cut(strings.Trim(line, "[\n"), "] ")
			words := strings.Fields(rest)
			if !found || len(words) != 3 || words[2] != "<nil>" {
				t.Fatalf("the child said %q", line)
			}
			var pids []int
			for _, word := range strings.Fields(list) {
				pid, err := strconv.Atoi(word)
				if err != nil {
					t.Fatal(err)
				}
				if err := syscall.Kill(pid, 0); err != nil {
					t.Fatalf("process %d is not there to begin with: %v", pid, err)
				}
				pids = append(pids, pid)
			}
			if len(pids) < 3 {
				t.Fatalf("server, plugin and database were %v", pids)
			}

			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()

			vaulttest.Eventually(t, "everything to be gone", func(context.Context) error {
				for _, pid := range pids {
					if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
						return fmt.Errorf("process %d is still there (%w)", pid, err)
					}
				}
				for _, dir := range words[:2] {
					if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
						return fmt.Errorf("folder %s is still there (%w)", dir, err)
					}
				}
				return nil
			})
		})
	}
}
