package issuer_test

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

func TestWindowRunsFromBeforeTheTokenIsMade(t *testing.T) {
	for name, c := range map[string]struct {
		took  time.Duration
		lease time.Duration
		until time.Duration // from the beginning
		note  string
		fails bool
	}{
		"at once":                            {0, time.Hour, 10 * time.Minute, "", false},
		"quickly":                            {999 * time.Millisecond, time.Hour, 10 * time.Minute, "", false},
		"in a second":                        {time.Second, time.Hour, 10 * time.Minute, "making this took 1s, which are part of its window", false},
		"in minutes":                         {3 * time.Minute, time.Hour, 10 * time.Minute, "making this took 3m0s, which", false},
		"with half a second left":            {10*time.Minute - 500*time.Millisecond, time.Hour, 10 * time.Minute, "making this took 10m0s", false},
		"with less left":                     {10*time.Minute - 499*time.Millisecond, time.Hour, 0, "", true},
		"too late":                           {11 * time.Minute, time.Hour, 0, "", true},
		"in minutes, and upstream ends soon": {3 * time.Minute, time.Minute, 4 * time.Minute, "the upstream lease gives 1m0s, less than the approved 10m0s", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.vault.TakeOver(map[string]http.HandlerFunc{
				credsPath: func(out http.ResponseWriter, in *http.Request) {
					f.setClock(c.took)
					giveLease(c.lease, false)(out, in)
				},
			})
			made, err := f.make(t.Context(), order())
			if c.fails {
				sessiontest.WantError(t, err, "database/creds/app took until the window of 10m0s was over")
				if !reflect.DeepEqual(made.Handles, grant.Handles{token, lease}) || made.Data != nil {
					t.Errorf("made is %+v", made)
				}
				return
			}
			sessiontest.Must(t, err)
			if !made.Began.Equal(began) || !made.Answered.Equal(began.Add(c.took)) || !made.Until.Equal(began.Add(c.until)) {
				t.Errorf("it lasts from %s, %s until %s", made.Began, made.Answered, made.Until)
			}
			if (c.note == "") != (len(made.Notes) == 0) || !strings.Contains(strings.Join(made.Notes, "\n"), c.note) {
				t.Errorf("the notes are %q", made.Notes)
			}
		})
	}
}

// Logging in takes no part of the window.
func TestWindowRunsFromAfterTheLogin(t *testing.T) {
	f := newFixture(t, nil)
	f.vault.TakeOver(map[string]http.HandlerFunc{"auth/approle/login": func(out http.ResponseWriter, in *http.Request) {
		f.setClock(time.Minute)
		sessiontest.Behave(out, in)
	}})
	made, err := f.make(t.Context(), order())
	sessiontest.Must(t, err)
	if !made.Began.Equal(began.Add(time.Minute)) {
		t.Errorf("it began at %s", made.Began)
	}
}

func TestMakingEndsWithItsCallersContext(t *testing.T) {
	for _, path := range []string{createPath, credsPath, "sys/leases/renew"} {
		t.Run(path, func(t *testing.T) {
			reached := make(chan struct{}, 10)
			takeover := map[string]http.HandlerFunc{credsPath: giveLease(time.Minute, true)}
			takeover[path] = sessiontest.Hang(reached)
			f := newFixture(t, takeover)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := f.make(ctx, order())
				done <- err
			}()
			<-reached
			cancel()
			select {
			case err := <-done:
				if path == "sys/leases/renew" {
					sessiontest.Must(t, err) // a grant that upstream could not be asked to prolong
				} else {
					sessiontest.WantError(t, err, "canceled")
				}
			case <-time.After(2 * time.Second):
				t.Error("it goes on")
			}
		})
	}
}
