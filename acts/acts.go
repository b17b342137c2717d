package acts

import (
	"context"
	"errors"

	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/control"
	"schoolgate/policy"
	"schoolgate/redaction"
	"schoolgate/supply"
)

// journalReserve is disk space kept aside for the journal and used when the disk
// is full, so that the last hour is recorded while somebody makes room (fault F3).
const journalReserve = 64 << 20

// JournalOptions are those of the journal of a box, for one who writes into it.
func JournalOptions(box *configs.Box) audit.Options {
	options := audit.Options{SegmentSize: box.Audit.SegmentSize, Reserve: journalReserve}
	if box.Audit.Durability == configs.StrictlySync {
		options.Durability = audit.Strict
	}
	return options
}

// Record writes what a person did with the box ([policy.StaffAct]) into its
// journal and sets the event's number: through the daemon where one is running,
// else by itself. What it returns nil for is on disk; on an error the act must not
// be carried out, since nobody would know of it.
func Record(ctx context.Context, cfg *configs.Config, e *policy.Event) error {
	err := control.Ask(ctx, cfg.Box.Data, "record", e, &e.ID)
	if !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	redaction.Act(supply.AtRest(cfg), e)
	journal, err := audit.Open(audit.In(cfg.Box.Data).Path, JournalOptions(&cfg.Box))
	if err != nil {
		return err
	}
	return errors.Join(journal.Record(e), journal.Close())
}
