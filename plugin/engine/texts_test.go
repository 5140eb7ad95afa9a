package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// templated gives the world a role "any" whose path and data take parameters that match anything: then it is up to the
// engine alone that nothing else is reached.
func (w *world) templated() {
	w.t.Helper()
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	w.set("roles/any", map[string]any{
		"policy": "one", "path": "ssh-" + w.mount.Path + "/creds/{{.Parameters.role}}", "operation": "write",
		"data":           map[string]any{"ip": "127.0.0.1", "note": "for {{.Parameters.note}}"},
		"parameters":     map[string]any{"role": map[string]any{"pattern": "(?s).*", "required": true}, "note": map[string]any{"pattern": "(?s).*", "default": "-"}},
		"grant_policies": "ssh-" + w.mount.Path + "-otp",
	})
}

func TestNoParameterLeadsToAnotherPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.templated()
	before, err := w.mount.Storage(t.Context())
	must(t, err)
	for _, value := range []string{
		"", ".", "..", "...", "../..", "../../sys/seal", "otp/..", "otp/../../sys/raw", "./otp", "otp/", "/otp", "//", "otp//x", "%2e%2e", "%2e%2e%2fsys",
		"otp%00", "otp?list=true", "otp#x", "otp;x", "otp\\..\\x", "otp\n", "otp\x00", " otp", "otp ", "*", "+", "~", "{{.TTL}}", "..otp", ".otp", "@otp",
		"о́tp", "otp\u200b", "otp,x", "otp:x", "otp=x", "$(id)", strings.Repeat("a/", 4000),
	} {
		_, err := w.as(w.alice, "request", map[string]any{"role": "any", "reason": "x", "parameters": map[string]any{"role": value}})
		if err == nil || !isRefusal(err) || !strings.Contains(err.Error(), "role") {
			t.Errorf("the value %.60q for a part of the path is answered %.300v", value, err)
		}
	}
	after, err := w.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("something was stored")
	}
	id := w.ask(w.alice, map[string]any{"role": "any", "parameters": map[string]any{"role": "otp"}})
	w.approve(id, w.bob)
	w.claim(w.alice, id)
}

func TestTextsAreShownAndSentAsTheyWereGiven(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.templated()
	for _, text := range []string{
		"plain", "two\nlines\tand a tab", `<img src=x onerror="alert(1)"> & &amp;`, "{{.TTL}} {{.Requester.EntityID}} {{ .Parameters.role }} }}{{",
		"${HOME} $(id) `id` %s %n \\n", "../../etc/passwd", `{"json": [1]}`, "שלום 日本語 👩\u200d💻", "=a=b=", " leading and trailing ",
		"'; DROP TABLE users; --",
	} {
		// In the reason, in a parameter that goes into the data, in a comment.
		id := w.ask(w.alice, map[string]any{"role": "any", "reason": text, "parameters": map[string]any{"role": "otp", "note": text}})
		w.does(w.bob, "approve", map[string]any{"id": id, "comment": text})
		shown := w.request(w.bob, id)
		note := shown["parameters"].(map[string]any)["note"]
		sent := shown["data"].(map[string]any)["note"]
		comment := shown["decisions"].([]any)[0].(map[string]any)["comment"]
		if shown["reason"] != text || note != text || comment != text || sent != "for "+text {
			t.Errorf("%q is shown as reason %q, parameter %q, comment %q and in the data as %q", text, shown["reason"], note, comment, sent)
		}
		if shown["path"] != "ssh-"+w.mount.Path+"/creds/otp" {
			t.Errorf("the path is %q", shown["path"])
		}
	}
}

func TestTextsThatCannotBeShownAsTheyAreAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.templated()
	id := w.ask(w.alice, map[string]any{"role": "any", "parameters": map[string]any{"role": "otp"}})
	before, err := w.mount.Storage(t.Context())
	must(t, err)
	for _, text := range []string{"a\x00b", "a\rb", "\x1b[2Jgone", "a\x7f", "pay \u202eyub", "\u2066x", "prod\u200b", "a\u2028b", "a\U000e0041"} {
		w.refuses(w.alice, "request", map[string]any{"role": "any", "reason": text, "parameters": map[string]any{"role": "otp"}}, "reason", "character")
		w.refuses(w.alice, "request", map[string]any{"role": "any", "reason": "x", "parameters": map[string]any{"role": "otp", "note": text}}, "note", "character")
		for _, path := range []string{"approve", "deny"} {
			w.refuses(w.bob, path, map[string]any{"id": id, "comment": text}, "comment", "character")
		}
	}
	after, err := w.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("something was stored")
	}
}

