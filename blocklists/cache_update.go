package blocklists

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"schoolgate/internal/durable"
)

// UpdateOptions say how feeds are brought up to date.
type UpdateOptions struct {
	Force    bool // ask for everything, whatever copy is at hand
	Accept   bool // a person has looked: take a change beyond the limit
	OnlyDue  bool // of a feed with deltas ask for the whole list only when it is time to
	Progress func(done, total int64)
}

// Outcome is what became of one feed.
type Outcome struct {
	Feed    string
	Changed bool  // builds will read something else now
	Err     error // the last good copy stays in use
	State   State
}

// Update downloads what one address holds and makes it the new copy of the feeds
// that are read from it, if it is a list, is proven, and did not change beyond
// its limit. Whatever goes wrong, the copies stay as they were and the state
// says what it was. Call it under the lock.
func (c *Cache) Update(ctx context.Context, from *Fetcher, feeds []Feed, o UpdateOptions) []Outcome {
	if feeds[0].Remote.DeltaURL == "" {
		return c.updateWhole(ctx, from, feeds, o)
	}
	out := make([]Outcome, len(feeds))
	for i := range feeds {
		out[i] = c.updateByDelta(ctx, from, &feeds[i], o)
	}
	return out
}

func (c *Cache) updateWhole(ctx context.Context, from *Fetcher, feeds []Feed, o UpdateOptions) []Outcome {
	out := c.states(feeds)
	first := &feeds[0]
	p, err := c.part(first)
	if err != nil {
		return c.failed(ctx, feeds, out, err)
	}
	defer p.drop()
	limits := first.Supply()
	auth, err := readCredential(limits.AuthFile)
	if err != nil {
		return c.failed(ctx, feeds, out, err)
	}
	d := Download{
		auth: auth,
		URL:  limits.URL, MaxSize: limits.MaxSize, Timeout: limits.Timeout, Progress: o.Progress,
		Plain: limits.SHA256 != "" || limits.Minisign != "",
	}
	if !o.Force {
		d.Have = common(out)
	}
	got, err := from.Fetch(ctx, d, p)
	if err == nil && got.Unchanged {
		return c.unchanged(ctx, feeds, out)
	}
	if err == nil {
		err = p.settle()
	}
	if err == nil {
		err = limits.prove(p.Name(), got.SHA256, from.fromPublisher(ctx, limits, auth))
	}
	if err != nil {
		return c.failed(ctx, feeds, out, err)
	}
	for i := range feeds {
		now := time.Now()
		out[i] = c.take(ctx, &feeds[i], out[i].State, incoming{p.Name(), got, now, now, o.Accept})
	}
	return out
}

// Import takes a file from a folder or a USB stick as a download is taken: the
// same bounds, proofs and limits. Its age is that of the file.
func (c *Cache) Import(ctx context.Context, f *Feed, file string, o UpdateOptions) Outcome {
	feeds := []Feed{*f}
	out := c.states(feeds)
	limits := f.Supply()
	p, err := c.part(f)
	if err != nil {
		return c.failed(ctx, feeds, out, err)[0]
	}
	defer p.drop()
	got, written, err := copyIn(p, file, limits.MaxSize)
	if err == nil {
		err = p.settle()
	}
	if err == nil {
		err = limits.prove(p.Name(), got.SHA256, fromFolder(file, limits))
	}
	if err != nil {
		return c.failed(ctx, feeds, out, err)[0]
	}
	now := time.Now()
	if written.After(now) {
		written = now
	}
	out[0].State.Delta, out[0].State.Whole = nil, time.Time{} // the publisher's own are asked for next
	return c.take(ctx, f, out[0].State, incoming{p.Name(), got, now, written, o.Accept})
}

// copyIn copies a file under the bound of a download.
func copyIn(to io.Writer, file string, most int64) (d Downloaded, written time.Time, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return d, written, err
	}
	if !info.Mode().IsRegular() {
		return d, written, fmt.Errorf("%s is not a file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return d, written, err
	}
	defer f.Close()
	sum := sha256.New()
	d.Size, err = io.Copy(io.MultiWriter(to, sum), io.LimitReader(f, most+1))
	if err == nil && d.Size > most {
		err = ErrTooLarge
	}
	d.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return d, info.ModTime(), err
}

// fromFolder reads the small files that prove a list, which lie beside it: the
// signature as FILE.minisig, the checksums under the name in their address.
func fromFolder(file string, r Remote) beside {
	return func(address string, most int64) ([]byte, error) {
		name := file + ".minisig"
		if address == r.SHA256 {
			name = filepath.Join(filepath.Dir(file), filepath.Base(address))
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, most))
	}
}

func (c *Cache) states(feeds []Feed) []Outcome {
	out := make([]Outcome, len(feeds))
	for i := range feeds {
		out[i].Feed = feeds[i].Name
		out[i].State, _ = c.State(&feeds[i]) // damaged: as if never fetched, so that everything is asked for
	}
	return out
}

// common is what the publisher may be asked "only if newer than" with: all feeds
// of the address must have the same content.
func common(out []Outcome) (v Validators) {
	for i := range out {
		have := out[i].State.Good
		switch {
		case have == nil || out[i].State.Beside != nil:
			return Validators{}
		case i == 0:
			v = have.Validators
		case have.SHA256 != out[0].State.Good.SHA256:
			return Validators{}
		}
	}
	return v
}

// failed notes why nothing was taken. A stop of our own is no failure.
func (c *Cache) failed(ctx context.Context, feeds []Feed, out []Outcome, err error) []Outcome {
	for i := range out {
		out[i] = c.refused(ctx, &feeds[i], out[i].State, err)
	}
	return out
}

