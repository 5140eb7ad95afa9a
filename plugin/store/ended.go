package store

import (
	"context"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"
)

// endedKey is where an ended request lies; false for an id that is none of this engine's.
func endedKey(id string) (string, bool) {
	made := MadeAt(id)
	return endedPrefix + made.Format("200601") + "/" + id, !made.IsZero()
}

// Ended visits the ids of ended requests, the newest first: those older than the one with the id after, or all if that is
// empty. It ends when visit says so or fails. A month is listed when it is reached. After a crash a request may be
// among the ended ones and open too; then the open one is the true one.
func (q *Requests) Ended(ctx context.Context, s logical.Storage, after string, visit func(id string) (goOn bool, err error)) error {
	key, ours := endedKey(after)
	switch {
	case after == "":
		key = beyondEnded
	case !ours:
		return errNotOurs(after)
	}
	return visitEnded(ctx, s, key, slices.Reverse[[]string], visit)
}

// EndedOldestFirst visits the ids of all ended requests, the oldest first, otherwise as [Requests.Ended].
func (q *Requests) EndedOldestFirst(ctx context.Context, s logical.Storage, visit func(id string) (goOn bool, err error)) error {
	return visitEnded(ctx, s, beyondEnded, slices.Sort[[]string], visit)
}

// beyondEnded is a key that comes after those of all ended requests.
const beyondEnded = endedPrefix + "~"

// visitEnded visits those whose key comes before the given one. What is listed is in order; arrange may put it in another.
func visitEnded(
	ctx context.Context, s logical.Storage, before string, arrange func([]string), visit func(id string) (goOn bool, err error),
) error {
	months, err := list(ctx, s, endedPrefix)
	if err != nil {
		return err
	}
	arrange(months)
	for _, month := range months {
		prefix := endedPrefix + month
		if prefix > before || !strings.HasSuffix(prefix, "/") {
			continue
		}
		ids, err := list(ctx, s, prefix)
		if err != nil {
			return err
		}
		arrange(ids)
		for _, id := range ids {
			key, ours := endedKey(id)
			if !ours || key != prefix+id || key >= before { // nobody could load or delete a foreign one under this key
				continue
			}
			if goOn, err := visit(id); !goOn || err != nil {
				return err
			}
		}
	}
	return nil
}

// DeleteEnded removes an ended request for good. It is false, and nothing is removed, if the same request is open: the
// two are there after a crash, and the open one may still have something to end.
func (q *Requests) DeleteEnded(ctx context.Context, s logical.Storage, id string) (bool, error) {
	key, ours := endedKey(id)
	if !ours {
		return false, errNotOurs(id)
	}
	open, err := get(ctx, s, openPrefix+id)
	if err != nil || open != nil {
		return false, err
	}
	err = remove(ctx, s, key)
	return err == nil, err
}
