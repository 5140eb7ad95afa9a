package store_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

func TestObjectThatIsNotWhollyUnderstoodIsRefused(t *testing.T) {
	ctx := t.Context()
	for name, c := range map[string]struct{ text, says string }{
		"nothing":             {``, "damaged"},
		"no JSON":             {`{"v":1,`, "damaged"},
		"something after it":  {`{"v":1,"body":{}}{}`, "damaged"},
		"not an object":       {`[]`, "damaged"},
		"no version":          {`{"body":{}}`, "version 0"},
		"a later version":     {`{"v":2,"body":{},"later":1}`, "version 2"},
		"a version in words":  {`{"v":"1","body":{}}`, "damaged"},
		"no body":             {`{"v":1}`, "holds nothing"},
		"an empty body":       {`{"v":1,"body":null}`, "holds nothing"},
		"an unknown field":    {`{"v":1,"body":{"name":"two","quorum_not_needed":true}}`, "quorum_not_needed"},
		"an unknown wrapping": {`{"v":1,"body":{},"also":1}`, "also"},
		"another type":        {`{"v":1,"body":{"rules":{"name":"dba"}}}`, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := store.New[config](), &disk{}
			must(t, d.Put(ctx, &logical.StorageEntry{Key: "policy/two", Value: []byte(c.text)}))
			found, err := s.Policies.Get(ctx, d, "two")
			wantError(t, err, "policy/two", c.says, store.ErrUnreadable.Error())
			if found != nil {
				t.Errorf("yet it gives %+v", found)
			}
		})
	}
}

// change edits the stored text of a request.
func change(ctx context.Context, t *testing.T, d *disk, key string, edit func(string) string) {
	t.Helper()
	entry, err := d.InmemStorage.Get(ctx, key)
	must(t, err)
	before := string(entry.Value)
	entry.Value = []byte(edit(before))
	if string(entry.Value) == before {
		t.Fatal("the edit changed nothing")
	}
	must(t, d.InmemStorage.Put(ctx, entry))
}

func TestDamagedRequestIsRefusedAndKeepsNobodyFromAnything(t *testing.T) {
	ctx := t.Context()
	replace := func(old, with string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, with, 1) }
	}
	const digest = "digest does not match"
	for name, c := range map[string]struct {
		edit func(string) string
		says string
	}{
		"another path":       {replace("database/creds/app", "database/creds/dba"), digest},
		"fewer approvals":    {replace(`"approvals":2`, `"approvals":1`), digest},
		"another requester":  {replace("entity-alice", "entity-mallory"), digest},
		"a longer window":    {replace(`"ttl":3600000000000`, `"ttl":7200000000000`), digest},
		"another digest":     {replace(`"digest":"`, `"digest":"0`), digest},
		"a later version":    {replace(`"v":1`, `"later":true,"v":2`), "version 2"},
		"an unknown field":   {replace(`"v":1`, `"v":1,"also":true`), "also"},
		"an unknown event":   {replace(`{"decided":`, `{"blessed":`), `"blessed" is not known`},
		"an unknown detail":  {replace(`"comment":`, `"commment":`), "commment"},
		"an impossible life": {replace(`{"claim_began":`, `{"claim_ended":{"at":"2026-03-02T09:00:00Z"}},{"claim_began":`), "claim_ended"},
		"no history":         {func(s string) string { before, _, _ := strings.Cut(s, `,"events":`); return before + "}" }, "events are missing"},
		"half of it":         {func(s string) string { return s[:len(s)/2] }, "damaged"},
		"nothing":            {func(string) string { return "" }, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := store.New[config](), &disk{}
			r := newRequest(t, "alice", start)
			talks := approval.Decide{Approver: standing("bob"), Requester: standing("alice"), Verdict: approval.Approve, Comment: "yes"}
			r = apply(t, r, start, talks, approve("carol", r))
			r = apply(t, r, start, beginClaim(t, r))
			save(ctx, t, s, d, r)
			intact := d.content(ctx, t)["open/"+r.ID]
			change(ctx, t, d, "open/"+r.ID, c.edit)
			_, err := s.Requests.Load(ctx, d, r.ID)
			wantError(t, err, "open/"+r.ID, c.says, store.ErrUnreadable.Error())
			// It is not forgotten: there may be a grant behind it.
			s = store.New[config]()
			if _, err := create(ctx, s, d, "alice", 1, after(1)); err != nil {
				t.Errorf("it keeps its requester from asking: %v", err)
			}
			found := listOpen(ctx, t, s, d)
			if len(found) != 2 || found[0].ID != r.ID || !found[0].Unreadable() || !found[0].Holding() || !found[0].Due(start) || found[1].Unreadable() {
				t.Errorf("the index is %+v", found)
			}
			change(ctx, t, d, "open/"+r.ID, func(string) string { return intact })
			s.Invalidate("open/" + r.ID)
			if found = listOpen(ctx, t, s, d); len(found) != 2 || found[0].Unreadable() || found[0].Requester != "entity-alice" {
				t.Errorf("after it was mended the index is %+v", found)
			}
		})
	}
}

func TestRequestUnderAnotherIDIsRefused(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	granted, pending := active(t, "alice"), newRequest(t, "alice", start)
	save(ctx, t, s, d, granted, pending)
	entry, err := d.InmemStorage.Get(ctx, "open/"+granted.ID)
	must(t, err)
	entry.Key = "open/" + pending.ID
	must(t, d.InmemStorage.Put(ctx, entry))
	_, err = s.Requests.Load(ctx, d, pending.ID)
	wantError(t, err, pending.ID, granted.ID)
}

