package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// Config is the engine's configuration.
type Config struct {
	issuer.Connection
	// AuditorGroupIDs are identity groups whose members see every request and may end every grant.
	AuditorGroupIDs []string `json:"auditor_group_ids"`
	// Retention is how long an ended request is kept.
	Retention time.Duration `json:"retention"`
	// MaxPendingPerRequester bounds how many requests of one person may wait at a time.
	MaxPendingPerRequester int `json:"max_pending_per_requester"`
	// RetiredSecretIDs were replaced by rotations and are not known to be destroyed.
	RetiredSecretIDs []string `json:"retired_secret_ids,omitempty"`
}

const (
	defaultRetention  = 30 * 24 * time.Hour
	defaultMaxPending = 100
	defaultAuthMount  = "approle"
)

var errNotConfigured = errors.New("the engine is not configured: write address, role_id, secret_id and token_role to config")

func (b *backend) pathConfig() []*framework.Path {
	return []*framework.Path{{
		Pattern:      store.ConfigKey,
		DisplayAttrs: display("configuration"),
		Fields: map[string]*framework.FieldSchema{
			"address":           {Type: framework.TypeString, Description: "URL of this Vault as the plugin reaches it, for example https://127.0.0.1:8200. Required."},
			"namespace":         {Type: framework.TypeString, Description: "Vault namespace the engine works in."},
			"ca_cert":           {Type: framework.TypeString, Description: "CA certificate of the address, PEM. Default: the system's."},
			"tls_server_name":   {Type: framework.TypeString, Description: "Name to expect in the certificate, if it is not the address's host."},
			"client_cert":       {Type: framework.TypeString, Description: "Client certificate, PEM, for a listener that asks for one."},
			"client_key":        {Type: framework.TypeString, Description: "Private key of client_cert, PEM. Never read back.", DisplayAttrs: &framework.DisplayAttributes{Sensitive: true}},
			"auth_mount":        {Type: framework.TypeString, Description: "Path of the AppRole auth mount. Default: approle."},
			"role_id":           {Type: framework.TypeString, Description: "role_id of the engine's own AppRole."},
			"secret_id":         {Type: framework.TypeString, Description: "secret_id of the engine's own AppRole. Never read back.", DisplayAttrs: &framework.DisplayAttributes{Sensitive: true}},
			"token":             {Type: framework.TypeString, Description: "A Vault token to use instead of an AppRole. Never read back.", DisplayAttrs: &framework.DisplayAttributes{Sensitive: true}},
			"token_role":        {Type: framework.TypeString, Description: "Token role (auth/token/roles/NAME) through which grant tokens are made; it bounds what any grant can get. Required."},
			"auditor_group_ids": {Type: framework.TypeCommaStringSlice, Description: "Identity groups whose members see every request and may end every grant."},
			"retention":         {Type: framework.TypeDurationSecond, Description: "How long an ended request is kept. Default: 30 days."},
			"max_pending_per_requester": {Type: framework.TypeInt,
				Description: "How many requests of one person may wait for a decision or a claim at a time. Default: 100."},
		},
		ExistenceCheck: func(ctx context.Context, req *logical.Request, _ *framework.FieldData) (bool, error) {
			config, err := b.store.Config.Get(ctx, req.Storage)
			return config != nil, err
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   reading(b.readConfig, "Read the configuration, without secrets."),
			logical.CreateOperation: changing(b.writeConfig, "Configure how the engine reaches Vault. Logs in and checks its own capabilities."),
			logical.UpdateOperation: changing(b.writeConfig, "Change the configuration. Fields that are not given stay."),
			logical.DeleteOperation: changing(b.deleteConfig, "Delete the configuration. Refused while grants live."),
		},
		HelpSynopsis: "How the engine reaches Vault, who it is there, and its limits.",
		HelpDescription: `Writing the configuration logs in to Vault and answers with a warning for each capability that the engine's identity
lacks, with the policy line that gives it. A login that fails is refused, and nothing is stored.

Fields that are not given stay as they are. Whoever changes where or how the engine connects has to give secret_id or
token again, so that the stored one cannot be sent elsewhere.`,
	}, {
		Pattern:      "config/rotate-root",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: "rotate", OperationSuffix: "root"},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: changing(b.rotateRoot, "Replace the engine's secret_id by one that only the engine knows."),
		},
		HelpSynopsis:    "Replace the engine's secret_id by one that only the engine knows.",
		HelpDescription: "Makes a new secret_id, logs in with it, stores it, and destroys the one it replaces. Nobody else then knows the engine's secret.",
	}}
}

func (b *backend) readConfig(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	config, err := b.store.Config.Get(ctx, req.Storage)
	if err != nil || config == nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{
		"address":                   config.Address,
		"namespace":                 config.Namespace,
		"ca_cert":                   config.CACert,
		"tls_server_name":           config.TLSServerName,
		"client_cert":               config.ClientCert,
		"auth_mount":                config.AuthMount,
		"role_id":                   config.RoleID,
		"token_role":                config.TokenRole,
		"auditor_group_ids":         config.AuditorGroupIDs,
		"retention":                 int64(config.Retention / time.Second),
		"max_pending_per_requester": config.MaxPendingPerRequester,
	}}, nil
}

