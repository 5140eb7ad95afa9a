package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/vault-jit/vault-jit/provider/run"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/terraform-plugin-log/tflog"
	"github.com/hashicorp/vault/api"
)

// oldestPlugin is the first release of the engine that has all that this provider asks of it.
const oldestPlugin = "0.1.0"

// An engine is one mount of the secrets engine. Its methods may be called from several goroutines.
type engine struct {
	// reading repeats what met a 5xx, as VAULT_MAX_RETRIES says. writing never does: a repeated ask is a second request.
	reading, writing *api.Client
	mount            string
	version          string
	login            login
	// unusable says why nothing can be asked yet.
	unusable error

	mu sync.Mutex
	// loggedIn and checked are steps that were taken.
	loggedIn, checked bool
	// session is the last login, if it was this process's own.
	session *session

	run      *run.Run
	custody  *custody
	sessions *sessions
}

// made reports whether this run of Terraform made the request.
func (e *engine) made(id string) bool { return e.run.Knows("request " + id) }

func (e *engine) nowMade(id string) { e.run.Note("request " + id) }

// read gives what a path answers, nil if there is nothing.
func (e *engine) read(ctx context.Context, path string) (map[string]any, error) {
	secret, err := e.asking(ctx, func() (*api.Secret, error) { return e.get(ctx, path, nil) })
	if err != nil || secret == nil {
		return nil, err
	}
	return secret.Data, nil
}

// list gives what a LIST answers, nil if there is nothing.
func (e *engine) list(ctx context.Context, path string, query map[string][]string) (*api.Secret, error) {
	all := map[string][]string{"list": {"true"}}
	for name, values := range query {
		all[name] = values
	}
	return e.asking(ctx, func() (*api.Secret, error) { return e.get(ctx, path, all) })
}

// asking asks Vault something, once more after another login if Vault has forgotten the token of this one.
func (e *engine) asking(ctx context.Context, ask func() (*api.Secret, error)) (*api.Secret, error) {
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	token := e.writing.Token()
	secret, err := ask()
	var denied *deniedError
	if !e.login.own || !errors.As(err, &denied) || !denied.forgotten {
		return secret, err
	}
	if again := e.logInAgain(ctx, token); again != nil {
		return nil, fmt.Errorf("the login's token has ended, and %w", again)
	}
	return ask()
}

func (e *engine) get(ctx context.Context, path string, query map[string][]string) (*api.Secret, error) {
	path = e.mount + "/" + path
	response, err := e.reading.Logical().ReadRawWithDataWithContext(ctx, path, query)
	if response != nil {
		defer response.Body.Close() //nolint:errcheck // read only
	}
	if err != nil {
		if err = explain(e.reading, path, err); errors.Is(err, errAbsent) {
			return nil, nil
		}
		return nil, err
	}
	secret, err := api.ParseSecret(response.Body)
	if err != nil {
		return nil, fmt.Errorf("Vault's answer for %s is not understood: %w", path, err)
	}
	return secret, nil
}

// write answers nil where Vault had nothing to say.
func (e *engine) write(ctx context.Context, path string, data map[string]any) (*api.Secret, error) {
	return e.writeTo(ctx, e.mount+"/"+path, data)
}

// writeTo writes to a path of Vault's own.
func (e *engine) writeTo(ctx context.Context, path string, data map[string]any) (*api.Secret, error) {
	return e.asking(ctx, func() (*api.Secret, error) {
		secret, err := e.writing.Logical().WriteWithContext(ctx, path, data)
		if err != nil {
			return nil, explain(e.writing, path, err)
		}
		return secret, nil
	})
}

// remove is content if there is nothing to delete.
func (e *engine) remove(ctx context.Context, path string) error {
	_, err := e.asking(ctx, func() (*api.Secret, error) {
		_, err := e.writing.Logical().DeleteWithContext(ctx, e.mount+"/"+path)
		if err != nil {
			return nil, explain(e.writing, e.mount+"/"+path, err)
		}
		return nil, nil
	})
	if errors.Is(err, errAbsent) {
		return nil
	}
	return err
}

