// Package engine is the Vault secrets engine: one path_*.go per endpoint, the leased secret, and the periodic work.
//
// Handlers gather facts (the request record, who the caller is and which groups they are in, the role and policy as they
// are now), ask package approval what follows from them, and store the result. They decide nothing themselves.
package engine

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// Version is the release, set by the linker.
var Version = "v0.0.0-dev"

type backend struct {
	*framework.Backend

	store *store.Store[Config]
	// now is the clock; only a test of the handlers replaces it.
	now func() time.Time

	issuer atomic.Pointer[issuer.Issuer]
	// issuerMu guards the making of the issuer from the configuration; no call to Vault is made under it.
	issuerMu sync.Mutex
	// claims is held for reading by each claim under way, and nobody waits for it: see whileNothingIsClaimed.
	claims sync.RWMutex
	// configuring lets one change of the configuration happen at a time; the others are refused, not kept waiting.
	configuring sync.Mutex
	// definitions orders changes of groups, policies and roles, which refer to each other.
	definitions sync.Mutex

	periodicBusy sync.Mutex
	lastPeriodic atomic.Pointer[time.Time]
	lastTidy     atomic.Pointer[time.Time]

	patterns map[string]*regexp.Regexp
}

// Factory makes the engine for one mount.
func Factory(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
	b := newBackend()
	if err := b.Setup(ctx, config); err != nil {
		return nil, fmt.Errorf("setting up the jit secrets engine: %w", err)
	}
	return b, nil
}

func newBackend() *backend {
	b := &backend{store: store.New[Config](), now: time.Now, patterns: map[string]*regexp.Regexp{}}
	b.Backend = &framework.Backend{
		Help:           strings.TrimSpace(backendHelp),
		BackendType:    logical.TypeLogical,
		RunningVersion: Version,
		PathsSpecial:   &logical.Paths{SealWrapStorage: []string{store.ConfigKey}},
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
		PeriodicFunc: b.periodic,
		Invalidate:   b.invalidate,
		Clean:        b.clean,
	}
	for _, path := range b.Paths {
		b.patterns[path.Pattern] = regexp.MustCompile("^(?:" + path.Pattern + ")$")
	}
	return b
}

// HandleRequest checks the input before the framework does, which would convert some of it silently.
func (b *backend) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if err := b.checkInput(req); err != nil {
		return refused(err), nil
	}
	return b.Backend.HandleRequest(ctx, req)
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
		b.replaceIssuer(nil)
	}
}

func (b *backend) clean(context.Context) { b.replaceIssuer(nil) }

func (b *backend) replaceIssuer(next *issuer.Issuer) {
	b.issuerMu.Lock() // so that none made from what was stored before takes its place
	defer b.issuerMu.Unlock()
	if previous := b.issuer.Swap(next); previous != nil {
		previous.Close()
	}
}

// issuerFor returns the issuer that the configuration describes.
func (b *backend) issuerFor(ctx context.Context, s logical.Storage) (*issuer.Issuer, error) {
	if current := b.issuer.Load(); current != nil {
		return current, nil
	}
	b.issuerMu.Lock()
	defer b.issuerMu.Unlock()
	if current := b.issuer.Load(); current != nil {
		return current, nil
	}
	config, err := b.store.Config.Get(ctx, s)
	if err != nil {
		return nil, err
	}
	if config == nil {
		return nil, errNotConfigured
	}
	made, err := issuer.New(config.Connection)
	if err != nil {
		return nil, fmt.Errorf("the stored configuration is not usable: %w", err)
	}
	b.issuer.Store(made)
	return made, nil
}

// grace is how long work goes on for a caller who has gone.
const grace = 5 * time.Second

// outlasting is a context that goes on for a moment after the given one has ended, for what must not be broken off
// half-way. Only for a moment: when Vault steps down, it ends the contexts of its plugins and then waits for them.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return out, func() {
		stop()
		cancel()
	}
}

// refused is the answer to what a user did wrong: status 400, and nothing was stored.
func refused(err error) *logical.Response { return logical.ErrorResponse(err.Error()) }

// changing marks an operation that writes: it runs on the active node of the primary cluster only, so that no side
// effect happens twice.
func changing(handler framework.OperationFunc, summary string) *framework.PathOperation {
	return &framework.PathOperation{
		Callback:                    handler,
		Summary:                     summary,
		ForwardPerformanceStandby:   true,
		ForwardPerformanceSecondary: true,
	}
}

// onActive marks a read of what only the active node knows.
func onActive(handler framework.OperationFunc, summary string) *framework.PathOperation {
	return &framework.PathOperation{Callback: handler, Summary: summary, ForwardPerformanceStandby: true}
}

func reading(handler framework.OperationFunc, summary string) *framework.PathOperation {
	return &framework.PathOperation{Callback: handler, Summary: summary}
}

func display(suffix string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: "jit", OperationSuffix: suffix}
}

const backendHelp = `
Just-in-time access: ask for a role with a reason and a duration, get approved by a quorum, claim a leased credential.

  vault write jit/request role=prod-db reason="INC-42" ttl=15m    asks, and returns the request's id
  vault list -detailed jit/inbox                                  shows what waits for your decision
  vault write jit/approve id=ID                                   approves
  vault write jit/claim id=ID                                     returns the credential, made for this request alone
  vault write jit/revoke id=ID                                    ends it early

The credential's lease ends with the approved window, and nothing is left behind.
`
