// Package engine is the Vault secrets engine: one path_*.go per endpoint, the leased secret, and the periodic work.
//
// A handler reads its fields, says to package ledger what the caller wants, and shows what came of it. What may happen is
// decided in package approval; who somebody is, in package people.
package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/ledger"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/store"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Version is the release, set by the linker.
var Version = "v0.0.0-dev"

type backend struct {
	*framework.Backend

	// accepts are the tables by which what is given to a path is decoded.
	accepts map[*framework.Path]wire.Table
	store   *store.Store[Config]
	ledger  *ledger.Ledger
	source  people.Source
	// now is the clock; only a test of the handlers replaces it.
	now func() time.Time

	// issuerMu guards the issuer, and its making from the configuration; no call to Vault is made under it.
	issuerMu sync.Mutex
	issuer   *issuer.Issuer
	// configuring lets one change of the configuration happen at a time; the others are refused, not kept waiting.
	configuring sync.Mutex
	// definitions orders changes of groups, policies and roles, which refer to each other.
	definitions sync.Mutex

	periodicBusy sync.Mutex
	lastPeriodic atomic.Pointer[time.Time]
	lastTidy     time.Time // periodicBusy guards it
}

// Factory makes the engine for one mount.
func Factory(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
	b := newBackend()
	if err := b.Setup(ctx, config); err != nil {
		return nil, fmt.Errorf("setting up the jit secrets engine: %w", err)
	}
	b.ledger = ledger.New(b.store.Requests, b.issuerFor, b.now, b.Logger())
	b.source = people.Source{
		Directory: b.System(), Groups: b.store.Groups, Roles: b.store.Roles, Policies: b.store.Policies,
		Session: b.sessionFor, MaxWindow: b.System().MaxLeaseTTL, Logger: b.Logger(),
	}
	return b, nil
}

func newBackend() *backend {
	b := &backend{accepts: map[*framework.Path]wire.Table{}, store: store.New[Config](), now: time.Now}
	b.Backend = &framework.Backend{
		Help:           strings.TrimSpace(backendHelp),
		BackendType:    logical.TypeLogical,
		RunningVersion: Version,
		PathsSpecial:   &logical.Paths{SealWrapStorage: []string{store.ConfigKey, store.SeedKey}},
		Paths: framework.PathAppend(
			b.pathConfig(),
			b.pathStatus(),
			b.pathApproverGroups(),
			b.pathPolicies(),
			b.pathPolicyCheck(),
			b.pathRoles(),
			b.pathRequest(),
			b.pathDecisions(),
			b.pathClaim(),
			b.pathRevoke(),
			b.pathInbox(),
			b.pathRequests(),
			b.pathTidy(),
		),
		Secrets:      []*framework.Secret{b.grantSecret()},
		PeriodicFunc: b.runPeriodic,
		Invalidate:   b.invalidate,
		Clean:        b.clean,
	}
	return b
}

// HandleRequest checks the input before the framework does, which would convert some of it silently.
func (b *backend) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if err := b.checkInput(req); err != nil {
		return respond(nil, err)
	}
	guarded := *req
	if req.Storage != nil {
		guarded.Storage = b.ledger.Guard(req.Storage)
	}
	return b.Backend.HandleRequest(ctx, &guarded)
}

// HandleExistenceCheck looks at the path alone. Given the fields too, the framework would refuse some forms that are
// accepted, and in words that do not say what is, before HandleRequest sees them.
func (b *backend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checked, exists bool, err error) {
	bare := *req
	bare.Data = nil
	return b.Backend.HandleExistenceCheck(ctx, &bare)
}

func (b *backend) invalidate(_ context.Context, key string) {
	b.store.Invalidate(key)
	if key == store.ConfigKey {
		b.replaceIssuer(nil) //nolint:contextcheck // the old login ends after the call
	}
}

func (b *backend) clean(context.Context) {
	b.ledger.Close()
	if !b.issuerMu.TryLock() {
		return // one is being made from the storage, which may hang, and has no connections yet
	}
	defer b.issuerMu.Unlock()
	if b.issuer != nil {
		b.issuer.Session().Close()
	}
}

func display(suffix string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: "jit", OperationSuffix: suffix}
}

const backendHelp = `
Just-in-time access: ask for a role with a reason and a duration, get approved by a quorum, claim a leased credential.

  vault write jit/request role=prod-db reason="INC-42" ttl=15m    asks, and returns the request's id
  vault list -detailed jit/inbox                                  shows what waits for your decision
  vault write jit/approve id=ID                                   approves
  vault write -f jit/claim/ID                                     returns the credential, made for this request alone
  vault write jit/revoke id=ID                                    ends it early

The credential's lease ends with the approved window, and nothing is left behind.
`
