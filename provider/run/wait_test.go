package run

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
)

const someRequest = "01999d3c-7c38-7d2a-b4a0-5c33b9a6d3d1"

// oneRequest is a server that knows one request, and notes what is written about it.
type oneRequest struct {
	mu     sync.Mutex
	state  string
	writes []string
	// claim answers a claim.
	claim func(*oneRequest, http.ResponseWriter)
}

func (s *oneRequest) ServeHTTP(out http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimPrefix(req.URL.Path, "/v1/jit/")
	if req.Method != http.MethodGet {
		s.writes = append(s.writes, strings.TrimSuffix(path, "/"+someRequest))
	}
	switch path {
	case "status":
		fmt.Fprint(out, `{"data": {"plugin_version": "v0.1.0"}}`)
	case "requests/" + someRequest:
		fmt.Fprintf(out, `{"data": {"id": %q, "role": "otp", "state": %q, "claimable": %t, "ttl": 300}}`, someRequest, s.state, s.state == "approved")
	case "claim/" + someRequest:
		s.claim(s, out)
	case "revoke", "cancel":
		s.state = "ended"
	}
}

// grants is a claim that works.
func (s *oneRequest) grants(out http.ResponseWriter) {
	s.state = "active"
	fmt.Fprint(out, `{"lease_id": "jit/claim/x", "lease_duration": 300, "data": {"key": "otp"}}`)
}

// obtainFrom waits for the credential of a request that this run made.
func obtainFrom(t *testing.T, s *oneRequest) (*Held, error) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = server.URL, 0
	vault, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	vault.SetToken("t")
	jit, err := client.New(vault, "jit")
	if err != nil {
		t.Fatal(err)
	}
	custody := &Custody{}
	held, err := custody.Obtain(t.Context(), jit, Order{ID: someRequest, Patience: time.Minute, Token: endless{}, Cancels: true})
	if err != nil {
		if left := custody.GiveBack(t.Context(), someRequest); len(left) > 0 {
			t.Error(left)
		}
	}
	return held, err
}

// endless is a token that never ends.
type endless struct{}

func (endless) Last(context.Context, time.Duration) error                              { return nil }
func (endless) Outlast(context.Context, time.Duration, time.Duration) (warning string) { return "" }

func (s *oneRequest) wrote(t *testing.T, want ...string) {
	t.Helper()
	if fmt.Sprint(s.writes) != fmt.Sprint(want) {
		t.Errorf("written was %v, want %v", s.writes, want)
	}
}

func TestAClaimThatIsRefusedAgainIsNotRepeated(t *testing.T) {
	s := &oneRequest{state: "approved", claim: func(_ *oneRequest, out http.ResponseWriter) {
		out.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(out, `{"errors": ["upstream says: no such host"]}`)
	}}
	_, err := obtainFrom(t, s)
	if err == nil || !strings.Contains(err.Error(), "upstream says: no such host") || strings.Contains(err.Error(), "no quorum") {
		t.Errorf("the error is %v", err)
	}
	s.wrote(t, "claim", "claim", "cancel")
}

func TestAClaimThatMetAPassingFaultIsRepeated(t *testing.T) {
	first := true
	s := &oneRequest{state: "approved", claim: func(s *oneRequest, out http.ResponseWriter) {
		if first {
			first = false
			out.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		s.grants(out)
	}}
	credential, err := obtainFrom(t, s)
	if err != nil || credential.Data["key"] != "otp" {
		t.Errorf("got %v, %v", credential, err)
	}
	s.wrote(t, "claim", "claim")
}

func TestAGrantWhoseAnswerIsLostIsEnded(t *testing.T) {
	s := &oneRequest{state: "approved", claim: func(s *oneRequest, out http.ResponseWriter) {
		s.state = "active"
		out.WriteHeader(http.StatusBadGateway)
	}}
	if _, err := obtainFrom(t, s); err == nil || !strings.Contains(err.Error(), "is lost") {
		t.Errorf("the error is %v", err)
	}
	s.wrote(t, "claim", "revoke")
}

func TestAGrantThatSomebodyElseClaimedMeanwhileIsLeftAlone(t *testing.T) {
	s := &oneRequest{state: "approved", claim: func(s *oneRequest, out http.ResponseWriter) {
		s.state = "active"
		out.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(out, `{"errors": ["the request is active"]}`)
	}}
	if _, err := obtainFrom(t, s); err == nil || !strings.Contains(err.Error(), "granted once") {
		t.Errorf("the error is %v", err)
	}
	s.wrote(t, "claim")
}
