package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// ErrUnreadable is part of every error about something that is there but not wholly understood.
var ErrUnreadable = errors.New("it cannot be understood")

// envelopeVersion is the version of every object but the requests, which have their own.
const envelopeVersion = 1

// envelope is the stored form of a named object.
type envelope[T any] struct {
	Version int `json:"v"`
	Body    *T  `json:"body"`
}

func writeObject[T any](ctx context.Context, s logical.Storage, key string, value *T) error {
	return write(ctx, s, key, envelope[T]{Version: envelopeVersion, Body: value})
}

// readObject returns nil without an error when there is nothing at the key.
func readObject[T any](ctx context.Context, s logical.Storage, key string) (*T, error) {
	return read(ctx, s, key, func(text []byte) (*T, error) {
		object, err := decode[envelope[T]](text, envelopeVersion)
		if err == nil && object.Body == nil {
			err = errors.New("it holds nothing")
		}
		return object.Body, err
	})
}

// readRequest returns the request at the key, which ends with its id, or nil.
func readRequest(ctx context.Context, s logical.Storage, key string) (*approval.Request, error) {
	return read(ctx, s, key, func(text []byte) (*approval.Request, error) {
		record, err := decode[approval.Record](text, approval.RecordVersion)
		if err != nil {
			return nil, err
		}
		if record.Events == nil { // a new request has none, and says so
			return nil, errors.New("it is damaged: its events are missing")
		}
		r, err := approval.Replay(record)
		if err != nil {
			return nil, fmt.Errorf("it is damaged: %w", err)
		}
		if r.ID != path.Base(key) {
			return nil, fmt.Errorf("it is damaged: it is that of request %s", r.ID)
		}
		return &r, nil
	})
}

func write(ctx context.Context, s logical.Storage, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	if err := s.Put(ctx, &logical.StorageEntry{Key: key, Value: text}); err != nil {
		return fmt.Errorf("writing %s: %w", key, err)
	}
	return nil
}

// read returns what understand makes of the text at the key, or nil without an error when there is nothing.
func read[T any](ctx context.Context, s logical.Storage, key string, understand func(text []byte) (*T, error)) (*T, error) {
	entry, err := get(ctx, s, key)
	if err != nil || entry == nil {
		return nil, err
	}
	value, err := understand(entry.Value)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w: %w", key, ErrUnreadable, err)
	}
	return value, nil
}

// decode refuses whatever it does not know: half a policy must not pass for a policy. The version comes first, so that
// what a newer release wrote is refused as that.
func decode[T any](text []byte, version int) (value T, err error) {
	var stored struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(text, &stored); err != nil {
		return value, fmt.Errorf("it is damaged: %w", err)
	}
	if stored.V != version {
		return value, fmt.Errorf("it has version %d, this release knows %d: it was written by another release", stored.V, version)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return value, fmt.Errorf("it is damaged: %w", err)
	}
	return value, nil
}
