package supply

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"schoolgate/blocklists"
	"schoolgate/configs"
)

// FeedStatus is how one feed stands.
type FeedStatus struct {
	Name      string
	Kind      blocklists.Kind
	Synthetic bool
	Fetched   bool // it has an address; else it is read from the disk or the binary
	Entries   int64
	Added     int64
	Removed   int64
	Fresh     time.Time // when its content was last known to be the publisher's; zero for never
	Age       time.Duration
	State     blocklists.Freshness // "" for a feed without an address
	Amber     time.Duration        // the ages at which a person is told (I2)
	Red       time.Duration
	Tried     time.Time
	Failures  int
	Outcome   string
}

// never is the age of what was never fetched.
const never = 100 * 365 * 24 * time.Hour

// Status is how the supply of lists stands.
type Status struct {
	Feeds []FeedStatus
	Held  *Held
}

// StatusOf reads how the supply of a box stands, from its files alone.
func StatusOf(cfg *configs.Config, now time.Time) (Status, error) {
	feeds, err := configuredFeeds(cfg)
	if err != nil {
		return Status{}, err
	}
	cache, err := blocklists.OpenCache(feedsFolder(cfg))
	if err != nil {
		return Status{}, err
	}
	status := Status{}
	for i := range feeds {
		status.Feeds = append(status.Feeds, feedStatus(cache, &feeds[i], now))
	}
	status.Held, err = readHeld(cfg.Box.Lists.Store)
	return status, err
}

func feedStatus(cache *blocklists.Cache, f *blocklists.Feed, now time.Time) FeedStatus {
	st := FeedStatus{Name: f.Name, Kind: f.Kind, Synthetic: f.Synthetic, Fetched: f.Remote.URL != "", Outcome: "not fetched: read from the disk"}
	if !st.Fetched {
		st.Fresh, st.Age = f.Date, now.Sub(f.Date)
		return st
	}
	limits := f.Supply()
	st.Amber, st.Red = limits.Amber, limits.Red
	state, err := cache.State(f)
	st.Tried, st.Failures, st.Outcome, st.Fresh = state.Tried, state.Failures, state.Outcome, state.Fresh
	if err != nil {
		st.Outcome = "its copy is damaged and will be fetched anew"
	}
	if st.Outcome == "" {
		st.Outcome = "never fetched"
	}
	st.Age = never
	if state.Good != nil && !state.Fresh.IsZero() {
		st.Age = max(0, now.Sub(state.Fresh))
		st.Entries, st.Added, st.Removed = state.Good.Entries, state.Good.Added, state.Good.Removed
	}
	st.State = f.Freshness(st.Age)
	return st
}

// attention are the fetched feeds in a state, the mandatory ones first.
func (s Status) attention(state blocklists.Freshness) (names []string) {
	for _, mandatory := range []bool{true, false} {
		for _, f := range s.Feeds {
			if f.State != state || (f.Kind == blocklists.Mandatory) != mandatory {
				continue
			}
			name := f.Name + " (" + ageOrNever(f.Age) + ")"
			if mandatory {
				name = "mandatory " + name
			}
			names = append(names, name)
		}
	}
	return names
}

func ageOrNever(d time.Duration) string {
	if d >= never {
		return "never fetched"
	}
	return Age(d)
}

// maxNamed is how many feeds a line names.
const maxNamed = 8

// Summary is how the feeds stand in a line, those that need attention by name.
func (s Status) Summary() string {
	fetched := 0
	for _, f := range s.Feeds {
		if f.Fetched {
			fetched++
		}
	}
	if fetched == 0 {
		return "no feed is fetched; lists are as old as their files"
	}
	say := []string{fmt.Sprintf("%d feeds fetched", fetched)}
	for _, state := range []blocklists.Freshness{blocklists.Red, blocklists.Amber} {
		if names := s.attention(state); len(names) > 0 {
			more := ""
			if len(names) > maxNamed {
				more = fmt.Sprintf(" and %d more", len(names)-maxNamed)
			}
			say = append(say, fmt.Sprintf("%s: %s%s", strings.ToUpper(string(state)), strings.Join(names[:min(len(names), maxNamed)], ", "), more))
		}
	}
	if len(say) == 1 {
		say = append(say, "all green")
	}
	if s.Held != nil {
		say = append(say, s.Held.String())
	}
	return strings.Join(say, "; ")
}

// Err says why the box is not ready by its lists: a red mandatory list, unless it is
// invented (I2); nil where it is.
func (s Status) Err() error {
	for _, f := range s.Feeds {
		if f.Kind == blocklists.Mandatory && f.State == blocklists.Red && !f.Synthetic {
			return fmt.Errorf("mandatory feed %q is red: %s", f.Name, f.Outcome)
		}
	}
	return nil
}

// Print shows the state of each feed, what needs attention first.
func (s Status) Print(w io.Writer) error {
	p := &printer{w: w}
	order := []blocklists.Freshness{blocklists.Red, blocklists.Amber, blocklists.Green, ""}
	feeds := slices.Clone(s.Feeds)
	slices.SortStableFunc(feeds, func(a, b FeedStatus) int {
		return slices.Index(order, a.State) - slices.Index(order, b.State)
	})
	p.table(func(row func(...any)) {
		row("FEED", "STATE", "AGE", "AMBER, RED AFTER", "ENTRIES", "CHANGE", "LAST FETCH")
		for _, f := range feeds {
			row(f.cells()...)
		}
	})
	if s.Held != nil {
		p.f("\n%s\n", s.Held)
		for _, m := range s.Held.MustOpen {
			p.f("  must stay open: %s\n", m)
		}
	}
	return p.err
}

func (f FeedStatus) cells() []any {
	name, state, change, entries := f.Name, strings.ToUpper(string(f.State)), "-", "-"
	if f.Kind == blocklists.Mandatory {
		name += " (mandatory)"
	}
	if f.Synthetic {
		name += " (synthetic: protects nobody)"
	}
	if f.Fetched && f.Age < never {
		entries, change = fmt.Sprint(f.Entries), fmt.Sprintf("+%d -%d", f.Added, f.Removed)
	}
	if !f.Fetched {
		return []any{name, "local", Age(f.Age), "-", entries, change, "-"}
	}
	outcome := f.Outcome
	if !f.Tried.IsZero() {
		outcome = f.Tried.Format("2 Jan 15:04") + " " + outcome
	}
	if f.Failures > 0 {
		outcome += fmt.Sprintf(" (failed %d times)", f.Failures)
	}
	return []any{name, state, ageOrNever(f.Age), Age(f.Amber) + ", " + Age(f.Red), entries, change, outcome}
}