// What the store gives back is what it was given, or an error.
func FuzzStoredRecords(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"v":1}`, `{"v":1,"body":{}}`, `{"v":1,"body":{"rules":[{"approvals":1}]}}`, `{"v":1e0,"body":[]}`, `{"v":2,"body":{}}`,
		`{"v":1,"id":"x"}`, `{"v":1,"asked":{"grant":{"data":{"n":1e999}}}}`, `{"V":1,"BODY":{"Rules":null}}`, `{"v":1,"events":[{}]}`,
	} {
		f.Add([]byte(seed))
	}
	seeds, d := store.New[config](), &disk{}
	ctx := context.Background()
	must(f, seeds.Policies.Put(ctx, d, "two", policy()))
	must(f, seeds.Roles.Put(ctx, d, "db", role("database/creds/app")))
	save(ctx, f, seeds, d, active(f, "alice"))
	for _, text := range d.content(ctx, f) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d := &disk{}
		id := idAt(start)
		for _, key := range []string{"policy/x", "role/x", "group/x", "config", "open/" + id} {
			must(t, d.InmemStorage.Put(ctx, &logical.StorageEntry{Key: key, Value: text}))
		}
		s := store.New[config]()
		if found, err := s.Roles.Get(ctx, d, "x"); (found == nil) == (err == nil) {
			t.Errorf("role: %v and %v", found, err)
		}
		if found, err := s.Groups.Get(ctx, d, "x"); (found == nil) == (err == nil) {
			t.Errorf("group: %v and %v", found, err)
		}
		if found, err := s.Config.Get(ctx, d); (found == nil) == (err == nil) {
			t.Errorf("config: %v and %v", found, err)
		}
		if found, err := s.Requests.Load(ctx, d, id); err == nil {
			t.Errorf("a request of another id, or none, is taken for %s: %+v", id, found)
		}
		found, err := s.Policies.Get(ctx, d, "x")
		if (found == nil) == (err == nil) {
			t.Errorf("policy: %v and %v", found, err)
		}
		if found == nil {
			return
		}
		// Reading and writing it changes nothing more.
		must(t, s.Policies.Put(ctx, d, "again", *found))
		again, err := store.New[config]().Policies.Get(ctx, d, "again")
		must(t, err)
		if asJSON(t, again) != asJSON(t, found) {
			t.Errorf("%s\nbecame\n%s", asJSON(t, found), asJSON(t, again))
		}
	})
}

func TestConfigErrorsDoNotQuoteWhatIsStored(t *testing.T) {
	ctx := t.Context()
	for _, text := range []string{`{"v":1,"body":{"address":"hunter2"}`, `{"v":1,"body":"hunter2"}`, `{"v":1,"body":{"address":["hunter2"]}}`, `hunter2`} {
		s, d := store.New[config](), &disk{}
		must(t, d.Put(ctx, &logical.StorageEntry{Key: store.ConfigKey, Value: []byte(text)}))
		_, err := s.Config.Get(ctx, d)
		wantError(t, err, "damaged")
		if strings.Contains(err.Error(), "hunter") {
			t.Errorf("the error quotes the record: %v", err)
		}
	}
}

// The digits of numbers and the characters of texts are among what must not change.
func TestRequestsComeBackAsTheyWere(t *testing.T) {
	ctx := t.Context()
	granted := active(t, "alice")
	ending := apply(t, granted, start, approval.Revoke{By: standing("bob")}, approval.Gone{Handle: token.Key()})
	for name, r := range map[string]approval.Request{
		"pending": newRequest(t, "alice", start), "approved": approved(t, "alice"), "active": granted, "ending": ending,
		"failing":   ending.Failed(lease.Key(), "upstream is down", start),
		"cancelled": apply(t, newRequest(t, "alice", start), start, cancel(newRequest(t, "alice", start))),
	} {
		t.Run(name, func(t *testing.T) {
			s, d := store.New[config](), &disk{}
			save(ctx, t, s, d, r)
			back, err := store.New[config]().Requests.Load(ctx, d, r.ID)
			must(t, err)
			file(ctx, t, s, d, r)
			filed, err := store.New[config]().Requests.Load(ctx, d, r.ID)
			must(t, err)
			if asJSON(t, back) != asJSON(t, r) || asJSON(t, filed) != asJSON(t, r) {
				t.Errorf("%s\nbecame\n%s\nand\n%s", asJSON(t, r), asJSON(t, back), asJSON(t, filed))
			}
			if string(back.Asked) != string(r.Asked) || !strings.Contains(string(r.Asked), "12345678901234567890.10") {
				t.Errorf("%s\nbecame\n%s", r.Asked, back.Asked)
			}
		})
	}
}

func TestNumbersKeepTheirDigits(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	r, c := role("database/creds/app"), config{Extra: json.Number("12345678901234567890.10")}
	must(t, s.Roles.Put(ctx, d, "db", r))
	must(t, s.Config.Put(ctx, d, c))
	s = store.New[config]()
	foundRole, err := s.Roles.Get(ctx, d, "db")
	must(t, err)
	foundConfig, err := s.Config.Get(ctx, d)
	must(t, err)
	if asJSON(t, foundRole) != asJSON(t, r) || asJSON(t, foundConfig) != asJSON(t, c) {
		t.Errorf("%s and %s became\n%s and %s", asJSON(t, r), asJSON(t, c), asJSON(t, foundRole), asJSON(t, foundConfig))
	}
}
