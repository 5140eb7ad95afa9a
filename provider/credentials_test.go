package provider_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/terraformtest"
)

// pipeline is a fixture with a role for one-time passwords that alice asks for and bob or carol approve.
type pipeline struct {
	*fixture
	upstream *vaulttest.Upstream
}

func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	return pipelineOn(t, vaulttest.Shared(t), "")
}

func pipelineOn(t *testing.T, cluster *vaulttest.Cluster, path string) *pipeline {
	t.Helper()
	p := &pipeline{fixture: newFixtureOn(t, cluster, vaulttest.MountOptions{Path: path})}
	var err error
	p.upstream, err = p.EnableSSHOTP(t.Context(), "ssh-"+p.mount.Path, "otp")
	must(t, err)
	must(t, p.mount.AllowGrants(t.Context(), p.upstream.Policy))
	p.addApproverGroup("dba", wire.ApproverGroup{IdentityGroupIDs: []string{p.dba.ID}})
	p.addPolicy("one", "dba", 1)
	p.addRole("otp", "one", p.upstream.Path, p.upstream.Policy)
	p.must(p.operated().Roles().Change(t.Context(), "otp", map[string]any{"operation": "write", "data": map[string]any{"ip": "127.0.0.1"}}))
	return p
}

// run is a workspace of alice's that asks, waits, and hands the password to a command that does something with it. Her
// token comes from the environment, as in a pipeline.
func (p *pipeline) run(t *testing.T, cli terraformtest.CLI, command, timeout string) *workspace {
	t.Helper()
	return p.alices(newWorkspace(t, cli, p.config(command, timeout)))
}

func (p *pipeline) alices(w *workspace) *workspace {
	w.Env = append(w.Env, "VAULT_ADDR="+p.Address(), "VAULT_TOKEN="+p.alice.Client.Token())
	return w
}

func (p *pipeline) config(command, timeout string) string {
	return required + fmt.Sprintf(`
resource "vaultjit_request" "deploy" {
  role    = "otp"
  reason  = "INC-42"
  ttl     = "5m"
  keepers = { run = plantimestamp() }
}

ephemeral "vaultjit_credentials" "deploy" {
  claim_id = vaultjit_request.deploy.claim_id
  timeouts = { open = %q }
}

resource "terraform_data" "use" {
  triggers_replace = plantimestamp()
  provisioner "local-exec" {
    command     = %q
    environment = { OTP = ephemeral.vaultjit_credentials.deploy.data.key }
  }
}

provider "vaultjit" {
  mount = %q
}
`, timeout, command, p.mount.Path)
}

// approver decides on the first request that comes up, as somebody beside the pipeline would.
func (p *pipeline) approver(decide func(id string) error) <-chan string {
	decided := make(chan string, 1)
	go func() {
		defer close(decided)
		for began := time.Now(); p.t.Context().Err() == nil; time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				p.t.Error("nobody asked")
				return
			}
			ids, err := p.listRequests(p.t.Context(), "pending")
			if err != nil && p.t.Context().Err() == nil {
				p.t.Errorf("looking for a request: %v", err)
				return
			}
			if len(ids) > 0 {
				if err := decide(ids[0]); err != nil {
					p.t.Errorf("deciding: %v", err)
				}
				decided <- ids[0]
				return
			}
		}
	}()
	return decided
}

// approve approves as bob.
func (p *pipeline) approve(id string) error {
	_, err := p.as(p.bob).Approve(p.t.Context(), id, "by the book")
	return err
}

// deny denies as bob.
func (p *pipeline) deny(id string) error {
	_, err := p.as(p.bob).Deny(p.t.Context(), id, "by the book")
	return err
}

// cancel cancels as alice.
func (p *pipeline) cancel(id string) error {
	_, err := p.as(p.alice).Cancel(p.t.Context(), id)
	return err
}

// listRequests gives the ids of alice's requests in the given state.
func (p *pipeline) listRequests(ctx context.Context, state string) (ids []string, err error) {
	page, err := p.as(p.alice).Requests(ctx, wire.Query{State: []string{state}})
	for _, request := range page.Requests {
		ids = append(ids, request.ID)
	}
	return ids, err
}

// requests are the ids of alice's requests in the given state.
func (p *pipeline) requests(ctx context.Context, state string) []string {
	p.t.Helper()
	ids, err := p.listRequests(ctx, state)
	must(p.t, err)
	return ids
}

// nothingLeft checks that nothing waits, no grant lives, and upstream has no lease.
func (p *pipeline) nothingLeft() {
	p.t.Helper()
	if open := p.requests(p.t.Context(), "open"); len(open) > 0 {
		p.t.Errorf("requests are still open: %v", open)
	}
	leases, err := p.upstream.Leases(p.t.Context())
	if err != nil || len(leases) > 0 {
		p.t.Errorf("upstream's leases live: %v %v", leases, err)
	}
	tokens, err := p.mount.GrantTokens(p.t.Context())
	if err != nil || len(tokens) > 0 {
		p.t.Errorf("%d grant tokens live (%v)", len(tokens), err)
	}
}

