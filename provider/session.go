package provider

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// A session is a login that this provider made itself. Its token is renewed as long as Vault does that: a grant ends
// with the token that claimed it.
type session struct {
	client  *api.Client
	watcher *api.LifetimeWatcher
	began   time.Time
	// ends is when the token ended as it came from the login.
	ends time.Time
}

// sessions are the logins of this process. None is given up for a newer one, because grants may hang on it.
type sessions struct {
	mu  sync.Mutex
	all []*session
}

// begin keeps a login's token alive from now on.
func (s *sessions) begin(client *api.Client, login *api.Secret) (*session, error) {
	own, err := cloned(client)
	if err != nil {
		return nil, err
	}
	own.SetToken(login.Auth.ClientToken)
	watcher, err := own.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: login})
	if err != nil {
		return nil, fmt.Errorf("renewing the login's token: %w", err)
	}
	go watcher.Start()
	now := time.Now()
	begun := &session{client: own, watcher: watcher, began: now, ends: now.Add(time.Duration(login.Auth.LeaseDuration) * time.Second)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, begun)
	return begun, nil
}

// logoutTimeout bounds the end of the sessions: Terraform does not wait long.
const logoutTimeout = 5 * time.Second

// end revokes the tokens of all logins.
func (s *sessions) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
	defer cancel()
	s.mu.Lock()
	all := s.all
	s.all = nil
	s.mu.Unlock()
	var ending sync.WaitGroup
	for _, one := range all {
		one.watcher.Stop()
		ending.Go(func() { _ = one.client.Auth().Token().RevokeSelfWithContext(ctx, "") }) // else it ends by itself
	}
	ending.Wait()
}

// reach is how long the token can live from now on, at most the given time. It is renewed for that long, and for as long
// as the claim may take.
func (s *session) reach(ctx context.Context, window time.Duration) time.Duration {
	renewed, err := s.client.Auth().Token().RenewSelfWithContext(ctx, int((window + claimTimeout).Seconds()))
	if err != nil || renewed == nil || renewed.Auth == nil {
		return time.Until(s.ends) // a token that cannot be renewed
	}
	if left := time.Duration(renewed.Auth.LeaseDuration) * time.Second; left < window && !s.periodic(ctx) {
		return left
	}
	return window
}

// periodic reports whether the token can be renewed for ever, by its period each time.
func (s *session) periodic(ctx context.Context) bool {
	about, err := s.client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil || about == nil {
		return false
	}
	_, isPeriodic := about.Data["period"]
	limit := fmt.Sprint(about.Data["explicit_max_ttl"])
	return isPeriodic && limit == "0"
}
