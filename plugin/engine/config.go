package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Config is the engine's configuration.
type Config struct {
	session.Connection
	// AuditorGroupIDs are identity groups whose members see every request and may end every grant.
	AuditorGroupIDs []string `json:"auditor_group_ids"`
	// Retention is how long an ended request is kept.
	Retention time.Duration `json:"retention"`
	// MaxPendingPerRequester bounds how many requests of one person may wait at a time.
	MaxPendingPerRequester int `json:"max_pending_per_requester"`
	// RetiredSecretIDs were replaced by rotations and are not known to be destroyed.
	RetiredSecretIDs []string `json:"retired_secret_ids,omitempty"`
}

var errNotConfigured = refusal.New("", "the engine is not configured: write address, role_id, secret_id and token_role to config", "")

// configuration is what is configured, or the defaults.
func (b *backend) configuration(ctx context.Context, s logical.Storage) (Config, error) {
	config, err := b.store.Config.Get(ctx, s)
	if err == nil && config == nil {
		return wire.Merge(wire.ConfigTable, Config{}, wire.ConfigTable.Defaults())
	}
	if err != nil {
		return Config{}, err
	}
	return *config, nil
}

// mergeConfig applies the given fields to the current configuration.
func mergeConfig(current Config, isStored bool, given map[string]any) (Config, error) {
	next, err := wire.Merge(wire.ConfigTable, current, given)
	if err != nil {
		return next, err
	}
	if next.MaxPendingPerRequester < 1 {
		return next, refusal.New("max_pending_per_requester", fmt.Sprintf("it is %d", next.MaxPendingPerRequester), "it must be at least 1")
	}
	_, secretGiven := given["secret_id"]
	_, tokenGiven := given["token"]
	switch {
	case tokenGiven && next.Token != "" && !secretGiven:
		next.RoleID, next.SecretID = "", "" // a change from AppRole to token
	case secretGiven && next.SecretID != "" && !tokenGiven:
		next.Token = "" // a change from token to AppRole
	}
	if _, keyGiven := given["client_key"]; next.ClientCert == "" && !keyGiven {
		next.ClientKey = "" // the key of no certificate is of no use
	}
	// A secret that is in use and was not given just now is the stored one. An empty one given beside it proves nothing.
	field := "secret_id"
	if next.Token != "" {
		field = "token"
	}
	keepsSecret := (next.SecretID != "" && !secretGiven) || (next.Token != "" && !tokenGiven)
	if isStored && keepsSecret && connectsElsewhere(current, next) {
		return next, refusal.New(field, "where or how the engine connects would change", "give secret_id (or token) again")
	}
	return next, nil
}

// connectsElsewhere reports whether the engine's secret would be sent to another place or in another way.
func connectsElsewhere(a, b Config) bool {
	for _, c := range []*session.Connection{&a.Connection, &b.Connection} {
		c.SecretID, c.Token, c.ClientKey, c.TokenRole = "", "", "", ""
	}
	return a.Connection != b.Connection
}

// connect returns the issuer that a configuration describes, which has not logged in yet.
func (b *backend) connect(config Config) (*issuer.Issuer, error) {
	vault, err := session.New(config.Connection)
	if err != nil {
		return nil, err
	}
	return issuer.New(vault, b.now), nil
}

// replaceIssuer goes on with another issuer. The login of the one before ends when no claim uses it any more.
func (b *backend) replaceIssuer(next *issuer.Issuer) {
	b.issuerMu.Lock() // so that none made from what was stored before takes its place
	defer b.issuerMu.Unlock()
	if b.issuer != nil && b.issuer != next {
		b.issuer.Session().Retire()
	}
	b.issuer = next
}

// issuerFor returns the issuer that the stored configuration describes.
func (b *backend) issuerFor(ctx context.Context, s logical.Storage) (*issuer.Issuer, error) {
	b.issuerMu.Lock()
	defer b.issuerMu.Unlock()
	if b.issuer != nil {
		return b.issuer, nil
	}
	config, err := b.store.Config.Get(ctx, s)
	if err != nil {
		return nil, err
	}
	if config == nil {
		return nil, errNotConfigured
	}
	made, err := b.connect(*config)
	if err != nil {
		return nil, fmt.Errorf("the stored configuration is not usable: %v", err) //nolint:errorlint // no mistake of the caller's
	}
	b.issuer = made
	return made, nil
}

// sessionFor returns the session of that issuer.
func (b *backend) sessionFor(ctx context.Context, s logical.Storage) (*session.Session, error) {
	vault, err := b.issuerFor(ctx, s)
	if err != nil {
		return nil, err
	}
	return vault.Session(), nil
}

