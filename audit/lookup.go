package audit

import (
	"context"
	"errors"
	"fmt"

	"schoolgate/policy"
)

// ErrNoEvent: the journal does not hold that event, or no longer.
var ErrNoEvent = errors.New("not in the journal")

// Event reads one event by its number, opening the one frame that holds it.
func (d Dir) Event(ctx context.Context, id policy.EventID) (e policy.Event, err error) {
	keys, err := d.keyring()
	if err != nil {
		return e, err
	}
	c := cursor{dir: d.Path, keys: keys, next: id}
	defer c.close()
	err = fmt.Errorf("event %s: %w", id, ErrNoEvent)
	c.read(ctx, id, func(got policy.Event, trouble error) bool {
		if trouble != nil {
			err = fmt.Errorf("event %s: %w: %w", id, ErrNoEvent, trouble)
			return false
		}
		e, err = got, nil
		return false
	})
	return e, errors.Join(err, ctx.Err())
}
