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
	client *api.Client
	began  time.Time
	// ends is when the token ends if it is not renewed, as far as the login told.
	ends time.Time

	mu      sync.Mutex
	watcher *api.LifetimeWatcher
}

// renewed keeps the token alive from now on, by so much each time; by its own ttl if that is zero.
func (s *session) renewed(token *api.Secret, increment time.Duration) error {
	watcher, err := s.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: token, Increment: int(increment.Seconds())})
	if err != nil {
		return fmt.Errorf("renewing the login's token: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher != nil {
		s.watcher.Stop()
	}
	s.watcher = watcher
	go watcher.Start()
	return nil
}

func (s *session) end(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watcher.Stop()
	_ = s.client.Auth().Token().RevokeSelfWithContext(ctx, "") // else it ends by itself
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
	now := time.Now()
	begun := &session{client: own, began: now, ends: now.Add(time.Duration(login.Auth.LeaseDuration) * time.Second)}
	if err := begun.renewed(login, 0); err != nil {
		return nil, err
	}
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
		ending.Go(func() { one.end(ctx) })
	}
	ending.Wait()
}

// reach is how long the token can live from now on, at most the given time. If it has to, it is renewed for that long
// and for as long as a claim may take: never for less than it has, because a grant may hang on that.
func (s *session) reach(ctx context.Context, window time.Duration) time.Duration {
	left, wanted := time.Until(s.ends), window+claimTimeout
	if about, err := s.client.Auth().Token().LookupSelfWithContext(ctx); err == nil && about != nil {
		if endless(about) {
			return window
		}
		if ttl, err := about.TokenTTL(); err == nil {
			left = ttl
		}
	}
	if left >= wanted {
		return window
	}
	token, err := s.client.Auth().Token().RenewSelfWithContext(ctx, int(wanted.Seconds()))
	if err != nil || token == nil || token.Auth == nil {
		return min(left, window) // a token that cannot be renewed
	}
	if left = time.Duration(token.Auth.LeaseDuration) * time.Second; left < window {
		return left
	}
	if err := s.renewed(token, wanted); err != nil {
		return min(left, window)
	}
	return window
}

// endless reports whether a token never ends, or can be renewed for ever by its period.
func endless(about *api.Secret) bool {
	_, periodic := about.Data["period"]
	return about.Data["expire_time"] == nil || (periodic && fmt.Sprint(about.Data["explicit_max_ttl"]) == "0")
}
