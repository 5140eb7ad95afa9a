package store

import (
	"strings"
	"sync"
	"time"

	"github.com/google/btree"
	"github.com/google/uuid"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// index holds a listing of each open request, in the order of their ids.
type index struct {
	mu   sync.Mutex
	tree *btree.BTreeG[item]
	// people are, by entity id, those who have an open request or create one.
	people map[string]*person
	words  words

	// listed says that the ids of all open requests are in tree or in stale.
	listed bool
	// stale are ids of which the storage may hold something else than tree: they were not read yet, another node wrote
	// them, or a write failed.
	stale map[uuid.UUID]struct{}
	// load is the reading of stale ids that is under way, or nil.
	load *load
}

// item is an open request. Its listing is never changed, so that it can be read without the lock.
type item struct {
	id      uuid.UUID
	listing *approval.Listing
}

// person is what one has open.
type person struct {
	open map[*approval.Listing]struct{}
	// places are those of requests that are being created.
	places int
}

// degree is the width of the tree; the most usual one.
const degree = 32

func newIndex() *index {
	x := &index{words: words{single: map[string]string{}, lists: map[string][]string{}}, stale: map[uuid.UUID]struct{}{}}
	x.clear()
	return x
}

// clear forgets all listings; the caller holds mu.
func (x *index) clear() {
	x.tree = btree.NewG(degree, func(a, b item) bool { return string(a.id[:]) < string(b.id[:]) })
	x.people = map[string]*person{}
}

// put takes what was written of an open request.
func (x *index) put(id uuid.UUID, l approval.Listing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.take(id, l)
}

// take is put for a caller who holds mu.
func (x *index) take(id uuid.UUID, l approval.Listing) {
	if x.load != nil {
		x.load.written[id] = struct{}{}
	}
	x.insert(id, l)
}

// remove takes it that the request is not open any more.
func (x *index) remove(id uuid.UUID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.load != nil {
		x.load.written[id] = struct{}{}
	}
	x.erase(id)
}

// distrust makes the next use of the index read the request again.
func (x *index) distrust(id uuid.UUID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.listed || x.load != nil { // else the first load reads everything
		x.stale[id] = struct{}{}
	}
}

// insert and erase keep tree and people; the caller holds mu.
func (x *index) insert(id uuid.UUID, l approval.Listing) {
	x.erase(id)
	l.Requester, l.Role = x.words.intern(l.Requester), x.words.intern(l.Role)
	l.Groups = x.words.internList(l.Groups)
	for i, decider := range l.Deciders {
		l.Deciders[i] = x.words.intern(decider)
	}
	x.tree.ReplaceOrInsert(item{id, &l})
	x.personOf(l.Requester).open[&l] = struct{}{}
}

func (x *index) erase(id uuid.UUID) {
	old, there := x.tree.Delete(item{id: id})
	if !there {
		return
	}
	delete(x.people[old.listing.Requester].open, old.listing)
	x.forgetIdle(old.listing.Requester)
}

func (x *index) personOf(requester string) *person {
	p := x.people[requester]
	if p == nil {
		p = &person{open: map[*approval.Listing]struct{}{}}
		x.people[requester] = p
	}
	return p
}

func (x *index) forgetIdle(requester string) {
	if p := x.people[requester]; len(p.open) == 0 && p.places == 0 {
		delete(x.people, requester)
	}
}

// takePlace counts the requests of a person that wait, and those that are being created; from then on the caller's is
// one of these, until it fills the place or leaves it.
func (x *index) takePlace(requester string, now time.Time) (waiting int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.personOf(requester)
	waiting = p.places
	for l := range p.open {
		if l.Waiting(now) {
			waiting++
		}
	}
	p.places++
	return waiting
}

// fillPlace puts the new request where its place was, so that it is counted once at every moment.
func (x *index) fillPlace(id uuid.UUID, l approval.Listing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.take(id, l)
	x.people[l.Requester].places--
}

func (x *index) leavePlace(requester string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.people[requester].places--
	x.forgetIdle(requester)
}

// descend visits the open requests, the newest first: those older than the given id, or all for the zero one. It holds
// no lock meanwhile; what is written meanwhile is not seen.
func (x *index) descend(older uuid.UUID, visit func(item) (goOn bool)) {
	x.mu.Lock()
	tree := x.tree.Clone() // copies when somebody writes
	x.mu.Unlock()
	if older == uuid.Nil {
		tree.Descend(visit)
		return
	}
	tree.DescendLessOrEqual(item{id: older}, func(i item) bool { return i.id == older || visit(i) })
}

// words holds each word that a listing refers to, or once did, in one place: there may be a hundred thousand requests
// about few people, roles and groups. Package unique would forget a word that no [unique.Handle] stands for.
type words struct {
	single map[string]string
	lists  map[string][]string
}

func (w words) intern(word string) string {
	known, there := w.single[word]
	if !there {
		known = strings.Clone(word)
		w.single[known] = known
	}
	return known
}

func (w words) internList(list []string) []string {
	joined := strings.Join(list, "\x00")
	known, there := w.lists[joined]
	if !there {
		for _, word := range list {
			known = append(known, w.intern(word))
		}
		w.lists[joined] = known
	}
	return known
}
