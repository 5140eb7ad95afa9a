package approval

import (
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// A Command is something that somebody wants to happen to a request. It carries the standing, as of now, of whoever
// wants it.
//
//sumtype:decl
type Command interface{ command() }

type (
	// Decide is an approver's word.
	Decide struct {
		Approver, Requester Standing
		Verdict             DecisionVerdict
		Comment             string
	}
	// Withdraw takes the approver's own decision back.
	Withdraw struct{ Approver Standing }
	// Cancel is the requester's end of a request that was not granted.
	Cancel struct{ Requester Standing }
	// BeginClaim is to make the grant for the one who claims it, with the token that was made for that.
	BeginClaim struct {
		Claimer Standing
		World   World
		Token   grant.Token
	}
	// GiveGrant is to give what a claim made, which lasts until then, if the request can still be claimed.
	GiveGrant struct {
		World   World
		Handles grant.Handles
		Until   time.Time
	}
	// AbortClaim says that the claim with this token gave nothing out, whatever was recorded of it. NothingSent says that
	// nothing was made with the token. Left is what the claim made that has not ended.
	AbortClaim struct {
		Token       grant.Token
		NothingSent bool
		Left        grant.Handles
	}
	// Revoke is somebody's end of a grant. By is who; Auditor and Operator say what else entitles them.
	Revoke struct {
		By                Standing
		Auditor, Operator bool
	}
	// LeaseEnded says that the lease of the grant is over in Vault.
	LeaseEnded struct{}
	// Gone says that one handle is gone, by its key: of a grant that is over, or of a claim that gave nothing.
	Gone struct{ Handle string }
)

func (Decide) command()     {}
func (Withdraw) command()   {}
func (Cancel) command()     {}
func (BeginClaim) command() {}
func (GiveGrant) command()  {}
func (AbortClaim) command() {}
func (Revoke) command()     {}
func (LeaseEnded) command() {}
func (Gone) command()       {}
