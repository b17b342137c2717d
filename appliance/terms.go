package appliance

import (
	"schoolgate/configs"
	"schoolgate/terms/revisions"
)

// openWatch has the packs in force compiled, behind the doors. Trouble with the
// school's own is no reason not to start: the last revision hears for them, or those in
// the program.
func (a *Appliance) openWatch() {
	a.watch = newWatch(a.registry, a.lists)
	go a.beginWatch(a.config.Load())
	a.onClose(func() error { <-a.watch.ready; return nil }) // it writes into the journal
}

func (a *Appliance) beginWatch(cfg *configs.Config) {
	set, err := revisions.TakeUp(cfg, a.journal)
	if err != nil {
		a.log.Error("the school's own watched phrases are not all in force", "err", err)
	}
	a.watch.begin(set, err)
}