func TestCredentialsLiveNoLongerThanTheRun(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		p := newPipeline(t)
		outside := filepath.Join(t.TempDir(), "otp")
		w := p.run(t, cli, "printf %s \"$OTP\" > "+outside, "1m")
		decided := p.approver(func(id string) error {
			// Else the provider may find it approved at its first look, and has nothing to wait for.
			for ended := time.Now().Add(time.Minute); !w.loggedMissing(); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(ended) {
					return errors.New("the log does not tell what is missing")
				}
			}
			return p.approve(id)
		})
		w.does("apply", "-auto-approve", "-no-color")
		id := <-decided

		otp, err := os.ReadFile(outside)
		if err != nil || len(otp) == 0 {
			t.Fatalf("the command had no password: %v", err)
		}
		if all := p.requests(p.t.Context(), "all"); len(all) != 1 || all[0] != id {
			t.Errorf("one apply asked %d times", len(all))
		}
		request, err := p.as(p.alice).Request(t.Context(), id)
		must(t, err)
		if grant := request.Grant; request.State != "ended" || grant.EndReason != "revoked" || grant.Revocation != "confirmed" {
			t.Errorf("the grant is %s, %+v", request.State, grant)
		}
		p.nothingLeft()

		// A second run is a second request; plantimestamp() tells seconds apart.
		time.Sleep(time.Second)
		// This one is planned first, for people to look at.
		w.does("plan", "-out=plan", "-no-color")
		decided = p.approver(p.approve)
		w.does("apply", "-no-color", "plan")
		if second := <-decided; second == id {
			t.Error("the second run used the first one's request")
		}
		p.nothingLeft()
		again, err := os.ReadFile(outside)
		if err != nil {
			t.Fatal(err)
		}
		w.holdsNone(string(otp), string(again), p.alice.Client.Token())
		w.does("destroy", "-auto-approve", "-no-color")
		p.nothingLeft()
	})
}

// loggedMissing reports whether the log tells what is missing.
func (w *workspace) loggedMissing() bool {
	trace, _ := os.ReadFile(filepath.Join(w.Dir, "trace.log")) // there is none at first
	return strings.Contains(string(trace), "waiting for approval") && strings.Contains(string(trace), "has 0 of 1 approvals")
}

func TestCredentialsDeniedFailWithTheVerdict(t *testing.T) {
	p := newPipeline(t)
	w := p.run(t, findCLI(t), "true", "1m")
	decided := p.approver(p.deny)
	w.fails([]string{"apply", "-auto-approve", "-no-color"}, "There is no credential", "is denied", p.bob.Name+" denied it", "by the book", "new keepers")
	<-decided
	p.nothingLeft()
}

func TestCredentialsCancelledFailWithTheVerdict(t *testing.T) {
	p := newPipeline(t)
	w := p.run(t, findCLI(t), "true", "1m")
	decided := p.approver(p.cancel)
	w.fails([]string{"apply", "-auto-approve", "-no-color"}, "is cancelled by its requester")
	<-decided
	p.nothingLeft()
}

func TestCredentialsWaitNoLongerThanTheirTimeout(t *testing.T) {
	p := newPipeline(t)
	w := p.run(t, findCLI(t), "true", "3s")
	w.fails([]string{"apply", "-auto-approve", "-no-color"}, "no quorum within timeouts.open (3s)", `rule "dba" has 0 of 1 approvals`)
	if cancelled := p.requests(p.t.Context(), "cancelled"); len(cancelled) != 1 {
		t.Errorf("%d requests are cancelled, want 1", len(cancelled))
	}
	p.nothingLeft()
}

func TestCredentialsInterruptedWhileWaitingLeaveNothing(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		p := newPipeline(t)
		w := p.run(t, cli, "true", "5m")
		run, err := w.Start(t.Context(), "apply", "-auto-approve", "-no-color")
		if err != nil {
			t.Fatal(err)
		}
		vaulttest.Eventually(t, "the request waits", func(ctx context.Context) error {
			trace, _ := os.ReadFile(filepath.Join(w.Dir, "trace.log"))
			if len(p.requests(ctx, "pending")) == 0 || !strings.Contains(string(trace), "waiting for approval") {
				return errors.New("not yet")
			}
			return nil
		})
		if err := run.Interrupt(); err != nil {
			t.Fatal(err)
		}
		if err := run.Wait(); err == nil {
			t.Errorf("an interrupted apply succeeded:\n%s", run.Output())
		}
		if cancelled := p.requests(p.t.Context(), "cancelled"); len(cancelled) != 1 {
			t.Errorf("%d requests are cancelled, want 1\n%s", len(cancelled), run.Output())
		}
		p.nothingLeft()
	})
}

