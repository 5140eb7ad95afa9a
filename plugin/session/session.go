package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/singleflight"
)

// Session talks to one Vault as one identity. It is safe for concurrent use.
type Session struct {
	// Client makes calls with the engine's own token.
	Client
	connection Connection
	http       *http.Client
	// anonymous speaks to Vault without a token; see As.
	anonymous *api.Client
	// callTimeout is CallTimeout but in tests.
	callTimeout time.Duration
	logins      singleflight.Group
	// current is nil before the first login, and after the last use of a retired session. What it points to never
	// changes. Only who uses the session looks at it or sets it.
	current atomic.Pointer[login]

	mu      sync.Mutex
	users   int
	retired bool
}

// New returns a session that has not logged in yet, or refuses the connection's fields.
func New(c Connection) (*Session, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	config, err := c.makeTLS()
	if err != nil {
		return nil, err
	}
	s := &Session{connection: c, http: newHTTPClient(config), callTimeout: CallTimeout}
	s.Client = Client{s.runLoggedIn}
	s.anonymous, err = newClient(c, s.http)
	return s, err
}

// Connection is what the session was made from.
func (s *Session) Connection() Connection { return s.connection }

// Close lets go of idle connections.
func (s *Session) Close() { s.http.CloseIdleConnections() }

// Use keeps the session's login from ending, until release is called. Each call of the session counts as a use of its
// own; Use is for those who make several.
func (s *Session) Use() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
	return sync.OnceFunc(s.leave)
}

func (s *Session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	s.endUnusedLogin()
}

// Retire says that another session has taken this one's place. As soon as nobody uses it any more, its login is revoked
// in the background, and its connections are closed. A configured token is the operator's and stays. Whoever uses the
// session afterwards logs in anew, and that login ends in the same way.
func (s *Session) Retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.endUnusedLogin()
}

// endUnusedLogin is called with the lock held. Whoever comes later finds no login any more, not one that is being revoked.
func (s *Session) endUnusedLogin() {
	if !s.retired || s.users > 0 {
		return
	}
	ended := s.current.Swap(nil)
	go func() {
		defer s.Close()
		if ended == nil || ended.accessor == "" || s.connection.Token != "" {
			return
		}
		// If this fails, the token ends with its own time.
		_, _ = s.clientFor(ended.token).Write(context.Background(), "auth/token/revoke-accessor", map[string]any{"accessor": ended.accessor})
	}()
}

// As makes calls with another token than the engine's. Only the caller's context bounds them: making a credential may
// take what is left of a handler's time.
func (s *Session) As(token string) Client {
	// It shares all but the token with the other clients, because making one anew costs more than a call.
	vault := s.anonymous.WithRequestCallbacks(func(r *api.Request) { r.ClientToken = token })
	return Client{func(ctx context.Context, do call) error { return do(ctx, vault.Logical()) }}
}

// clientFor makes calls within the limit, and says so if that is what ended one.
func (s *Session) clientFor(token string) Client {
	return Client{func(ctx context.Context, do call) error {
		limited, cancel := context.WithTimeout(ctx, s.callTimeout)
		defer cancel()
		err := s.As(token).run(limited, do)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("Vault did not answer within %s", s.callTimeout)
		}
		return err
	}}
}

// runLoggedIn makes a call with the engine's own token, and once more after a new login if Vault does not accept the
// token any more. A token that was revoked or lost with a restored snapshot looks like a missing permission.
func (s *Session) runLoggedIn(ctx context.Context, do call) error {
	defer s.Use()()
	current, err := s.logIn(ctx, "")
	if err != nil {
		return err
	}
	client := s.clientFor(current.token)
	err = client.run(ctx, do)
	// A call that the token's policies do not allow gets a 403 as well, and without the probe each of those would log in
	// again and leave one more token behind.
	if !hasStatus(err, http.StatusForbidden) || !hasStatus(client.probe(ctx), http.StatusForbidden) {
		return err
	}
	fresh, loginErr := s.logIn(ctx, current.token)
	if loginErr != nil {
		return loginErr // the cause of what Vault said to the call
	}
	if fresh.token == current.token {
		return err
	}
	return s.clientFor(fresh.token).run(ctx, do)
}
