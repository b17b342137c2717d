package supply

import (
	"context"
	"errors"
	"fmt"

	"schoolgate/categories"
	"schoolgate/configs"
)

// Damage is what of the category store's versions cannot be read, and which one
// answers instead. The zero value is none.
type Damage struct {
	Versions []categories.Skipped // the one that should be in force first
	Answers  uint64               // 0: none of them can be read
}

// Err tells a person what is damaged and what to do; nil where nothing is.
func (d Damage) Err() error {
	if len(d.Versions) == 0 {
		return nil
	}
	v := d.Versions[0]
	if d.Answers == 0 {
		return fmt.Errorf("no version of the category store can be read: pupils reach only what the starter lists or an adult know: run schoolgate lists build (store %d: %w)", v.Version, v.Err)
	}
	return fmt.Errorf("category store %d cannot be read, and store %d answers in its place: run schoolgate lists build, or stay with it by schoolgate lists rollback %d (%w)",
		v.Version, d.Answers, d.Answers, v.Err)
}

// DamageOf reads which of a box's versions cannot be read, from its files alone.
func DamageOf(cfg *configs.Config) (Damage, error) {
	store, damaged, err := LastGood(cfg.Box)
	if store == nil && (err == nil || errors.Is(err, categories.ErrNoStore)) {
		return Damage{Versions: damaged}, nil
	}
	if err != nil {
		return Damage{Versions: damaged}, err
	}
	return Damage{damaged, store.Version()}, nil
}

// damaged reports whether the version in force cannot be read. A version of
// another format counts, so that an upgrade builds its own.
func (s *Supply) damaged(version uint64) bool {
	if version == 0 {
		return false
	}
	store, _, err := s.dir.OpenLastGood(s.key)
	return err != nil && !errors.Is(err, categories.ErrKey) || err == nil && store.Version() != version
}

// mend builds what was in force again, of the copies that are kept, with the
// newest of mandatory lists. It was judged when it came into force.
func (s *Supply) mend(ctx context.Context, have, want inputs) (done Settled, err error) {
	in := s.pinned(have, want)
	c, report, missing, err := s.build(ctx, in, nil)
	done.Report, done.Missing = report, missing
	if err != nil {
		return done, fmt.Errorf("the category store in force is damaged and cannot be built again: %w", err)
	}
	s.log.Warn("the category store in force was damaged and is built again of the kept copies", "version", c.version)
	done.Version = c.version
	done.Said, err = s.publish(ctx, c, in)
	return done, err
}

// mendable reports whether a damaged store is to be built again although no feed
// is fetched: of the feeds on the disk that the configuration names. The starter
// lists alone mend nothing, since they may not be what was damaged.
func (s *Supply) mendable() bool {
	version, have, err := s.current()
	return err == nil && have != nil && s.cfg.Box.Lists.Feeds != "" && s.damaged(version)
}