// changeConfig runs one change of the configuration; a second one at the same time is refused, because waiting would
// mean waiting for Vault.
func (b *backend) changeConfig(change func() (*logical.Response, error)) (*logical.Response, error) {
	if !b.configuring.TryLock() {
		return refused(errors.New("another change of the configuration is under way; try again")), nil
	}
	defer b.configuring.Unlock()
	return change()
}

func (b *backend) writeConfig(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	return b.changeConfig(func() (*logical.Response, error) {
		current, err := b.store.Config.Get(ctx, req.Storage)
		if err != nil {
			return nil, err
		}
		next, err := mergeConfig(current, d)
		if err != nil {
			return refused(err), nil
		}
		made, err := issuer.New(next.Connection)
		if err != nil {
			return refused(err), nil
		}
		warnings, err := made.Warnings(ctx)
		if err != nil {
			return refused(fmt.Errorf("nothing was stored: %w", err)), nil
		}
		warnings = append(warnings, about("auditor_group_ids", made.GroupWarnings(ctx, next.AuditorGroupIDs))...)
		if current != nil && connectsElsewhere(current.Connection, next.Connection) {
			if n := len(next.RetiredSecretIDs); n > 0 {
				warnings = append(warnings, fmt.Sprintf("%d replaced secret_ids of the former connection are not destroyed, and the new one cannot: "+
					"destroy the secret_ids of that AppRole", n))
			}
			next.RetiredSecretIDs = nil
		}
		var problem error
		if current == nil || (current.Address == next.Address && current.Namespace == next.Namespace) {
			err = b.putConfig(ctx, req.Storage, next, made)
		} else {
			problem, err = b.moveConfig(ctx, req.Storage, next, made)
		}
		if problem != nil || err != nil {
			return answer(problem, err)
		}
		return withWarnings(warnings), nil
	})
}

// moveConfig stores a configuration that leads to another address or namespace, unless that is another Vault while this
// one may hold something that only it can end.
func (b *backend) moveConfig(ctx context.Context, s logical.Storage, next Config, described *issuer.Issuer) (problem, fault error) {
	sameVault, problem, fault := b.knowsGrants(ctx, s, described)
	if problem != nil || fault != nil {
		return problem, fault
	}
	return b.whileNothingIsClaimed(func() (problem, fault error) {
		if !sameVault {
			if problem, fault = b.nothingHeld(ctx, s); problem != nil || fault != nil {
				return problem, fault
			}
		}
		return nil, b.putConfig(ctx, s, next, described)
	})
}

// putConfig stores the configuration and goes on with the issuer that it describes.
func (b *backend) putConfig(ctx context.Context, s logical.Storage, config Config, described *issuer.Issuer) error {
	err := b.store.Config.Put(ctx, s, config)
	if err != nil {
		described = nil // it may have been stored or not: the next call reads it again
	}
	b.replaceIssuer(described)
	return err
}

// whileNothingIsClaimed makes a change after which the engine no longer reaches the Vault in which a claim under way
// makes its grant.
func (b *backend) whileNothingIsClaimed(change func() (problem, fault error)) (problem, fault error) {
	if !b.claims.TryLock() {
		return errors.New("nothing was changed: a claim is under way; try again"), nil
	}
	defer b.claims.Unlock()
	return change()
}

// nothingHeld refuses while there may be something that only the Vault connected to now can end.
func (b *backend) nothingHeld(ctx context.Context, s logical.Storage) (problem, fault error) {
	held, err := b.store.Requests.Open(ctx, s, func(sum store.Summary) bool { return sum.Holding })
	if err != nil || len(held) == 0 {
		return nil, err
	}
	return fmt.Errorf("nothing was changed: %d grants are not known to have ended (such as %s), and the engine needs its configuration to end them: "+
		"revoke them first", len(held), held[0].ID), nil
}

// withWarnings is an answer without data; nil, that is status 204, if there are no warnings either.
func withWarnings(warnings []string) *logical.Response {
	if len(warnings) == 0 {
		return nil
	}
	return &logical.Response{Warnings: warnings}
}

