package engine_test

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// sendRaw makes a call as the client's owner and returns what came over the wire.
func (f *fixture) sendRaw(client *api.Client, method, path, body, wrapTTL string) (status int, answer string) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, f.Address()+"/v1/"+f.mount.Path+"/"+path, strings.NewReader(body))
	must(f.t, err)
	request.Header.Set(api.AuthHeaderName, client.Token())
	if wrapTTL != "" {
		request.Header.Set("X-Vault-Wrap-TTL", wrapTTL)
	}
	response, err := http.DefaultClient.Do(request)
	must(f.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(f.t, err)
	return response.StatusCode, string(text)
}

func TestRefusalIsA400WithItsFieldProblemAndAdvice(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	root := f.Root()
	data := func(field, problem, advice string) map[string]any {
		return map[string]any{"field": field, "problem": problem, "advice": advice}
	}
	const rules = `{"rules":[{"name":"a","approver_groups":["dba"],"approvals":0}]}`
	ofRules := data("rules[0].approvals", `it is 0 in rule "a"`, "it must be at least 1")
	const sentenceOfRules = `policy "p": rules[0].approvals: it is 0 in rule "a"; it must be at least 1`
	for name, c := range map[string]struct {
		client                      *api.Client
		method, path, body, wrapTTL string
		sentence                    string
		data                        map[string]any
	}{
		"a write": {root, http.MethodPost, "policies/p", rules, "", sentenceOfRules, ofRules},
		// The answer is no secret to wrap.
		"a wrapped write": {root, http.MethodPut, "policies/p", rules, "60s", sentenceOfRules, ofRules},
		"a read": {
			f.alice.Client, http.MethodGet, "requests/x", "", "",
			`id: "x" is not a request id; accepted is a UUID as jit/request returned it`,
			data("id", `"x" is not a request id`, "accepted is a UUID as jit/request returned it"),
		},
		"a list": {
			f.alice.Client, "LIST", "requests?after=x", "", "",
			`after: "x" is not a request id; accepted is a UUID as jit/request returned it`,
			data("after", `"x" is not a request id`, "accepted is a UUID as jit/request returned it"),
		},
		"about no field, without advice": {
			f.alice.Client, http.MethodPost, "withdraw", `{"id":"01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20"}`, "",
			`there is no request "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20" that you can see`,
			data("", `there is no request "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20" that you can see`, ""),
		},
	} {
		t.Run(name, func(t *testing.T) {
			status, text := f.sendRaw(c.client, c.method, c.path, c.body, c.wrapTTL)
			if status != http.StatusBadRequest {
				t.Errorf("the status is %d", status)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("the body is no JSON: %q", text)
			}
			want := map[string]any{"errors": []any{c.sentence}, "data": c.data}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the body is %s; it must be %v", text, want)
			}
		})
	}
}
