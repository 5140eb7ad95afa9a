package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

func TestRecordsThatAreNotWhollyUnderstoodAreRefused(t *testing.T) {
	ctx := t.Context()
	for name, c := range map[string]struct{ text, says string }{
		"nothing":             {``, "damaged"},
		"no JSON":             {`{"v":1,`, "damaged"},
		"something after it":  {`{"v":1,"body":{}}{}`, "damaged"},
		"not an object":       {`[]`, "damaged"},
		"no version":          {`{"body":{}}`, "version 0"},
		"a later version":     {`{"v":2,"body":{}}`, "version 2"},
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
			wantError(t, err, "policy/two", c.says)
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

func TestARequestWhoseAskWasChangedInStorageIsRefused(t *testing.T) {
	ctx := t.Context()
	for name, edit := range map[string]func(string) string{
		"another path":      func(s string) string { return strings.Replace(s, "database/creds/app", "database/creds/dba", 1) },
		"fewer approvals":   func(s string) string { return strings.Replace(s, `"approvals":2`, `"approvals":1`, 1) },
		"another requester": func(s string) string { return strings.Replace(s, "entity-alice", "entity-mallory", 1) },
		"a longer window":   func(s string) string { return strings.Replace(s, `"ttl":3600000000000`, `"ttl":7200000000000`, 1) },
		"another digest":    func(s string) string { return strings.Replace(s, `"digest":"`, `"digest":"0`, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			s, d := store.New[config](), &disk{}
			r := asked(t, "alice", "db", start)
			stored(ctx, t, s, d, r)
			intact := d.content(ctx, t)["open/"+r.ID]
			change(ctx, t, d, "open/"+r.ID, edit)
			_, err := s.Requests.Get(ctx, d, r.ID)
			wantError(t, err, r.ID, "digest does not match")
			// It is in the way of nothing else, and not forgotten: there may be a grant behind it.
			s = store.New[config]()
			other := asked(t, "alice", "db", start)
			must(t, s.Requests.Create(ctx, d, other, 10, start))
			found := open(ctx, t, s, d)
			if len(found) != 2 || found[0].ID != r.ID || !found[0].Unreadable || !found[0].Holding || !found[0].Unconfirmed || found[0].Due != 0 || found[1].Unreadable {
				t.Errorf("the index is %+v", found)
			}
			change(ctx, t, d, "open/"+r.ID, func(string) string { return intact })
			s.Invalidate("open/" + r.ID)
			if found = open(ctx, t, s, d); len(found) != 2 || found[0].Unreadable || found[0].RequesterID != "entity-alice" {
				t.Errorf("after it was mended the index is %+v", found)
			}
		})
	}
}

func TestARecordUnderAnotherIdIsRefused(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	approved, pending := active(t, "alice"), asked(t, "alice", "db", start)
	stored(ctx, t, s, d, approved, pending)
	entry, err := d.InmemStorage.Get(ctx, "open/"+approved.ID)
	must(t, err)
	entry.Key = "open/" + pending.ID
	must(t, d.InmemStorage.Put(ctx, entry))
	_, err = s.Requests.Get(ctx, d, pending.ID)
	wantError(t, err, pending.ID, approved.ID)
}

// What the store gives back is what it was given, or an error.
func FuzzStoredRecords(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"v":1}`, `{"v":1,"body":{}}`, `{"v":1,"body":{"rules":[{"approvals":1}]}}`, `{"v":1e0,"body":[]}`, `{"v":2,"body":{}}`,
		`{"v":1,"body":{"id":"x"}}`, `{"v":1,"body":{"ask":{"grant":{"data":{"n":1e999}}}}}`, `{"V":1,"BODY":{"Rules":null}}`,
	} {
		f.Add([]byte(seed))
	}
	seeds, d := store.New[config](), &disk{}
	ctx := context.Background()
	must(f, seeds.Policies.Put(ctx, d, "two", policy()))
	must(f, seeds.Requests.Create(ctx, d, active(f, "alice"), 1, start))
	for _, text := range d.content(ctx, f) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d := &disk{}
		id, err := store.NewID()
		must(t, err)
		for _, key := range []string{"policy/x", "role/x", "group/x", "config", "open/" + id} {
			must(t, d.InmemStorage.Put(ctx, &logical.StorageEntry{Key: key, Value: text}))
		}
		s := store.New[config]()
		if found, err := s.Policies.Get(ctx, d, "x"); (found == nil) == (err == nil) {
			t.Errorf("policy: %v and %v", found, err)
		}
		if found, err := s.Roles.Get(ctx, d, "x"); (found == nil) == (err == nil) {
			t.Errorf("role: %v and %v", found, err)
		}
		if found, err := s.Groups.Get(ctx, d, "x"); (found == nil) == (err == nil) {
			t.Errorf("group: %v and %v", found, err)
		}
		if found, err := s.Config.Get(ctx, d); (found == nil) == (err == nil) {
			t.Errorf("config: %v and %v", found, err)
		}
		if found, err := s.Requests.Get(ctx, d, id); err == nil {
			t.Errorf("a request of another id, or none, is taken for %s: %+v", id, found)
		}
		policy, err := s.Policies.Get(ctx, d, "x")
		if err != nil {
			return
		}
		// Reading and writing it changes nothing more.
		must(t, s.Policies.Put(ctx, d, "again", *policy))
		again, err := store.New[config]().Policies.Get(ctx, d, "again")
		must(t, err)
		if asJSON(t, again) != asJSON(t, policy) {
			t.Errorf("%s\nbecame\n%s", asJSON(t, policy), asJSON(t, again))
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

// The requests that a person may make, in every state, are the same after storage as before.
func TestRequestsComeBackAsTheyWere(t *testing.T) {
	ctx := t.Context()
	d := &disk{}
	for _, r := range []approval.Request{
		asked(t, "alice", "db", start), active(t, "alice"),
		applied(t, active(t, "alice"), start, approval.BeginEnd{Reason: approval.LeaseRevoked}, approval.FailEnd{Problem: "upstream is down"}),
	} {
		stored(ctx, t, store.New[config](), d, r)
		back, err := store.New[config]().Requests.Get(ctx, d, r.ID)
		must(t, err)
		if asJSON(t, back) != asJSON(t, r) {
			t.Errorf("%s\nbecame\n%s", asJSON(t, r), asJSON(t, back))
		}
	}
}
