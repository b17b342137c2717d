package supply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"schoolgate/audit"
	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/internal/durable"
	"schoolgate/policy"
)

// Settled is what became of new content.
type Settled struct {
	Report  ListsReport // of the last build, if there was one
	Version uint64      // put in force; 0 for none
	Held    *Held       // waits for a person; nil for none
	Missing []string    // feeds that have never been fetched
	Said    string      // the outcome in a line, for the person who asked
}

// buildWanted is a person's order to build, whether or not anything is new.
type buildWanted struct{ progress, refused io.Writer }

// settle brings the store in force in line with the copies of the feeds. Call it
// under the lock.
func (s *Supply) settle(ctx context.Context, order *buildWanted) (done Settled, err error) {
	if err := s.recallFloor(); err != nil {
		s.log.Warn("which mandatory lists are in force is not on record", "err", err)
	}
	want := s.wanted()
	version, have, err := s.current()
	if err != nil {
		return done, fmt.Errorf("category store: %w", err)
	}
	held, err := s.held()
	if err != nil {
		s.log.Warn("what is held back cannot be read, it is judged anew", "err", err)
	}
	_, done.Missing = s.material(want)
	if order == nil {
		upgraded := s.upgraded(version)
		switch {
		case have != nil && s.damaged(version):
			return s.mend(ctx, have, want)
		case want.equal(have) && held != nil && held.Ordered:
			done.Held, done.Said = held, held.String()
			return done, nil
		case held != nil && s.samePublic(want, held.Inputs) && held.Content == starterContent():
			done.Held, done.Said = held, held.String()
			return s.floor(ctx, have, want, done)
		case want.equal(have) && !upgraded:
			done.Said = "nothing is new"
			return done, s.dropHeld() // what was held is not published any more
		case len(want) == 0 && !upgraded:
			done.Said = "nothing has been fetched yet"
			return done, nil
		case s.passedOver(want):
			want = s.pinned(have, want)
			if want.equal(have) && !upgraded {
				done.Said = fmt.Sprintf("store %d stays: a person went back to it, and nothing is newer than what they left", version)
				return done, nil
			}
		}
	}
	return s.bring(ctx, version, have, want, order)
}

// bring builds a version of want and puts it in force, or holds it back and puts
// one in force that differs in mandatory lists only.
func (s *Supply) bring(ctx context.Context, version uint64, have, want inputs, order *buildWanted) (done Settled, err error) {
	candidate, report, missing, err := s.build(ctx, want, order)
	done.Report, done.Missing = report, missing
	if err != nil {
		return done, err
	}
	s.step("judge")
	verdict, err := s.judge(ctx, candidate.path)
	if err != nil {
		return done, errors.Join(err, os.Remove(candidate.path))
	}
	if len(verdict.Reasons) == 0 {
		done.Version = candidate.version
		done.Said, err = s.publish(ctx, candidate, want)
		return done, errors.Join(err, s.dropHeld())
	}
	done.Held, err = s.holdBack(Held{Version: candidate.version, Base: version, Inputs: want, Ordered: order != nil, Content: starterContent(), gateReport: verdict})
	if err != nil {
		return done, err
	}
	done.Said = done.Held.String()
	return s.floor(ctx, have, want, done)
}

// starterContent identifies the starter lists of this binary. Tests upgrade it.
var starterContent = func() string { return blocklists.Starter()[0].Content() }

// upgraded reports whether the store in force was built of the starter lists of
// another binary, so that it is to be built again though no feed is new. A store
// built of feeds that the configuration does not name is left to who built it.
func (s *Supply) upgraded(version uint64) bool {
	if version == 0 || s.cfg.Box.Lists.Feeds == "" {
		return false
	}
	store, _, err := s.dir.OpenLastGood(s.key)
	return err == nil && store.Version() == version && !StarterOnly(store.Info()) && Outdated(store.Info())
}

// floor puts what is new in mandatory lists in force although the rest is held
// back: those lists never wait.
func (s *Supply) floor(ctx context.Context, have, want inputs, done Settled) (Settled, error) {
	before, _ := s.split(have)
	if now, _ := s.split(want); now.equal(before) {
		return done, nil
	}
	in := s.pinned(have, want)
	c, report, _, err := s.build(ctx, in, nil)
	if err != nil {
		return done, err
	}
	done.Report, done.Version = report, c.version
	said, err := s.publish(ctx, c, in)
	done.Said += "\nmandatory lists do not wait: " + said
	return done, err
}

// candidate is a store that has been built and is not in force.
type candidate struct {
	path    string
	version uint64
}

