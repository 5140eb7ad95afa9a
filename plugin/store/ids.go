package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/sdk/logical"
)

// parseID reads a request's id. It is false for whatever [Requests.NewID] cannot have made: what is no UUIDv7 in its
// canonical text.
func parseID(id string) (uuid.UUID, bool) {
	parsed, err := uuid.Parse(id)
	return parsed, err == nil && parsed.Version() == 7 && parsed.String() == id
}

// MadeAt is when a request's id was made, to the millisecond: zero for an id that is none of this engine's.
func MadeAt(id string) time.Time {
	parsed, ours := parseID(id)
	if !ours {
		return time.Time{}
	}
	seconds, nanos := parsed.Time().UnixTime()
	return time.Unix(seconds, nanos).UTC()
}

// NewID returns the id for a new request: a UUIDv7, so that ids sort by time and carry their month. Its last 20 bits are
// a keyed hash of the requester's entity id, so that a person's own ended requests are found by their ids alone.
func (q *Requests) NewID(ctx context.Context, s logical.Storage, requester string) (string, error) {
	seed, err := q.seed.demand(ctx, s)
	if err != nil {
		return "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("making a request id: %w", err)
	}
	return markID(id, seed, requester).String(), nil
}

// MayBeOf reports whether an id can be that of a request of this person. For the ids of others it errs once in a
// million times, so whoever shows a request has to look who made it.
func (q *Requests) MayBeOf(ctx context.Context, s logical.Storage, id, requester string) (bool, error) {
	parsed, ours := parseID(id)
	if !ours {
		return false, nil
	}
	seed, err := q.seed.find(ctx, s)
	if err != nil || seed == nil {
		return false, err
	}
	return markID(parsed, seed, requester) == parsed, nil
}

// markID is the id with the mark of its requester in its last 20 bits: the first 20 bits of an HMAC-SHA256.
func markID(id uuid.UUID, seed []byte, requester string) uuid.UUID {
	mac := hmac.New(sha256.New, seed)
	mac.Write([]byte(requester))
	sum := mac.Sum(nil)
	id[13] = id[13]&0xF0 | sum[0]>>4
	id[14] = sum[0]<<4 | sum[1]>>4
	id[15] = sum[1]<<4 | sum[2]>>4
	return id
}

const seedBytes = 32

// seed is the key of the marks. It is made once for a mount, and written with the first request, so that a question that
// is refused leaves nothing behind.
type seed struct {
	mu      sync.Mutex
	cached  []byte
	written bool
}

// find returns the seed, or nil while no request was made.
func (k *seed) find(ctx context.Context, s logical.Storage) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read(ctx, s)
}

// demand returns the seed, and makes it if there is none.
func (k *seed) demand(ctx context.Context, s logical.Storage) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	known, err := k.read(ctx, s)
	if err != nil || known != nil {
		return known, err
	}
	k.cached = make([]byte, seedBytes)
	_, _ = rand.Read(k.cached) // it never fails
	return k.cached, nil
}

// save writes a seed that was made and not written yet.
func (k *seed) save(ctx context.Context, s logical.Storage) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.written || k.cached == nil {
		return nil
	}
	if err := writeObject(ctx, s, SeedKey, hex.EncodeToString(k.cached)); err != nil {
		return err
	}
	k.written = true
	return nil
}

// read returns the seed, or nil; the caller holds mu.
func (k *seed) read(ctx context.Context, s logical.Storage) ([]byte, error) {
	if k.cached != nil {
		return k.cached, nil
	}
	stored, err := readObject[string](ctx, s, SeedKey)
	if err != nil || stored == nil {
		return nil, err
	}
	key, err := hex.DecodeString(*stored)
	if err != nil || len(key) != seedBytes {
		return nil, fmt.Errorf("reading %s: %w: it is not the hex of %d bytes", SeedKey, ErrUnreadable, seedBytes)
	}
	k.cached, k.written = key, true
	return key, nil
}

func (k *seed) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cached, k.written = nil, false
}