// askVault is what Vault can tell, if it is asked now and answers soon. Nothing depends on it.
func (b *backend) askVault(ctx context.Context, s logical.Storage, question func(context.Context, *issuer.Issuer) []string) []string {
	vault, err := b.issuerFor(ctx, s)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, people.CensusTime)
	defer cancel()
	return question(ctx, vault)
}

// prefixEach puts the name of a field before each text.
func prefixEach(field string, texts []string) []string {
	for i := range texts {
		texts[i] = field + ": " + texts[i]
	}
	return texts
}

// putConfig stores the configuration and goes on with the issuer that it describes.
func (b *backend) putConfig(ctx context.Context, s logical.Storage, config Config, described *issuer.Issuer) error {
	err := b.store.Config.Put(ctx, s, config)
	if err != nil { // it may have been stored or not: the next call reads it again
		described.Session().Retire() //nolint:contextcheck // its login ends after the call
		described = nil
	}
	b.replaceIssuer(described) //nolint:contextcheck // the old login ends after the call
	return err
}

// changeConfig stores the configuration with the given fields, once a login with it succeeded.
func (c *call) changeConfig(ctx context.Context) (warnings []string, err error) {
	stored, err := c.store.Config.Get(ctx, c.req.Storage)
	if err != nil {
		return nil, err
	}
	current, err := c.configuration(ctx, c.req.Storage)
	if err != nil {
		return nil, err
	}
	next, err := mergeConfig(current, stored != nil, c.given)
	if err != nil {
		return nil, err
	}
	made, err := c.connect(next)
	if err != nil {
		return nil, err
	}
	defer func() { //nolint:contextcheck // the login that is not used ends after the call
		if err != nil {
			made.Session().Retire()
		}
	}()
	warnings, err = made.Warnings(ctx)
	if err != nil {
		var failed session.LoginError
		errors.As(err, &failed)
		return nil, refusal.Newf(failed.Field, "nothing was stored: %v", err)
	}
	warnings = append(warnings, prefixEach("auditor_group_ids", people.GroupWarnings(ctx, made.Session(), next.AuditorGroupIDs))...)
	if stored != nil && connectsElsewhere(current, next) {
		if n := len(next.RetiredSecretIDs); n > 0 {
			warnings = append(warnings, fmt.Sprintf("%d replaced secret_ids of the former connection are not destroyed, and the new one cannot: "+
				"destroy the secret_ids of that AppRole", n))
		}
		next.RetiredSecretIDs = nil
	}
	if stored == nil || (current.Address == next.Address && current.Namespace == next.Namespace) {
		err = c.putConfig(ctx, c.req.Storage, next, made)
	} else {
		err = c.moveConfig(ctx, c.req.Storage, next, made)
	}
	if err != nil {
		return nil, err
	}
	return warnings, nil
}

// moveConfig stores a configuration that leads to another address or namespace, unless that is another Vault while this
// one may hold something that only it can end.
func (b *backend) moveConfig(ctx context.Context, s logical.Storage, next Config, described *issuer.Issuer) error {
	sameVault, err := b.knowsGrants(ctx, s, described)
	if err != nil {
		return err
	}
	return b.ledger.WhileNothingIsClaimed(func() error {
		if !sameVault {
			if err := b.checkNothingHeld(ctx, s); err != nil {
				return err
			}
		}
		return b.putConfig(ctx, s, next, described)
	})
}

// checkNothingHeld refuses while there may be something that only the Vault connected to now can end.
func (b *backend) checkNothingHeld(ctx context.Context, s logical.Storage) error {
	held, err := b.ledger.Holding(ctx, s)
	if err != nil || len(held) == 0 {
		return err
	}
	return refusal.Newf("", "nothing was changed: %d grants are not known to have ended (such as %s), and the engine needs its configuration to end them: "+
		"revoke them first", len(held), held[0])
}

// knowsGrants reports whether the Vault that a new connection leads to has made the live grants. One that has not must
// never be asked to end them: what it does not know would pass for ended.
func (b *backend) knowsGrants(ctx context.Context, s logical.Storage, next *issuer.Issuer) (bool, error) {
	id, token, found, err := b.ledger.FindLiveToken(ctx, s)
	if err != nil || !found {
		return false, err
	}
	known, err := next.Knows(ctx, token)
	if err != nil {
		return false, refusal.Newf("", "nothing was stored: looking for the token of live grant %s: %v", id, err)
	}
	if !known {
		return false, refusal.Newf("", "nothing was stored: there the token of live grant %s is not known, so it could not be ended; "+
			"end the live grants first, or connect to the Vault and namespace that made them", id)
	}
	return true, nil
}
