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
	month := "" // of the id after
	if after != "" {
		key, ours := endedKey(after)
		if !ours {
			return errNotOurs(after)
		}
		month = strings.TrimSuffix(key, after)
	}
	months, err := listMonths(ctx, s)
	if err != nil {
		return err
	}
	for _, prefix := range slices.Backward(months) {
		if after != "" && prefix > month {
			continue
		}
		ids, err := listMonth(ctx, s, prefix)
		if err != nil {
			return err
		}
		slices.Reverse(ids)
		ids = slices.DeleteFunc(ids, func(id string) bool { return after != "" && id >= after })
		if goOn, err := visitEach(ids, visit); !goOn || err != nil {
			return err
		}
	}
	return nil
}

// EndedOldestFirst visits the ids of all ended requests, the oldest first, otherwise as [Requests.Ended].
func (q *Requests) EndedOldestFirst(ctx context.Context, s logical.Storage, visit func(id string) (goOn bool, err error)) error {
	months, err := listMonths(ctx, s)
	if err != nil {
		return err
	}
	for _, prefix := range months {
		ids, err := listMonth(ctx, s, prefix)
		if err != nil {
			return err
		}
		if goOn, err := visitEach(ids, visit); !goOn || err != nil {
			return err
		}
	}
	return nil
}

func visitEach(ids []string, visit func(id string) (goOn bool, err error)) (goOn bool, err error) {
	for _, id := range ids {
		if goOn, err := visit(id); !goOn || err != nil {
			return false, err
		}
	}
	return true, nil
}

// listMonths returns, in order, the prefixes under which ended requests lie.
func listMonths(ctx context.Context, s logical.Storage) ([]string, error) {
	names, err := list(ctx, s, endedPrefix)
	var months []string
	for _, name := range names {
		if strings.HasSuffix(name, "/") {
			months = append(months, endedPrefix+name)
		}
	}
	return months, err
}

// listMonth returns the ids of a month in order, without what nobody could load or delete under that key.
func listMonth(ctx context.Context, s logical.Storage, prefix string) ([]string, error) {
	ids, err := list(ctx, s, prefix)
	return slices.DeleteFunc(ids, func(id string) bool {
		key, ours := endedKey(id)
		return !ours || key != prefix+id
	}), err
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
	if err := remove(ctx, s, key); err != nil {
		return false, err
	}
	return true, nil
}
