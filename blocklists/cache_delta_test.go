package blocklists

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// contract is a publisher of a mandatory list with deltas, and a box that fetches it.
type contract struct {
	*testing.T
	server *testkit.FeedServer
	cache  *Cache
	from   *Fetcher
	feed   Feed
	clock  time.Time // of what is published
}

func newContract(t *testing.T) *contract {
	server := testkit.Feeds(t)
	c := &contract{T: t, server: server, cache: testCache(t), from: testFetcher(t, server), clock: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)}
	c.feed = remoteFeed("iwf", server.URL+"/whole")
	c.feed.Kind, c.feed.Category, c.feed.Format = Mandatory, policy.ChildAbuse, CSV
	c.feed.Columns = Columns{Host: "entry", Action: "action", Where: map[string][]string{"status": {"active"}}}
	c.feed.Remote.DeltaURL, c.feed.Remote.ChangeLimit = server.URL+"/delta", 1
	return c
}

// publish puts a text under a name, later than all before.
func (c *contract) publish(name, text string) {
	c.clock = c.clock.Add(time.Hour)
	c.publishAt(name, text, c.clock)
}

// publishAt publishes with a date; the zero time sends none.
func (c *contract) publishAt(name, text string, at time.Time) {
	etag := fmt.Sprintf("%q", fmt.Sprint(name, at.UnixNano(), len(text)))
	c.server.Handle(name, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "list.csv", at, strings.NewReader(text))
	})
}

func (c *contract) whole(entries ...string) string {
	text := "ref,entry,status\n"
	for i, e := range entries {
		text += fmt.Sprintf("%d,%s,active\n", i, e)
	}
	return text + "99,gone.example,removed\n"
}

// changes are written as +entry and -entry.
func (c *contract) changes(list ...string) string {
	text := "action,ref,entry\n"
	for i, e := range list {
		text += fmt.Sprintf("%s,%d,%s\n", map[byte]string{'+': "add", '-': "remove"}[e[0]], i, e[1:])
	}
	return text
}

// look is one look of the schedule.
func (c *contract) look() Outcome {
	return c.cache.Update(c.Context(), c.from, []Feed{c.feed}, UpdateOptions{OnlyDue: true})[0]
}

