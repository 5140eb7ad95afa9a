package login

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
)

// A token is what a session works with. It is renewed where a grant or a wait hangs on it, and if it is of a login of
// this process from the beginning.
type token struct {
	vault *api.Client
	own   bool
	began time.Time
	// ends is when it ends if it is not renewed, as far as the login told; zero if it did not.
	ends time.Time

	mu      sync.Mutex
	watcher *api.LifetimeWatcher
}

// Logins are the tokens of this process. None is given up for a newer one, because grants may hang on it.
type Logins struct {
	mu  sync.Mutex
	all []*token
}

func (l *Logins) begin(vault *api.Client, login *api.Secret, own bool) (*token, error) {
	vault, err := client.Clone(vault)
	if err != nil {
		return nil, err
	}
	vault.SetToken(login.Auth.ClientToken)
	begun := &token{vault: vault, own: own, began: time.Now()}
	if own {
		begun.ends = begun.began.Add(time.Duration(login.Auth.LeaseDuration) * time.Second)
		if err := begun.keep(login, 0); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, begun)
	return begun, nil
}

// logoutTimeout bounds the end of the logins: Terraform does not wait long.
const logoutTimeout = 5 * time.Second

// End revokes the tokens of all logins of this process.
func (l *Logins) End(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
	defer cancel()
	l.mu.Lock()
	all := l.all
	l.all = nil
	l.mu.Unlock()
	var ending sync.WaitGroup
	for _, one := range all {
		ending.Go(func() { one.end(ctx) })
	}
	ending.Wait()
}

func (t *token) end(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watcher != nil {
		t.watcher.Stop()
	}
	if t.own {
		_ = t.vault.Auth().Token().RevokeSelfWithContext(ctx, "") // else it ends by itself
	}
}

// keep renews the token from now on, by so much each time; by its own ttl if that is zero.
func (t *token) keep(renewed *api.Secret, increment time.Duration) error {
	watcher, err := t.vault.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: renewed, Increment: int(increment.Seconds())})
	if err != nil {
		return fmt.Errorf("renewing the login's token: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watcher != nil {
		t.watcher.Stop()
	}
	t.watcher = watcher
	go watcher.Start()
	return nil
}

// reach is how long the token can live from now on, at most the given time. If it has to, it is renewed for that long
// and some time more: never for less than it has, because a grant may hang on that.
func (t *token) reach(ctx context.Context, wanted, more time.Duration) time.Duration {
	about, err := t.vault.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil || about == nil {
		if t.ends.IsZero() {
			return wanted // nothing is known of it
		}
		about = &api.Secret{Data: map[string]any{"ttl": json.Number(fmt.Sprint(int(time.Until(t.ends).Seconds()))), "expire_time": ""}}
	}
	if about.Data["expire_time"] == nil {
		return wanted // it never ends
	}
	_, periodic := about.Data["period"]
	left, err := about.TokenTTL()
	if err == nil && left >= wanted+more {
		return wanted
	}
	renewed, err := t.vault.Auth().Token().RenewSelfWithContext(ctx, int((wanted + more).Seconds()))
	if err != nil || renewed == nil || renewed.Auth == nil {
		return min(left, wanted) // a token that cannot be renewed
	}
	reach := time.Duration(renewed.Auth.LeaseDuration) * time.Second
	if periodic {
		reach = max(reach, readLimit(about))
	}
	if reach >= wanted {
		if err := t.keep(renewed, wanted+more); err != nil {
			return min(left, wanted)
		}
	}
	return min(reach, wanted)
}

// forever is longer than anything that a token has to last.
const forever = 100 * 365 * 24 * time.Hour

// readLimit tells how long a periodic token can be renewed.
func readLimit(about *api.Secret) time.Duration {
	created, _ := about.Data["creation_time"].(json.Number)
	limit, _ := about.Data["explicit_max_ttl"].(json.Number)
	began, createdErr := created.Int64()
	seconds, limitErr := limit.Int64()
	if createdErr != nil || limitErr != nil || seconds == 0 {
		return forever
	}
	return time.Until(time.Unix(began+seconds, 0))
}