// gone forgives the absence of what was to go.
func gone(err error) error {
	if errors.Is(err, errAbsent) || errors.Is(err, errNoMount) {
		return nil
	}
	return err
}

// ready logs in and looks, once, whether the mount is what it should be: a write to a mount of another type might
// succeed.
func (e *engine) ready(ctx context.Context) error {
	if e.unusable != nil {
		return e.unusable
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.loggedIn {
		if err := e.logIn(ctx); err != nil {
			return err
		}
		e.loggedIn = true
	}
	if !e.checked {
		if err := e.check(ctx); err != nil {
			return err
		}
		e.checked = true
	}
	return nil
}

func (e *engine) logIn(ctx context.Context) error {
	login, err := e.login.take(ctx, e.writing)
	if err != nil {
		return err
	}
	if e.login.own {
		if e.session, err = e.sessions.begin(e.reading, login); err != nil {
			return err
		}
	}
	e.reading.SetToken(login.Auth.ClientToken)
	e.writing.SetToken(login.Auth.ClientToken)
	return nil
}

// logInAgain takes another token in place of the given one, unless that is done already.
func (e *engine) logInAgain(ctx context.Context, instead string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.writing.Token() != instead {
		return nil
	}
	return e.logIn(ctx)
}

// outlast has the login's token live as long as a grant that is claimed with it, because the grant ends with it. If
// that cannot be, it says so.
func (e *engine) outlast(ctx context.Context, window time.Duration) (warning string) {
	if !e.login.own {
		return ""
	}
	if err := e.ready(ctx); err != nil {
		return "" // the claim tells
	}
	current := func() (*session, string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.session, e.writing.Token()
	}
	s, token := current()
	reach := s.reach(ctx, window)
	// A new token lives longer by as much as this one is old.
	if reach < window && (reach <= 0 || reach+time.Since(s.began) >= window) && e.logInAgain(ctx, token) == nil {
		s, _ = current()
		reach = s.reach(ctx, window)
	}
	if reach >= window {
		return ""
	}
	return fmt.Sprintf("The grant ends with the login that claims it: in %s, although its window is %s. Have the login's role give tokens with a "+
		"token_max_ttl of more than %[2]s, or a token_ttl of that where they cannot be renewed.", reach.Round(time.Second), window)
}

func (e *engine) check(ctx context.Context) error {
	status, err := e.get(ctx, "status", nil)
	var denied *deniedError
	switch {
	case errors.As(err, &denied):
		tflog.Debug(ctx, "this token may not read the engine's status, so the mount and the plugin's version are not checked")
		return nil
	case errors.Is(err, errNoMount):
		return fmt.Errorf("%w %q: mount it with `vault secrets enable -path=%[2]s vault-plugin-secrets-jit`, or set the provider's mount", err, e.mount)
	case err != nil:
		return err
	}
	var plugin string
	if status != nil {
		plugin, _ = status.Data["plugin_version"].(string)
	}
	if plugin == "" {
		return fmt.Errorf("the mount %q is of another type, not the jit secrets engine: set the provider's mount to where that is mounted", e.mount)
	}
	return e.checkVersion(plugin)
}

// checkVersion lets builds without a release's number pass: whoever makes them knows.
func (e *engine) checkVersion(plugin string) error {
	found, err := version.NewVersion(plugin)
	released := err == nil && found.Prerelease() == ""
	if released && found.LessThan(version.Must(version.NewVersion(oldestPlugin))) {
		return fmt.Errorf("the plugin at %q is version %s, but provider %s needs %s or later: upgrade the plugin, or use an older provider",
			e.mount, plugin, e.version, oldestPlugin)
	}
	return nil
}

// decode takes an answer's data into a value with the API's field names.
func decode[T any](data map[string]any) (T, error) {
	var value T
	text, err := json.Marshal(data)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	if err != nil {
		return value, fmt.Errorf("the engine's answer is not understood, its version may not fit this provider's: %w", err)
	}
	return value, nil
}

// below joins a collection and a name.
func joinPath(collection, name string) string { return strings.Join([]string{collection, name}, "/") }