// holds wants just these entries in what builds read.
func (c *contract) holds(when string, want ...string) {
	c.Helper()
	var got []string
	copies, missing := c.cache.Read(c.feed, nil)
	if missing || len(copies) != 1 {
		c.Fatalf("%s: %d copies, missing %t", when, len(copies), missing)
	}
	_, err := Read(c.Context(), copies[0], func(e Entry) error {
		got = append(got, e.Host.String()+e.Path)
		return nil
	}, func(r Refusal) { c.Errorf("%s: %s", when, r) })
	if err != nil {
		c.Fatalf("%s: %v", when, err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// Between two whole lists the deltas are fetched alone, and the box has what the
// publisher has.
func TestDeltasBetweenWholeLists(t *testing.T) {
	c := newContract(t)
	c.publish("whole", c.whole("a.example", "https://b.example/x", "c.example"))
	c.publish("delta", c.changes())
	if got := c.look(); got.Err != nil || !got.Changed {
		t.Fatalf("the first look: %+v", got)
	}
	c.holds("the whole list", "a.example", "b.example/x", "c.example")

	c.publish("delta", c.changes("+d.example", `+"http://e.example/a,b"`, "-b.example/x"))
	got := c.look()
	if g := got.State.Good; got.Err != nil || !got.Changed || g.Added != 2 || g.Removed != 1 || g.Entries != 4 {
		t.Errorf("a delta: %+v, %+v", got, g)
	}
	c.holds("a delta", "a.example", "c.example", "d.example", "e.example/a,b")

	fresh := got.State.Fresh
	if got := c.look(); got.Err != nil || got.Changed || !got.State.Fresh.After(fresh) {
		t.Errorf("the same delta again: %+v", got)
	}
	c.publish("delta", c.changes("-d.example", "+b.example/x", "-c.example", "+c.example")) // of what changed since the last
	c.look()
	c.holds("the next delta", "a.example", "b.example/x", "c.example", "e.example/a,b")
	c.publish("delta", c.changes("-d.example", "+b.example/x", "+f.example")) // of all since, and more
	c.look()
	c.holds("one that says again what the last one said", "a.example", "b.example/x", "c.example", "e.example/a,b", "f.example")
	if n := c.server.Asked("whole"); n != 1 {
		t.Errorf("the whole list was asked for %d times, want once", n)
	}

	state, err := c.cache.State(&c.feed)
	if err != nil {
		t.Fatal(err)
	}
	state.Whole = time.Now().Add(-13 * time.Hour)
	if err := c.cache.SetState(&c.feed, state); err != nil {
		t.Fatal(err)
	}
	c.publish("whole", c.whole("a.example", "z.example"))
	c.look()
	c.holds("the whole list, when it is due, without deltas that are older", "a.example", "z.example")
	if err := c.cache.Sweep([]Feed{c.feed}, func(string, string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if got := c.look(); got.Err != nil || got.Changed {
		t.Errorf("after a sweep: %+v", got)
	}
}

// A delta that is not of the list at hand has the whole list fetched, at once.
func TestADeltaThatDoesNotFit(t *testing.T) {
	c := newContract(t)
	c.publish("whole", c.whole("a.example", "b.example"))
	c.publish("delta", c.changes())
	c.look()
	c.publish("whole", c.whole("a.example", "n.example")) // +m +n and -b -m, of which the first was missed
	c.publish("delta", c.changes("-b.example", "-m.example"))
	if got := c.look(); got.Err != nil || !got.Changed {
		t.Errorf("a delta was missed: %+v", got)
	}
	c.holds("a delta was missed", "a.example", "n.example")
	if n := c.server.Asked("whole"); n != 2 {
		t.Errorf("the whole list was asked for %d times, want twice", n)
	}
	for range 3 {
		if got := c.look(); got.Err != nil || got.Changed {
			t.Errorf("looked again: %+v", got)
		}
	}
	if n := c.server.Asked("whole"); n != 2 {
		t.Errorf("a delta that never fits has the whole list fetched again and again: %d times", n)
	}

	old := c.clock.Add(-90 * time.Minute)
	c.publishAt("delta", c.changes("-a.example", "+o.example"), old) // of before the whole list
	c.look()
	c.holds("a delta older than the whole list", "a.example", "n.example")

	undated := newContract(t)
	undated.publishAt("whole", c.whole("a.example"), time.Time{})
	undated.publishAt("delta", c.changes("+b.example", "-a.example"), time.Time{})
	undated.look()
	undated.holds("without dates, beside a whole list that has just come", "a.example", "b.example")
}

// After looks were missed the whole list is asked for.
func TestMissedLooksAtADelta(t *testing.T) {
	c := newContract(t)
	c.publish("whole", c.whole("a.example"))
	c.publish("delta", c.changes())
	c.look()
	state, err := c.cache.State(&c.feed)
	if err != nil {
		t.Fatal(err)
	}
	state.Tried = time.Now().Add(-3 * time.Hour)
	if err := c.cache.SetState(&c.feed, state); err != nil {
		t.Fatal(err)
	}
	c.publish("whole", c.whole("a.example", "missed.example"))
	c.publish("delta", c.changes("+last.example"))
	c.look()
	c.holds("after three hours", "a.example", "last.example", "missed.example")
}

// Whatever is sent as a delta, the copy stays and the state says why; the whole list
// is fetched all the same.
func TestAHostileDelta(t *testing.T) {
	c := newContract(t)
	c.publish("whole", c.whole("a.example", "b.example"))
	for _, hostile := range []struct{ name, want string }{
		{"html-200", "refused as a whole"}, {"half-gzip", "truncated"}, {"status-500", "500"}, {"redirect-private", "inside the school"},
		{"binary", "refused as a whole"}, {"zeros-10-gb", "refused as a whole"}, {"million-random-names", "refused as a whole"},
	} {
		c.cache = testCache(t)
		c.feed.Remote.DeltaURL = c.server.URL + "/" + hostile.name
		got := c.look()
		if got.Err == nil || !got.Changed || !strings.Contains(got.Err.Error(), "delta: ") || !strings.Contains(got.Err.Error(), hostile.want) {
			t.Errorf("%s: changed %t, %v; want the whole list, and %q", hostile.name, got.Changed, got.Err, hostile.want)
		}
		c.holds(hostile.name, "a.example", "b.example")
		if left, err := filepath.Glob(filepath.Join(c.cache.folder("iwf"), "*"+partEnd)); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", hostile.name, left, err)
		}
	}
}

// A mandatory list that a delta empties is read beside what it was, until a person
// has looked; what comes then is in force all the same.
func TestADeltaThatEmptiesAMandatoryList(t *testing.T) {
	c := newContract(t)
	c.feed.Remote.ChangeLimit = 0 // as by default
	var entries, gone []string
	for i := range 20 {
		entries = append(entries, fmt.Sprintf("bad-%d.example", i))
		gone = append(gone, "-"+entries[i])
	}
	c.publish("whole", c.whole(entries...))
	c.publish("delta", c.changes(append(gone[:15], "+new.example")...))
	got := c.look()
	if got.Err != nil || got.State.Beside == nil || !strings.Contains(got.State.Outcome, "stay in force") {
		t.Fatalf("Update = %+v", got.State)
	}
	if copies, _ := c.cache.Read(c.feed, nil); len(copies) != 2 {
		t.Errorf("read as %d copies, want the old and the new", len(copies))
	}
}

// Random publications, looks at random moments, deltas missed, repeated and late:
// after the next whole list the box has what the publisher has, and before it never
// lacks what an applied delta added.
func TestDeltasAgainstAModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	t.Log("seed 5, 1")
	c := newContract(t)
	published := map[string]bool{"a.example": true}
	list := func() (entries []string) {
		for e := range published {
			entries = append(entries, e)
		}
		return entries
	}
	c.publish("whole", c.whole(list()...))
	c.publish("delta", c.changes())
	c.look()
	var deltas []string
	for step := range 60 {
		var made, added []string
		for range 1 + rng.IntN(4) {
			e := fmt.Sprintf("site-%d.example/p", rng.IntN(30))
			if published[e] {
				delete(published, e)
				made = append(made, "-"+e)
			} else {
				published[e] = true
				made = append(made, "+"+e)
			}
		}
		for _, m := range made {
			if m[0] == '+' && published[m[1:]] {
				added = append(added, m[1:])
			}
		}
		deltas = append(deltas, c.changes(made...))
		c.publish("whole", c.whole(list()...))
		say := deltas[len(deltas)-1]
		late := rng.IntN(4) == 0
		if late {
			say = deltas[rng.IntN(len(deltas))]
		}
		c.publish("delta", say)
		if rng.IntN(3) == 0 {
			continue // nobody looked
		}
		if got := c.look(); got.Err != nil {
			t.Fatal(got.Err)
		}
		have := c.entries()
		for _, e := range added {
			if !late && !have[e] {
				t.Fatalf("step %d: %s was added by the delta that was looked at and is not there", step, e)
			}
		}
		if rng.IntN(5) == 0 {
			c.publish("delta", c.changes())
			if got := c.cache.Update(t.Context(), c.from, []Feed{c.feed}, UpdateOptions{})[0]; got.Err != nil {
				t.Fatal(got.Err)
			}
			if diff := cmp.Diff(published, c.entries()); diff != "" {
				t.Fatalf("step %d, after the whole list (-published +box):\n%s", step, diff)
			}
		}
	}
}

func (c *contract) entries() map[string]bool {
	c.Helper()
	got := map[string]bool{}
	copies, _ := c.cache.Read(c.feed, nil)
	for _, f := range copies {
		if _, err := Read(c.Context(), f, func(e Entry) error { got[e.Host.String()+e.Path] = true; return nil }, func(Refusal) {}); err != nil {
			c.Fatal(err)
		}
	}
	return got
}

// A kill before any step on the disk leaves one of the two lists.
func TestADeltaFailsAtEachStep(t *testing.T) {
	for n := 0; ; n++ {
		c := newContract(t)
		c.publish("whole", c.whole("a.example", "b.example"))
		c.publish("delta", c.changes())
		c.look()
		c.publish("delta", c.changes("+c.example", "-b.example"))
		steps := 0
		c.cache.step = func(string) error {
			if steps++; steps == n+1 {
				return os.ErrPermission
			}
			return nil
		}
		c.look()
		ended := steps <= n
		c.cache.step = func(string) error { return nil }
		if have := c.entries(); !have["a.example"] || have["b.example"] == have["c.example"] {
			t.Errorf("failed at step %d: %v", n, have)
		}
		c.look()
		c.holds(fmt.Sprintf("after step %d", n), "a.example", "c.example")
		if ended {
			if n < 8 {
				t.Errorf("only %d steps", n)
			}
			return
		}
	}
}