// mergeConfig applies the given fields to the current configuration, if there is one.
func mergeConfig(current *Config, d *framework.FieldData) (Config, error) {
	next := Config{
		Connection: issuer.Connection{AuthMount: defaultAuthMount},
		Retention:  defaultRetention, MaxPendingPerRequester: defaultMaxPending, AuditorGroupIDs: []string{},
	}
	if current != nil {
		next = *current
	}
	for name, target := range map[string]*string{
		"address": &next.Address, "namespace": &next.Namespace, "ca_cert": &next.CACert, "tls_server_name": &next.TLSServerName,
		"client_cert": &next.ClientCert, "client_key": &next.ClientKey, "auth_mount": &next.AuthMount, "role_id": &next.RoleID,
		"secret_id": &next.SecretID, "token": &next.Token, "token_role": &next.TokenRole,
	} {
		given(d, name, target)
	}
	given(d, "auditor_group_ids", &next.AuditorGroupIDs)
	given(d, "max_pending_per_requester", &next.MaxPendingPerRequester)
	givenSeconds(d, "retention", &next.Retention)
	if next.MaxPendingPerRequester < 1 {
		return next, fmt.Errorf("max_pending_per_requester is %d; it must be at least 1", next.MaxPendingPerRequester)
	}
	_, secretGiven := d.GetOk("secret_id")
	_, tokenGiven := d.GetOk("token")
	switch {
	case tokenGiven && next.Token != "" && !secretGiven:
		next.RoleID, next.SecretID = "", "" // a change from AppRole to token
	case secretGiven && next.SecretID != "" && !tokenGiven:
		next.Token = "" // a change from token to AppRole
	}
	// A secret that is in use and was not given just now is the stored one. An empty one given beside it proves nothing.
	keepsSecret := (next.SecretID != "" && !secretGiven) || (next.Token != "" && !tokenGiven)
	if current != nil && keepsSecret && connectsElsewhere(current.Connection, next.Connection) {
		return next, errors.New("where or how the engine connects would change: give secret_id (or token) again")
	}
	return next, nil
}

// connectsElsewhere reports whether the engine's secret would be sent to another place or in another way.
func connectsElsewhere(a, b issuer.Connection) bool {
	for _, c := range []*issuer.Connection{&a, &b} {
		c.SecretID, c.Token, c.ClientKey, c.TokenRole = "", "", "", ""
	}
	return a != b
}

// knowsGrants reports whether the Vault that a new connection leads to has made the live grants. One that has not must
// never be asked to end them: what it does not know would pass for ended.
func (b *backend) knowsGrants(ctx context.Context, s logical.Storage, next *issuer.Issuer) (known bool, problem, fault error) {
	live, err := b.store.Requests.Open(ctx, s, func(sum store.Summary) bool { return sum.Holding && !sum.Waiting && !sum.Unconfirmed })
	if err != nil {
		return false, nil, err
	}
	for _, sum := range live {
		r, err := b.store.Requests.GetOpen(ctx, s, sum.ID)
		if err != nil {
			return false, nil, err
		}
		if r == nil || r.State(b.now()) != approval.Active {
			continue
		}
		known, err := next.KnowsToken(ctx, r.Grant.Accessor)
		if err != nil {
			return false, fmt.Errorf("nothing was stored: looking for the token of live grant %s: %w", r.ID, err), nil
		}
		if !known {
			return false, fmt.Errorf("nothing was stored: there the token of live grant %s is not known, so it could not be ended; "+
				"end the live grants first, or connect to the Vault and namespace that made them", r.ID), nil
		}
		return true, nil, nil
	}
	return false, nil, nil
}

func (b *backend) deleteConfig(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	return b.changeConfig(func() (*logical.Response, error) {
		return answer(b.whileNothingIsClaimed(func() (problem, fault error) {
			if problem, fault = b.nothingHeld(ctx, req.Storage); problem != nil || fault != nil {
				return problem, fault
			}
			defer b.replaceIssuer(nil)
			return nil, b.store.Config.Delete(ctx, req.Storage)
		}))
	})
}

func (b *backend) rotateRoot(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	return b.changeConfig(func() (*logical.Response, error) {
		config, err := b.store.Config.Get(ctx, req.Storage)
		if err != nil {
			return nil, err
		}
		if config == nil {
			return refused(errNotConfigured), nil
		}
		current, err := b.issuerFor(ctx, req.Storage)
		if err != nil {
			return nil, err
		}
		secretID, err := current.NewSecretID(ctx)
		if err != nil {
			return refused(fmt.Errorf("nothing was changed: %w", err)), nil
		}
		next := *config
		next.SecretID, next.RetiredSecretIDs = secretID, append(slices.Clone(config.RetiredSecretIDs), config.SecretID)
		made, err := issuer.New(next.Connection)
		if err == nil {
			err = made.Login(ctx)
		}
		if err != nil {
			return refused(errors.Join(fmt.Errorf("nothing was changed: the new secret_id does not work: %w", err),
				current.DestroySecretID(ctx, secretID))), nil
		}
		if err := b.putConfig(ctx, req.Storage, next, made); err != nil {
			return nil, err
		}
		if err := b.destroyRetired(ctx, req.Storage, next, made); err != nil {
			return withWarnings([]string{fmt.Sprintf("rotated, but the replaced secret_id is not destroyed yet; the engine tries again every minute: %v", err)}), nil
		}
		return nil, nil
	})
}

// destroyRetired destroys the secret_ids that rotations replaced and notes which of them are left.
func (b *backend) destroyRetired(ctx context.Context, s logical.Storage, config Config, vault *issuer.Issuer) error {
	var left []string
	var faults []error
	for _, secretID := range config.RetiredSecretIDs {
		if err := vault.DestroySecretID(ctx, secretID); err != nil {
			left, faults = append(left, secretID), append(faults, err)
		}
	}
	if len(left) < len(config.RetiredSecretIDs) {
		config.RetiredSecretIDs = left
		faults = append(faults, b.putConfig(ctx, s, config, vault))
	}
	return errors.Join(faults...)
}