// build builds a store of some inputs beside those in force.
func (s *Supply) build(ctx context.Context, in inputs, order *buildWanted) (c candidate, report ListsReport, missing []string, err error) {
	feeds, missing := s.material(in)
	if err := s.keepsMandatory(missing); err != nil {
		return c, report, missing, err
	}
	if c.version, err = s.nextVersion(); err != nil {
		return c, report, missing, fmt.Errorf("category store: %w", err)
	}
	if err := os.MkdirAll(s.heldDir(), 0o700); err != nil {
		return c, report, missing, err
	}
	c.path = filepath.Join(s.heldDir(), fmt.Sprintf("store-%d.db", c.version))
	b := ListsBuild{Feeds: feeds, Out: c.path, Key: s.key, Version: c.version, Log: s.log, Workers: s.workers, Parsed: feedsFolder(s.cfg)}
	if order != nil {
		b.Progress, b.Refused = order.progress, order.refused
	}
	s.step("build")
	report, err = BuildLists(ctx, b)
	if err != nil {
		err = errors.Join(err, s.forgetBroken(ctx, report))
	}
	return c, report, missing, err
}

// keepsMandatory refuses a build that would drop a mandatory list which the
// store in force holds, only because its copy was lost.
func (s *Supply) keepsMandatory(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	store, _, err := s.dir.OpenLastGood(s.key)
	if errors.Is(err, categories.ErrNoStore) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("category store: %w", err)
	}
	for _, source := range store.Info().Sources {
		if source.Mandatory && slices.Contains(missing, source.Name) {
			return fmt.Errorf("mandatory feed %q: its copy is lost and a store without it is not built: fetch it first", source.Name)
		}
	}
	return nil
}

// forgetBroken drops copies that were good when they were fetched and can no
// longer be read, so that they are fetched anew.
func (s *Supply) forgetBroken(ctx context.Context, report ListsReport) (err error) {
	if ctx.Err() != nil {
		return nil
	}
	for i := range report.Feeds {
		f := &report.Feeds[i]
		if f.Err != nil && f.Feed.Remote.URL != "" && errors.Is(f.Err, blocklists.ErrNotAList) {
			err = errors.Join(err, s.cache.Forget(&f.Feed))
		}
	}
	return err
}

// nextVersion is a number above every version built here, held ones included.
func (s *Supply) nextVersion() (uint64, error) {
	next, err := s.dir.Next()
	if err != nil {
		return 0, err
	}
	if held, err := s.held(); err == nil && held != nil {
		next = max(next, held.Version+1)
	}
	return next, nil
}

// publish puts a candidate in force and has the running box take it up.
func (s *Supply) publish(ctx context.Context, c candidate, in inputs) (string, error) {
	if err := s.keepsFloor(c); err != nil {
		return "", err
	}
	path := s.dir.Path(c.version)
	s.step("write what it is built of")
	if err := writeJSON(manifestOf(path), in); err != nil {
		return "", fmt.Errorf("category store: %w", err)
	}
	s.step("move it to the versions")
	if err := os.Rename(c.path, path); err != nil {
		return "", fmt.Errorf("category store: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return "", fmt.Errorf("category store: %w", err)
	}
	s.step("publish")
	if err := s.dir.Publish(c.version); err != nil {
		return "", fmt.Errorf("category store: %w", err)
	}
	s.step("note its mandatory lists")
	if err := noteFloorOf(s.cfg.Box.Lists.Store, s.key, path); err != nil {
		return "", err
	}
	s.step("take up")
	s.log.Info("category store published", "version", c.version)
	said, err := s.takeUp(ctx)
	return fmt.Sprintf("store %d built; %s", c.version, said), err
}

// judge asks the gate about a candidate.
func (s *Supply) judge(ctx context.Context, path string) (gateReport, error) {
	now := time.Now()
	used, err := usedLastWeek(ctx, audit.In(s.cfg.Box.Data), now)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // a box that has not run yet
	}
	if err != nil {
		return gateReport{}, fmt.Errorf("update gate: what was used last week: %w", err)
	}
	g, err := newGate(s.cfg.School.Spec, s.cfg.School.Policy, s.cfg.Box.Lists.HoldAt, used)
	if err != nil {
		return gateReport{}, err
	}
	next, err := categories.Open(path, s.key)
	if err != nil {
		return gateReport{}, fmt.Errorf("update gate: %w", err)
	}
	defer next.Close()
	before, err := s.inForce()
	if err != nil {
		return gateReport{}, fmt.Errorf("update gate: %w", err)
	}
	report := g.judge(now, before, next)
	report.Reasons = append(report.Reasons, s.lost(before, next)...)
	return report, nil
}

// inForce is the store that a candidate is compared with.
func (s *Supply) inForce() (policy.Classifier, error) {
	store, _, err := s.dir.OpenLastGood(s.key)
	if errors.Is(err, categories.ErrNoStore) {
		return unlisted{}, nil
	}
	return store, err
}

// Build builds a store because a person said so, and puts it in force unless the
// gate holds it back.
func (s *Supply) Build(ctx context.Context, progress, refused io.Writer) (done Settled, err error) {
	err = s.locked(ctx, func() error {
		done, err = s.settle(ctx, &buildWanted{progress, refused})
		return errors.Join(err, s.sweep())
	})
	if err == nil && len(done.Missing) > 0 {
		done.Said += fmt.Sprintf("\nnot in it, since they were never fetched: %s (run schoolgate lists fetch)", strings.Join(done.Missing, ", "))
	}
	return done, err
}