func (c *Cache) refused(ctx context.Context, f *Feed, s State, err error) Outcome {
	if ctx.Err() != nil {
		return Outcome{Feed: f.Name, State: s, Err: err}
	}
	now := time.Now()
	s.Tried, s.Failures, s.After = now, s.Failures+1, time.Time{}
	s.Outcome = shortened(err.Error())
	var status *StatusError
	switch {
	case errors.As(err, &status) && status.After > 0:
		s.After = now.Add(status.After)
	case errors.Is(err, ErrChange): // it waits for a person, who does not come sooner for being asked often
		s.After = now.Add(min(f.Supply().Interval, maxRetryAfter-time.Hour))
	}
	return Outcome{Feed: f.Name, State: s, Err: errors.Join(err, c.SetState(f, s))}
}

// maxOutcome bounds what is kept of an error, in bytes; some of it may be the
// publisher's own words.
const maxOutcome = 500

func shortened(text string) string {
	if len(text) > maxOutcome {
		text = text[:maxOutcome] + "…"
	}
	return fmt.Sprintf("%+q", text)[1 : len(fmt.Sprintf("%+q", text))-1]
}

func (c *Cache) unchanged(ctx context.Context, feeds []Feed, out []Outcome) []Outcome {
	for i := range out {
		now := time.Now()
		out[i] = c.settled(&feeds[i], out[i].State, now, now, "unchanged", false)
	}
	return out
}

func (c *Cache) settled(f *Feed, s State, now, fresh time.Time, outcome string, changed bool) Outcome {
	s.Tried, s.Outcome, s.Failures, s.After = now, outcome, 0, time.Time{}
	if fresh.After(s.Fresh) || changed {
		s.Fresh = fresh
	}
	err := c.SetState(f, s)
	return Outcome{Feed: f.Name, State: s, Changed: changed && err == nil, Err: err}
}

// incoming is a file that may become a feed's next copy.
type incoming struct {
	file   string
	got    Downloaded
	now    time.Time
	fresh  time.Time // when it was surely what the publisher has
	accept bool
}

// take judges a file and keeps it as the feed's copy, or says why not.
func (c *Cache) take(ctx context.Context, f *Feed, s State, in incoming) Outcome {
	if s.Good != nil && s.Good.SHA256 == in.got.SHA256 {
		again := *s.Good
		again.Validators = in.got.Validators
		s.Good = &again
		changed := s.Beside != nil // the publisher is back at the copy we have
		s.Beside = nil
		return c.settled(f, s, in.now, in.fresh, "unchanged", changed)
	}
	diff, err := c.difference(ctx, f, s, in.file)
	if err != nil {
		return c.refused(ctx, f, s, err)
	}
	next := &Copy{
		SHA256: in.got.SHA256, Size: in.got.Size, Entries: diff.after, Added: diff.added, Removed: diff.removed,
		Fetched: in.now, Validators: in.got.Validators,
	}
	beyond := diff.beyond(f.Supply().ChangeLimit)
	if beyond != "" && !in.accept && f.Kind != Mandatory {
		err := fmt.Errorf("feed %q: %w: %s; look at it and, if it is right, fetch it with --accept-change", f.Name, ErrChange, beyond)
		return c.refused(ctx, f, s, err)
	}
	if err := c.hold(f, in.file, next); err != nil {
		return c.refused(ctx, f, s, err)
	}
	lost := f.Kind == Mandatory && !in.accept && s.Good != nil && diff.before > 0 && diff.removed >= fewEntries &&
		float64(diff.removed)/float64(diff.before) > f.Supply().ChangeLimit
	if lost {
		changed := s.Beside == nil || s.Beside.SHA256 != next.SHA256
		s.Beside = next
		outcome := fmt.Sprintf("%d of its %d entries are gone: they stay in force beside the new ones until fetched with --accept-change", diff.removed, diff.before)
		return c.settled(f, s, in.now, in.fresh, outcome, changed)
	}
	s.Good, s.Beside = next, nil
	return c.settled(f, s, in.now, in.fresh, "updated", true)
}

// difference is what a file changes against the good copy, or, for a first copy,
// against what is known of the feed without one.
func (c *Cache) difference(ctx context.Context, f *Feed, s State, file string) (change, error) {
	seed := maphash.MakeSeed()
	vouched := 0
	after, err := readContents(ctx, *f, file, seed, func(e Entry) {
		if s.Good == nil && f.accuses(e) {
			vouched++
		}
	})
	if err != nil {
		return change{}, err
	}
	if s.Good == nil {
		diff := compare(beforeFirst(ctx, f, seed), after)
		diff.first = f.first(diff, vouched)
		return diff, ctx.Err()
	}
	before, err := readContents(ctx, *f, c.Path(f, s.Good.SHA256), seed, nil)
	if err != nil && ctx.Err() != nil {
		return change{}, err
	}
	// A copy at hand that can no longer be read is no reason to keep it.
	return compare(before, after), nil
}

// hold gives the file its name among the feed's copies, durably. It is on the
// disk already.
func (c *Cache) hold(f *Feed, file string, next *Copy) error {
	if err := os.MkdirAll(c.folder(f.Name), 0o700); err != nil {
		return err
	}
	if err := c.step("link the copy"); err != nil {
		return err
	}
	path := c.Path(f, next.SHA256)
	err := os.Link(file, path)
	if errors.Is(err, fs.ErrExist) { // held before, and perhaps damaged since
		err = errors.Join(os.Remove(path), os.Link(file, path))
	}
	if err != nil {
		return err
	}
	if err := c.step("sync the folder"); err != nil {
		return err
	}
	return durable.SyncDir(c.folder(f.Name))
}
