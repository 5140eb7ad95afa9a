package vaulttest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// A standby redirects for a moment after the active node has changed. The client must not take that for an answer.
func TestClientFollowsAStandby(t *testing.T) {
	reached := ""
	active := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, in *http.Request) {
		reached = in.Method + " " + in.URL.Path
	}))
	t.Cleanup(active.Close)
	standby := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		http.Redirect(out, in, active.URL+in.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(standby.Close)
	vault, err := vaulttest.NewClient(standby.URL, "token")
	if err != nil {
		t.Fatal(err)
	}
	jit, err := client.New(vault, "jit")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = jit.Revoke(t.Context(), "x")
	if err != nil || reached != "PUT /v1/jit/revoke" {
		t.Errorf("it reached %q (%v)", reached, err)
	}
}
