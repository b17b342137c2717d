package blocklists

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// A publisher may give a whole list at intervals and, between, a file of what has
// been added and removed. No such file says which list it was made of: one may have
// been missed, come twice or late, or tell of everything since the whole list. So a
// delta never decides alone:
//
//   - what it adds is in force at once, whatever it was made of
//   - what it removes is removed only from a list that it fits: where it removes
//     what the list never had, the whole list is fetched, and that is the truth
//   - one that is no newer than the whole list says nothing new; where the dates do
//     not tell and the whole list has only just come, only what it adds is taken
//   - the whole list is asked for at its own interval all the same, and at once
//     after looks were missed or failed
//
// What comes of it is kept as a copy like any other: a whole list.

// Delta is the file of changes that the good copy has taken in last.
type Delta struct {
	SHA256 string `json:"sha256"`
	Validators
}

// maxMissed is how many intervals may pass between two looks at a delta before the
// whole list is asked for, since one may have come and gone.
const maxMissed = 2

// updateByDelta brings a feed that has deltas up to date. Whatever goes wrong with
// a delta, the copy stays as it was.
func (c *Cache) updateByDelta(ctx context.Context, from *Fetcher, f *Feed, o UpdateOptions) Outcome {
	d := &deltaUpdate{cache: c, from: from, feed: f, options: o, out: c.states([]Feed{*f})[0]}
	if !o.OnlyDue || d.out.State.wholeDue(f, time.Now()) {
		d.whole(ctx)
	}
	if d.out.Err == nil && !d.delta(ctx) { // it does not fit
		d.options.Force = true
		d.whole(ctx)
		if d.out.Err == nil {
			d.fresh = true // even if it is the list that we had
			d.delta(ctx)
		}
	}
	return d.out
}

// wholeDue reports whether the whole list is to be asked for, and not only what
// changed in it.
func (s State) wholeDue(f *Feed, now time.Time) bool {
	limits := f.Supply()
	since := func(t time.Time, most time.Duration) bool { return t.IsZero() || t.After(now) || now.Sub(t) >= most }
	return s.Good == nil || s.Beside != nil || s.URL != f.Remote.URL || s.Failures > 0 ||
		since(s.Whole, limits.Interval) || since(s.Tried, maxMissed*limits.DeltaInterval)
}

// deltaUpdate is one look at a feed with deltas.
type deltaUpdate struct {
	cache   *Cache
	from    *Fetcher
	feed    *Feed
	options UpdateOptions
	out     Outcome
	fresh   bool // the copy is a whole list that has just come
}

// whole asks for the whole list.
func (d *deltaUpdate) whole(ctx context.Context) {
	changed := d.out.Changed
	d.out = d.cache.updateWhole(ctx, d.from, []Feed{*d.feed}, d.options)[0]
	if d.out.Err != nil {
		d.out.Changed = changed
		return
	}
	d.fresh = d.out.Changed
	d.out.Changed = d.out.Changed || changed
	d.out.State.Whole = time.Now() // written with what becomes of the delta
	if d.fresh {
		d.out.State.Delta = nil
	}
}

// delta asks for the changes and takes them into the good copy. It reports false,
// and has taken nothing, if they are not of the list at hand.
func (d *deltaUpdate) delta(ctx context.Context) (fits bool) {
	s := d.out.State
	changes, err := d.cache.part(d.feed)
	if err != nil {
		return d.failed(ctx, err)
	}
	defer changes.drop()
	got, err := d.fetch(ctx, changes)
	switch {
	case err != nil:
		return d.failed(ctx, err)
	case got.Unchanged, s.Delta != nil && !d.fresh && s.Delta.SHA256 == got.SHA256:
		return d.settled("unchanged")
	}
	later, dated := laterThan(got.LastModified, s.Good.LastModified)
	if dated && !later {
		d.out.State.Delta = &Delta{got.SHA256, got.Validators}
		return d.settled("unchanged: the delta is in the whole list already")
	}
	a, err := d.apply(ctx, changes.Name(), s.Beside != nil || d.fresh && !dated)
	if err != nil {
		return d.failed(ctx, err)
	}
	defer a.drop()
	if a.unfit > 0 && !d.fresh {
		return false
	}
	if err := d.cache.hold(d.feed, changes.Name(), &Copy{SHA256: got.SHA256}); err != nil {
		return d.failed(ctx, err)
	}
	now, changed := time.Now(), d.out.Changed
	in := incoming{a.Name(), Downloaded{Validators: s.Good.Validators, Size: a.size, SHA256: a.sum}, now, now, d.options.Accept}
	d.out = d.cache.take(ctx, d.feed, s, in)
	d.out.Changed = d.out.Changed || changed
	if d.out.Err == nil {
		d.out.State.Delta = &Delta{got.SHA256, got.Validators}
		d.out.Err = d.cache.SetState(d.feed, d.out.State)
	}
	return true
}

