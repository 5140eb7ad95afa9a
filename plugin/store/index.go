package store

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/btree"
	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// index holds a listing of each open request, in the order of their ids.
type index struct {
	mu   sync.Mutex
	tree *btree.BTreeG[item]
	// people are the listings in tree by their requester's entity id.
	people map[string][]*approval.Listing
	// places are, by entity id, how many requests people are creating.
	places map[string]int
	// words are those that a listing refers to, or once did: there may be a hundred thousand requests about few people,
	// roles and groups. Package unique would forget a word that no [unique.Handle] stands for.
	words map[string]string

	// wanted says that somebody asked for the index. Until then it is not kept: who asks first reads everything.
	wanted bool
	// listed says that the ids of all open requests are in tree or in stale.
	listed bool
	// stale are ids of which the storage may hold something else than tree: they were not read yet, another node wrote
	// them, or a write failed.
	stale map[uuid.UUID]doubt
	loads singleflight.Group
}

// doubt is how often an id was distrusted and written since it is stale.
type doubt struct{ distrusted, written int }

// item is an open request. Its listing is never changed, so that it can be read without the lock.
type item struct {
	id      uuid.UUID
	listing *approval.Listing
}

// degree is the width of the tree; the most usual one.
const degree = 32

func newIndex() *index {
	return &index{
		tree:   btree.NewG(degree, func(a, b item) bool { return string(a.id[:]) < string(b.id[:]) }),
		people: map[string][]*approval.Listing{},
		places: map[string]int{},
		words:  map[string]string{},
		stale:  map[uuid.UUID]doubt{},
	}
}

// put takes what was written of an open request; nil if it is not open any more.
func (x *index) put(id uuid.UUID, l *approval.Listing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.take(id, l)
}

// take is put for a caller who holds mu.
func (x *index) take(id uuid.UUID, l *approval.Listing) {
	if d, stale := x.stale[id]; stale {
		d.written++
		x.stale[id] = d
	}
	x.place(id, l)
}

// place puts the listing into its place, or removes the one that is there.
func (x *index) place(id uuid.UUID, l *approval.Listing) {
	if !x.wanted {
		return
	}
	if old, known := x.tree.Delete(item{id: id}); known {
		who := old.listing.Requester
		x.people[who] = slices.DeleteFunc(x.people[who], func(l *approval.Listing) bool { return l == old.listing })
		if len(x.people[who]) == 0 {
			delete(x.people, who)
		}
	}
	if l == nil {
		return
	}
	x.intern(l)
	x.tree.ReplaceOrInsert(item{id, l})
	x.people[l.Requester] = append(x.people[l.Requester], l)
}

// distrust makes the next use of the index read the request again.
func (x *index) distrust(id uuid.UUID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.wanted {
		x.doubt(id)
	}
}

// doubt is distrust for a caller who holds mu.
func (x *index) doubt(id uuid.UUID) {
	d := x.stale[id]
	d.distrusted++
	x.stale[id] = d
}

// takePlace counts the requests of a person that wait, and those that are being created; from then on the caller's is
// one of these, until it leaves the place.
func (x *index) takePlace(requester string, now time.Time) (waiting int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	waiting = x.places[requester]
	for _, l := range x.people[requester] {
		if l.Waiting(now) {
			waiting++
		}
	}
	x.places[requester]++
	return waiting
}

// leavePlace puts the new request, if there is one, where its place was, so that it is counted once at every moment.
func (x *index) leavePlace(requester string, made *item) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if made != nil {
		x.take(made.id, made.listing)
	}
	if x.places[requester]--; x.places[requester] == 0 {
		delete(x.places, requester)
	}
}

// descend visits the open requests, the newest first: those older than the given id. It holds no lock meanwhile; what is
// written meanwhile is not seen.
func (x *index) descend(older uuid.UUID, visit func(item) (goOn bool)) {
	x.mu.Lock()
	tree := x.tree.Clone() // copies when somebody writes
	x.mu.Unlock()
	tree.DescendLessOrEqual(item{id: older}, func(i item) bool { return i.id == older || visit(i) })
}

// intern holds the words of the listing in one place each. The caller holds mu, and nobody else has the listing.
func (x *index) intern(l *approval.Listing) {
	l.Requester, l.Role = x.internWord(l.Requester), x.internWord(l.Role)
	for _, list := range [][]string{l.Groups, l.Deciders} {
		for i, word := range list {
			list[i] = x.internWord(word)
		}
	}
}

func (x *index) internWord(word string) string {
	known, there := x.words[word]
	if !there {
		known = strings.Clone(word)
		x.words[known] = known
	}
	return known
}
