package appliance

import (
	"context"
	"time"

	"schoolgate/helpcount"
	"schoolgate/policy"
)

const (
	helpCounted = "help.counted" // the act by which a day is entered in the journal
	// helpLook is how often the end of a day is looked for. It is not done by a use of
	// a help-line, so that the entry does not tell when one was.
	helpLook = time.Minute
)

// runHelpCount enters each day in the journal when it is over.
func (a *Appliance) runHelpCount(ctx context.Context) error {
	look := time.NewTicker(helpLook)
	defer look.Stop()
	for {
		err := a.help.Enter(time.Now(), func(day string, d helpcount.Day) error {
			e := policy.StaffAct(time.Now(), "schoolgate", helpCounted, day, d.String())
			if err := a.journal.Record(&e); err != nil {
				return err
			}
			a.log.Info("help-lines counted", "day", day)
			a.watch.raised.WithLabelValues(helpcount.Theme).Add(float64(d.Searches))
			return nil
		})
		if err != nil {
			a.log.Error("not in the journal yet, trying again in a minute", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}
