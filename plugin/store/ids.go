package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
	key, err := q.demandSeed(ctx, s)
	if err != nil {
		return "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("making a request id: %w", err)
	}
	return markID(id, key, requester).String(), nil
}

// MayBeOf reports whether an id can be that of a request of this person. For the ids of others it errs once in a
// million times, so whoever shows a request has to look who made it.
func (q *Requests) MayBeOf(ctx context.Context, s logical.Storage, id, requester string) (bool, error) {
	parsed, ours := parseID(id)
	if !ours {
		return false, nil
	}
	key, err := q.seed.Get(ctx, s)
	if err != nil || key == nil {
		return false, err
	}
	return markID(parsed, key, requester) == parsed, nil
}

// markID is the id with the mark of its requester in its last 20 bits: the first 20 bits of an HMAC-SHA256.
func markID(id uuid.UUID, key *seed, requester string) uuid.UUID {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(requester))
	sum := mac.Sum(nil)
	id[13] = id[13]&0xF0 | sum[0]>>4
	id[14] = sum[0]<<4 | sum[1]>>4
	id[15] = sum[1]<<4 | sum[2]>>4
	return id
}

// seed is the key of the marks, one for a mount.
type seed [32]byte

// MarshalText returns the hex that is stored.
func (k *seed) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// UnmarshalText reads what MarshalText returned.
func (k *seed) UnmarshalText(text []byte) error {
	key, err := hex.DecodeString(string(text))
	if err != nil || len(key) != len(k) {
		return fmt.Errorf("it is not the hex of %d bytes", len(k))
	}
	copy(k[:], key)
	return nil
}

// demandSeed returns the seed, and makes it if there is none.
func (q *Requests) demandSeed(ctx context.Context, s logical.Storage) (*seed, error) {
	q.seedMu.Lock()
	defer q.seedMu.Unlock()
	if q.made != nil {
		return q.made, nil
	}
	known, err := q.seed.Get(ctx, s)
	if err != nil || known != nil {
		return known, err
	}
	q.made = &seed{}
	_, _ = rand.Read(q.made[:]) // it never fails
	return q.made, nil
}

// saveSeed writes a seed that was made and not written yet.
func (q *Requests) saveSeed(ctx context.Context, s logical.Storage) error {
	q.seedMu.Lock()
	defer q.seedMu.Unlock()
	if q.made == nil {
		return nil
	}
	known, err := q.seed.Get(ctx, s)
	if err == nil && known == nil {
		err = q.seed.Put(ctx, s, *q.made)
	}
	if err != nil {
		return err
	}
	another := known != nil && *known != *q.made
	q.made = nil
	if another {
		return errors.New("another node made the key of the ids at the same time: ask again")
	}
	return nil
}
