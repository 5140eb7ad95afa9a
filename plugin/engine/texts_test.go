package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// addTemplatedRole adds the role "any". Its patterns match anything, so only the engine itself keeps a parameter from
// leading to another path.
func (f *fixture) addTemplatedRole() {
	f.t.Helper()
	upstream := f.addOTPRole("one", newPolicy(1))
	role := newOTPRole("one", upstream)
	role.Path, role.Data["note"] = "ssh-"+f.mount.Path+"/creds/{{.Parameters.role}}", "for {{.Parameters.note}}"
	role.Parameters = map[string]wire.Parameter{"role": {Pattern: "(?s).*", Required: true}, "note": {Pattern: "(?s).*", Default: "-"}}
	f.must(f.operated().Roles().Write(f.t.Context(), "any", role))
}

func TestParameterCannotLeadToAnotherPath(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addTemplatedRole()
	before, err := f.mount.Storage(t.Context())
	must(t, err)
	for _, value := range []string{
		"", ".", "..", "...", "../..", "../../sys/seal", "otp/..", "otp/../../sys/raw", "./otp", "otp/", "/otp", "//", "otp//x", "%2e%2e", "%2e%2e%2fsys",
		"otp%00", "otp?list=true", "otp#x", "otp;x", "otp\\..\\x", "otp\n", "otp\x00", " otp", "otp ", "*", "+", "~", "{{.TTL}}", "..otp", ".otp", "@otp",
		"о́tp", "otp\u200b", "otp,x", "otp:x", "otp=x", "$(id)", strings.Repeat("a/", 4000),
	} {
		_, err := f.as(f.alice).Ask(t.Context(), wire.Ask{Role: "any", Reason: "x", Parameters: map[string]string{"role": value}})
		if !isRefusal(err) || !strings.Contains(err.Error(), "role") {
			t.Errorf("the value %.60q for a part of the path is answered %.300v", value, err)
		}
	}
	after, err := f.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("something was stored")
	}
	id := f.ask(f.alice, wire.Ask{Role: "any", Parameters: map[string]string{"role": "otp"}})
	f.approve(id, f.bob)
	f.claim(f.alice, id)
}

func TestTextsAreShownAndSentUnchanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addTemplatedRole()
	for _, text := range []string{
		"plain", "two\nlines\tand a tab", `<img src=x onerror="alert(1)"> & &amp;`, "{{.TTL}} {{.Requester.EntityID}} {{ .Parameters.role }} }}{{",
		"${HOME} $(id) `id` %s %n \\n", "../../etc/passwd", `{"json": [1]}`, "שלום 日本語 👩\u200d💻", "=a=b=", " leading and trailing ",
		"'; DROP TABLE users; --",
	} {
		// The text is a reason, a parameter that goes into the data, and a comment.
		id := f.ask(f.alice, wire.Ask{Role: "any", Reason: text, Parameters: map[string]string{"role": "otp", "note": text}})
		f.must(f.as(f.bob).Approve(t.Context(), id, text))
		shown := f.readRequest(f.bob, id)
		note, sent, comment := shown.Parameters["note"], shown.Data["note"], shown.Decisions[0].Comment
		if shown.Reason != text || note != text || comment != text || sent != "for "+text {
			t.Errorf("%q is shown as reason %q, parameter %q, comment %q and in the data as %q", text, shown.Reason, note, comment, sent)
		}
		if shown.Path != "ssh-"+f.mount.Path+"/creds/otp" {
			t.Errorf("the path is %q", shown.Path)
		}
	}
}

func TestTextsWithInvisibleCharactersAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addTemplatedRole()
	id := f.ask(f.alice, wire.Ask{Role: "any", Parameters: map[string]string{"role": "otp"}})
	before, err := f.mount.Storage(t.Context())
	must(t, err)
	for _, text := range []string{"a\x00b", "a\rb", "\x1b[2Jgone", "a\x7f", "pay \u202eyub", "\u2066x", "prod\u200b", "a\u2028b", "a\U000e0041"} {
		wantRefusal(t, errorOf(f.as(f.alice).Ask(t.Context(), wire.Ask{Role: "any", Reason: text, Parameters: map[string]string{"role": "otp"}})), "reason", "character")
		wantRefusal(t, errorOf(f.as(f.alice).Ask(t.Context(), wire.Ask{Role: "any", Reason: "x", Parameters: map[string]string{"role": "otp", "note": text}})), "note", "character")
		wantRefusal(t, errorOf(f.as(f.bob).Approve(t.Context(), id, text)), "comment", "character")
		wantRefusal(t, errorOf(f.as(f.bob).Deny(t.Context(), id, text)), "comment", "character")
	}
	after, err := f.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("something was stored")
	}
}

func TestTextsHaveTheDocumentedMaximumLength(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addTemplatedRole()
	repeat := func(n int) string { return strings.Repeat("x", n) }
	ask := func(reason, note string) wire.Ask {
		return wire.Ask{Role: "any", Reason: reason, Parameters: map[string]string{"role": "otp", "note": note}}
	}
	// The names and the other value take 11 bytes.
	id := f.ask(f.alice, ask(repeat(4096), repeat(16384-11)))
	f.must(f.as(f.bob).Approve(t.Context(), id, repeat(4096)))
	wantRefusal(t, errorOf(f.as(f.alice).Ask(t.Context(), ask(repeat(4097), "x"))), "reason", "4097", "4096")
	wantRefusal(t, errorOf(f.as(f.alice).Ask(t.Context(), ask("x", repeat(16384-10)))), "parameters", "16385", "16384")
	wantRefusal(t, errorOf(f.as(f.bob).Deny(t.Context(), id, repeat(4097))), "comment", "4097", "4096")
	claimed := f.claim(f.alice, id)
	if claimed.Data["key"] == nil {
		t.Errorf("the claim answers %v", claimed.Data)
	}
}

// Vault accepts calls of 32 MB; in newer releases a text may have 1 MB of them. No such call may end the plugin, which
// serves every mount, or fill its storage.
func TestHugeInputsAreRefusedBriefly(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	f.addTemplatedRole()
	id := f.ask(f.alice, wire.Ask{Role: "any", Parameters: map[string]string{"role": "otp"}})
	before, err := f.mount.Storage(t.Context())
	must(t, err)
	pids, err := f.Nodes[0].PluginPIDs()
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
		{"claim", map[string]any{"id": huge}},
		{"claim/" + id, map[string]any{"id": huge}},
		{"revoke", map[string]any{"id": []string{huge}}},
	} {
		_, err := f.writeRaw(f.alice.Client, c.path, c.data)
		if !isRefusal(err) || len(err.Error()) > 5000 {
			t.Errorf("case %d, %s: it is answered with %.500v", n, c.path, err)
		}
	}
	words := strings.Repeat("pending,approved,", 50_000)
	for _, query := range []map[string][]string{
		{"state": {words}}, {"role": {words}}, {"after": {words}}, {"limit": {words}}, {words: {"x"}},
	} {
		query["list"] = []string{"true"}
		_, err := f.readRaw(f.alice.Client, "requests", query)
		if err != nil && len(err.Error()) > 5000+len(words)*4/3 { // the client's own message holds the whole URL
			t.Errorf("a list is answered with %d bytes: %.300v", len(err.Error()), err)
		}
	}
	after, err := f.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("something was stored")
	}
	still, err := f.Nodes[0].PluginPIDs()
	must(t, err)
	if !slices.Equal(pids, still) {
		t.Errorf("the plugin's processes were %v and are %v", pids, still)
	}
}