func TestTextsMayBeAsLongAsIsSaidAndNoLonger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.templated()
	text := func(n int) string { return strings.Repeat("x", n) }
	ask := func(reason, note string) map[string]any {
		return map[string]any{"role": "any", "reason": reason, "parameters": map[string]any{"role": "otp", "note": note}}
	}
	// 11 bytes are the names and the other value.
	id := w.ask(w.alice, ask(text(4096), text(16384-11)))
	w.does(w.bob, "approve", map[string]any{"id": id, "comment": text(4096)})
	w.refuses(w.alice, "request", ask(text(4097), "x"), "reason", "4097", "4096")
	w.refuses(w.alice, "request", ask("x", text(16384-10)), "parameters", "16385", "16384")
	w.refuses(w.bob, "deny", map[string]any{"id": id, "comment": text(4097)}, "comment", "4097", "4096")
	claimed := w.claim(w.alice, id)
	if claimed.Data["key"] == nil {
		t.Errorf("the claim answers %v", claimed.Data)
	}
}

// Vault takes calls of 32 MB, of which newer releases let no text have more than one. None of them may bring the plugin, which serves every mount, down or fill what it stores.
func TestHugeInputsAreRefusedInFewWords(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	w.templated()
	id := w.ask(w.alice, map[string]any{"role": "any", "parameters": map[string]any{"role": "otp"}})
	before, err := w.mount.Storage(t.Context())
	must(t, err)
	pids, err := w.Nodes[0].PluginPIDs()
	must(t, err)
	huge := strings.Repeat("x", 1<<20-64)
	many := map[string]any{}
	for n := range 5000 {
		many[fmt.Sprint("name", n)] = "x"
	}
	deep := strings.Repeat("[", 100_000)
	for n, c := range []struct {
		path string
		data map[string]any
	}{
		{"request", map[string]any{"role": huge, "reason": "x"}},
		{"request", map[string]any{"role": "any", "reason": huge}},
		{"request", map[string]any{"role": "any", "reason": "x", "ttl": huge}},
		{"request", map[string]any{"role": "any", "reason": "x", "parameters": huge}},
		{"request", map[string]any{"role": "any", "reason": "x", "parameters": "role=" + huge}},
		{"request", map[string]any{"role": "any", "reason": "x", "parameters": map[string]any{"role": huge}}},
		{"request", map[string]any{"role": "any", "reason": "x", "parameters": map[string]any{huge: "x"}}},
		{"request", map[string]any{"role": "any", "reason": "x", "parameters": many}},
		{"request", map[string]any{"role": "any", "reason": "x", "parameters": "{" + deep}},
		{"request", map[string]any{"role": "any", "reason": "x", huge: "x"}},
		{"request", many},
		{"approve", map[string]any{"id": huge}},
		{"approve", map[string]any{"id": id, "comment": huge}},
		{"claim", map[string]any{"id": many}},
		{"revoke", map[string]any{"id": []string{huge}}},
	} {
		_, err := w.as(w.alice, c.path, c.data)
		if !isRefusal(err) || len(err.Error()) > 5000 {
			t.Errorf("case %d, %s: it is answered with %.500v", n, c.path, err)
		}
	}
	words := strings.Repeat("pending,approved,", 50_000)
	for _, query := range []map[string][]string{
		{"state": {words}}, {"role": {words}}, {"after": {words}}, {"limit": {words}}, {words: {"x"}},
	} {
		query["list"] = []string{"true"}
		_, err := w.alice.Client.Logical().ReadWithDataWithContext(t.Context(), w.mount.Path+"/requests", query)
		if err != nil && len(err.Error()) > 5000+len(words)*4/3 { // the client's own message holds the whole URL
			t.Errorf("a list is answered with %d bytes: %.300v", len(err.Error()), err)
		}
	}
	after, err := w.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("something was stored")
	}
	still, err := w.Nodes[0].PluginPIDs()
	must(t, err)
	if !slices.Equal(pids, still) {
		t.Errorf("the plugin's processes were %v and are %v", pids, still)
	}
}
