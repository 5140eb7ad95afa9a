package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

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

func writeObject[T any](ctx context.Context, s logical.Storage, key string, value T) error {
	text, err := json.Marshal(envelope[T]{Version: envelopeVersion, Body: &value})
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	return put(ctx, s, key, text)
}

// readObject returns nil without an error when there is nothing at the key.
func readObject[T any](ctx context.Context, s logical.Storage, key string) (*T, error) {
	text, err := get(ctx, s, key)
	if err != nil || text == nil {
		return nil, err
	}
	object, err := decode[envelope[T]](text, envelopeVersion)
	if err == nil && object.Body == nil {
		err = errors.New("it holds nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w: %w", key, ErrUnreadable, err)
	}
	return object.Body, nil
}

func writeRequest(ctx context.Context, s logical.Storage, key string, r approval.Request) error {
	text, err := json.Marshal(r.Record)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	return put(ctx, s, key, text)
}

// readRequest returns the request at the key, or nil.
func readRequest(ctx context.Context, s logical.Storage, key, id string) (*approval.Request, error) {
	text, err := get(ctx, s, key)
	if err != nil || text == nil {
		return nil, err
	}
	r, err := decodeRequest(text, id)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w: %w", key, ErrUnreadable, err)
	}
	return &r, nil
}

func decodeRequest(text []byte, id string) (approval.Request, error) {
	record, err := decode[approval.Record](text, approval.RecordVersion)
	if err != nil {
		return approval.Request{}, err
	}
	if record.Events == nil { // a new request has none, and says so
		return approval.Request{}, errors.New("it is damaged: its events are missing")
	}
	r, err := approval.Replay(record)
	if err != nil {
		return approval.Request{}, fmt.Errorf("it is damaged: %w", err)
	}
	if r.ID != id {
		return approval.Request{}, fmt.Errorf("it is damaged: it is that of request %s", r.ID)
	}
	return r, nil
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
