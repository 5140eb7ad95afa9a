package provider_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withTTL is the pipeline's configuration with a window so short that the lease is renewed after ten seconds.
func (p *pipeline) withTTL(t *testing.T, command string) *workspace {
	t.Helper()
	return p.alices(newWorkspace(t, findCLI(t), strings.Replace(p.config(command, "1m"), `"5m"`, `"15s"`, 1)))
}

func (w *workspace) trace() string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.Dir, "trace.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func TestCredentialsAreRenewedWhileTerraformRuns(t *testing.T) {
	p := newPipeline(t)
	w := p.withTTL(t, "sleep 12")
	decided := p.approver(p.approve)
	w.does("apply", "-auto-approve", "-no-color")
	<-decided
	if !strings.Contains(w.trace(), "Called provider defined EphemeralResource Renew") {
		t.Error("nothing was renewed")
	}
	if strings.Contains(w.trace(), "cannot renew the lease") {
		t.Error("the lease could not be renewed")
	}
	p.endsUp(1, "ended")
}

func TestCredentialsEndedBySomebodyElseAreNoticed(t *testing.T) {
	p := newPipeline(t)
	w := p.withTTL(t, "sleep 12")
	decided := p.approver(func(id string) error {
		if err := p.approve(id); err != nil {
			return err
		}
		go func() {
			time.Sleep(4 * time.Second)
			if _, _, err := p.as(p.carol).Revoke(t.Context(), id); err != nil {
				t.Errorf("revoking: %v", err)
			}
		}()
		return nil
	})
	// tofu fails for what the renewal found, terraform keeps it to itself.
	output, _ := w.Run(t.Context(), "apply", "-auto-approve", "-no-color")
	w.says(output, "The credential ended before Terraform was done with it", "(revoked)")
	if !strings.Contains(w.trace(), "The credential has ended") {
		t.Error("the renewal did not notice")
	}
	<-decided
	p.endsUp(1, "ended")
}