func TestCredentialsInterruptedWhileHeldAreRevoked(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		p := newPipeline(t)
		outside := filepath.Join(t.TempDir(), "otp")
		w := p.run(t, cli, "printf %s \"$OTP\" > "+outside+" && sleep 60", "1m")
		decided := p.approver(p.approve)
		run, err := w.Start(t.Context(), "apply", "-auto-approve", "-no-color")
		if err != nil {
			t.Fatal(err)
		}
		<-decided
		vaulttest.Eventually(t, "the command has the password", func(context.Context) error {
			if otp, err := os.ReadFile(outside); err != nil || len(otp) == 0 {
				return errors.New("not yet")
			}
			return nil
		})
		if err := run.Interrupt(); err != nil {
			t.Fatal(err)
		}
		if err := run.Wait(); err == nil {
			t.Errorf("an interrupted apply succeeded:\n%s", run.Output())
		}
		p.endsUp(1, "ended")
		otp, err := os.ReadFile(outside)
		if err != nil {
			t.Fatal(err)
		}
		w.holdsNone(string(otp))
	})
}

func TestCredentialsOfAnEarlierRunsRequestAreNotGivenAgain(t *testing.T) {
	p := newPipeline(t)
	// Without new keepers.
	w := p.alices(newWorkspace(t, findCLI(t), strings.ReplaceAll(p.config("true", "1m"), "plantimestamp()", `"once"`)))
	decided := p.approver(p.approve)
	w.does("apply", "-auto-approve", "-no-color")
	<-decided
	w.says(w.does("plan", "-no-color"), "No changes", "a request is granted once", "(revoked)", "new keepers")
	w.fails([]string{"apply", "-auto-approve", "-no-color", "-replace=terraform_data.use"}, "a request is granted once", "null")
	w.write("main.tf", strings.NewReplacer("plantimestamp()", `"once"`, "ephemeral.vaultjit_credentials.deploy.data.key",
		"trimspace(ephemeral.vaultjit_credentials.deploy.data_json)").Replace(p.config("true", "1m")))
	w.fails([]string{"apply", "-auto-approve", "-no-color", "-replace=terraform_data.use"}, "a request is granted once", "must not be null")
	p.nothingLeft()
	w.does("destroy", "-auto-approve", "-no-color")
}

func TestCredentialsAreRevokedWhenWhatUsesThemFails(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		p := newPipeline(t)
		w := p.run(t, cli, "exit 3", "1m")
		decided := p.approver(p.approve)
		w.fails([]string{"apply", "-auto-approve", "-no-color"}, "exit status 3")
		<-decided
		p.endsUp(1, "ended")
	})
}

// endsUp waits for what a dying provider process has to do still.
func (p *pipeline) endsUp(count int, state string) {
	p.t.Helper()
	vaulttest.Eventually(p.t, "the request is "+state, func(ctx context.Context) error {
		if found := p.requests(ctx, state); len(found) != count {
			return fmt.Errorf("%d are %s, %d open", len(found), state, len(p.requests(ctx, "open")))
		}
		return nil
	})
	p.nothingLeft()
}

// TestCredentialsOutliveNoTerraform covers the two ways to end Terraform on the spot.
func TestCredentialsOutliveNoTerraform(t *testing.T) {
	for name, end := range map[string]func(*terraformtest.Running) error{
		"two interrupts": func(run *terraformtest.Running) error {
			err := run.Interrupt()
			time.Sleep(100 * time.Millisecond)
			_ = run.Interrupt() // it may be gone already
			return err
		},
		"kill": (*terraformtest.Running).Kill,
	} {
		t.Run("held/"+name, func(t *testing.T) {
			p := newPipeline(t)
			outside := filepath.Join(t.TempDir(), "otp")
			w := p.run(t, findCLI(t), "trap '' INT; printf %s \"$OTP\" > "+outside+"; sleep 20; sleep 20", "1m")
			decided := p.approver(p.approve)
			run, err := w.Start(t.Context(), "apply", "-auto-approve", "-no-color")
			if err != nil {
				t.Fatal(err)
			}
			<-decided
			vaulttest.Eventually(t, "the command has the password", func(context.Context) error {
				otp, err := os.ReadFile(outside)
				if err == nil && len(otp) == 0 {
					err = errors.New("not yet")
				}
				return err
			})
			if err := end(run); err != nil {
				t.Fatal(err)
			}
			p.endsUp(1, "ended")
		})
		t.Run("waiting/"+name, func(t *testing.T) {
			p := newPipeline(t)
			w := p.run(t, findCLI(t), "true", "5m")
			run, err := w.Start(t.Context(), "apply", "-auto-approve", "-no-color")
			if err != nil {
				t.Fatal(err)
			}
			vaulttest.Eventually(t, "the request waits", func(context.Context) error {
				if trace, _ := os.ReadFile(filepath.Join(w.Dir, "trace.log")); !strings.Contains(string(trace), "waiting for approval") {
					return errors.New("not yet")
				}
				return nil
			})
			if err := end(run); err != nil {
				t.Fatal(err)
			}
			p.endsUp(1, "cancelled")
		})
	}
}

// findCLI is terraform, or else tofu.
func findCLI(t *testing.T) terraformtest.CLI {
	t.Helper()
	cli, err := terraformtest.Find(t.Context())
	must(t, err)
	return cli
}