// fetch downloads the delta and proves it as the whole list is proven.
func (d *deltaUpdate) fetch(ctx context.Context, to *part) (Downloaded, error) {
	r := d.feed.Supply()
	auth, err := readCredential(r.AuthFile)
	if err != nil {
		return Downloaded{}, err
	}
	auth = r.credentialFor(r.DeltaURL, auth)
	r.URL = r.DeltaURL // the signature lies beside it
	ask := Download{URL: r.URL, MaxSize: r.MaxSize, Timeout: r.Timeout, Plain: r.SHA256 != "" || r.Minisign != "", auth: auth}
	if have := d.out.State.Delta; have != nil && !d.fresh && !d.options.Force {
		ask.Have = have.Validators
	}
	got, err := d.from.Fetch(ctx, ask, to)
	if err != nil || got.Unchanged {
		return got, err
	}
	if err := to.settle(); err != nil {
		return got, err
	}
	return got, r.prove(to.Name(), got.SHA256, d.from.fromPublisher(ctx, r, auth))
}

func (d *deltaUpdate) failed(ctx context.Context, err error) (fits bool) {
	changed := d.out.Changed
	d.out = d.cache.refused(ctx, d.feed, d.out.State, fmt.Errorf("delta: %w", err))
	d.out.Changed = changed
	return true
}

// settled notes that the publisher has nothing newer than the copy.
func (d *deltaUpdate) settled(outcome string) (fits bool) {
	now, changed := time.Now(), d.out.Changed
	if changed {
		outcome = d.out.State.Outcome
	}
	d.out = d.cache.settled(d.feed, d.out.State, now, now, outcome, false)
	d.out.Changed = changed
	return true
}

// laterThan compares two dates of HTTP; known is false where one is missing.
func laterThan(a, b string) (later, known bool) {
	x, errX := http.ParseTime(a)
	y, errY := http.ParseTime(b)
	return x.After(y), errX == nil && errY == nil
}

// applied is a whole list written of a copy and its changes.
type applied struct {
	*part
	size  int64
	sum   string
	unfit int // entries to be removed that neither the copy has nor the last delta had removed
}

// apply writes the good copy with its changes as a list of its own.
func (d *deltaUpdate) apply(ctx context.Context, changes string, addsOnly bool) (a applied, err error) {
	s := d.out.State
	f := *d.feed
	f.Path, f.Delta = d.cache.Path(d.feed, s.Good.SHA256), changes
	scan := newScan(ctx, &f, nil, func(Refusal) {})
	removed, added, err := scan.delta()
	if err != nil {
		return a, err
	}
	if a.part, err = d.cache.part(d.feed); err != nil {
		return a, err
	}
	defer func() {
		if err != nil {
			a.drop()
		}
	}()
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(a.part, sum))
	missing, err := scan.rewrite(w, removed, added, addsOnly)
	err = errors.Join(err, w.Flush(), ctx.Err())
	if err == nil {
		err = a.settle()
	}
	if err != nil {
		return a, err
	}
	info, err := os.Stat(a.Name())
	if err != nil {
		return a, err
	}
	before := d.removedBefore(ctx)
	for place := range missing {
		if !before[place] {
			a.unfit++
		}
	}
	a.size, a.sum = info.Size(), hex.EncodeToString(sum.Sum(nil))
	return a, nil
}

// removedBefore is what the last delta removed; one that tells of everything since
// the whole list says it again.
func (d *deltaUpdate) removedBefore(ctx context.Context) map[place]bool {
	if d.out.State.Delta == nil {
		return nil
	}
	f := *d.feed
	f.Delta = d.cache.Path(d.feed, d.out.State.Delta.SHA256)
	removed, _, err := newScan(ctx, &f, nil, func(Refusal) {}).delta()
	if err != nil {
		return nil // then the whole list is fetched once more
	}
	return removed
}
