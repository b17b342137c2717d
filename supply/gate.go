package supply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"schoolgate/audit"
	"schoolgate/categories"
	"schoolgate/policy"
)

// gate looks at a new version of the store before it is put in force (F14). It
// asks the school's policy about the same hosts under both versions, and holds
// the new one back if it would newly block
//
//   - a host that must stay open: the never-block set, what the school's
//     exceptions allow, and, once there are real lists to compare with, its
//     approved and lesson lists
//   - more than a share of what the school used last week
//
// What a mandatory list newly blocks is never a reason to hold anything back.
type gate struct {
	real   *policy.Policy // as it is in force
	bare   *policy.Policy // judging by categories alone, so that a protected host that is suddenly listed is seen
	used   usage
	holdAt int // in a hundred

	must     []policy.HostRule // help-lines and the school's own services: judged by bare
	approved []policy.HostRule // judged by bare, once there are real lists to compare with
	plain    []policy.HostRule // network checks and updates, which lists rightly call what they are: judged by real
}

// fewHosts may be newly blocked without a hold: names are listed every day, and
// some of them were used.
const fewHosts = 3

// newGate prepares the school's policy and its protected hosts.
func newGate(spec policy.Spec, real *policy.Policy, holdAt int, used usage) (*gate, error) {
	g := &gate{real: real, holdAt: holdAt, used: used}
	for _, n := range spec.NeverBlock {
		if n.HelpLine {
			g.must = append(g.must, n.HostRule)
		} else {
			g.plain = append(g.plain, n.HostRule)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Lists)) {
		g.approved = append(g.approved, spec.Lists[name]...)
	}
	for _, x := range spec.Exceptions {
		if x.Verdict == policy.Allow {
			g.must = append(g.must, x.HostRule)
		}
	}
	bare, problems := policy.Compile(bareSpec(spec))
	if len(problems) > 0 {
		return nil, fmt.Errorf("update gate: the policy without its exceptions: %w", problems[0])
	}
	g.bare = bare
	return g, nil
}

// bareSpec is a policy without anything written about single hosts.
func bareSpec(spec policy.Spec) policy.Spec {
	spec.NeverBlock, spec.SafeHosts, spec.Exceptions, spec.Passes, spec.Lists = nil, nil, nil, nil, nil
	spec.Profiles = slices.Clone(spec.Profiles)
	for i := range spec.Profiles {
		p := &spec.Profiles[i]
		p.ApprovedOnly, p.Approved, p.Uncategorised = false, nil, policy.Allow
	}
	return spec
}

// Verdict of the gate: why a version is held back, or nothing.
type gateReport struct {
	Reasons  []string      `json:"reasons,omitempty"`
	MustOpen []gateFinding `json:"must_stay_open,omitempty"` // at most maxFindings
	// Of what was used, only numbers: the names are browsing, which is not for
	// the operator (privacy 6).
	UsedHosts    int            `json:"used_hosts"`
	BlockedHosts int            `json:"used_hosts_blocked"`
	Requests     int64          `json:"used_requests"`
	BlockedReqs  int64          `json:"used_requests_blocked"`
	Categories   map[string]int `json:"used_hosts_blocked_by_category,omitempty"`
	Partial      bool           `json:"partial,omitempty"` // the week was more than could be read in time
}

// gateFinding is a protected host that the new version would block by category.
type gateFinding struct {
	Host     string   `json:"host"`
	Category string   `json:"category"`
	Profiles []string `json:"profiles"`
}

func (f gateFinding) String() string {
	return fmt.Sprintf("%s as %s for %s", f.Host, f.Category, strings.Join(f.Profiles, ", "))
}

// maxFindings is how many protected hosts a report names.
const maxFindings = 50

// judge compares two versions.
func (g *gate) judge(now time.Time, before, after policy.Classifier) gateReport {
	r := gateReport{Partial: g.used.partial, Categories: map[string]int{}}
	approvedBy := g.bare
	if firstLists(before) { // each approved site that some list knows is new then, and none of them is blocked
		approvedBy = g.real
	}
	found := slices.Concat(
		protected(g.bare, g.must, now, before, after),
		protected(approvedBy, g.approved, now, before, after),
		protected(g.real, g.plain, now, before, after))
	if len(found) > 0 {
		r.Reasons = append(r.Reasons, fmt.Sprintf("it lists %d sites that must stay open, such as %s", len(found), found[0]))
		r.MustOpen = found[:min(len(found), maxFindings)]
	}
	g.lastWeek(&r, before, after)
	over := func(part, whole float64) bool { return whole > 0 && 100*part/whole > float64(g.holdAt) }
	if r.BlockedHosts >= fewHosts &&
		(over(float64(r.BlockedHosts), float64(r.UsedHosts)) || over(float64(r.BlockedReqs), float64(r.Requests))) {
		r.Reasons = append(r.Reasons, fmt.Sprintf("it would block %d of the %d sites used last week, %d of %d requests (%s)",
			r.BlockedHosts, r.UsedHosts, r.BlockedReqs, r.Requests, ranked(r.Categories)))
	}
	return r
}

func ranked(m map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d", k, m[k])
	}
	return strings.Join(keys[:min(len(keys), 5)], ", ")
}

// protected finds the hosts that must stay open and that some profile of the
// policy gets under the old version and not under the new one.
func protected(by *policy.Policy, hosts []policy.HostRule, now time.Time, before, after policy.Classifier) (found []gateFinding) {
	seen := map[string]bool{}
	for _, rule := range hosts {
		key := rule.Host.String() + rule.Path
		if seen[key] {
			continue
		}
		seen[key] = true
		f := gateFinding{Host: key}
		q := policy.Request{Door: policy.DoorDNS, Host: rule.Host, Path: rule.Path, Time: now}
		for _, p := range by.Profiles() {
			if c, ok := newlyBlocked(by, p.Name, q, before, after); ok {
				f.Category = c.String()
				f.Profiles = append(f.Profiles, p.Name)
			}
		}
		if len(f.Profiles) > 0 {
			found = append(found, f)
		}
	}
	return found
}

func (g *gate) lastWeek(r *gateReport, before, after policy.Classifier) {
	hosts, blocked := map[string]bool{}, map[string]bool{}
	for key, u := range g.used.hosts {
		host, err := policy.ParseHost(key.host)
		if err != nil {
			continue
		}
		hosts[key.host] = true
		r.Requests += u.count
		q := policy.Request{Door: policy.DoorDNS, Host: host, Time: u.last}
		c, ok := newlyBlocked(g.real, key.profile, q, before, after)
		if !ok {
			continue
		}
		r.BlockedReqs += u.count
		if !blocked[key.host] {
			blocked[key.host] = true
			r.Categories[c.String()]++
		}
	}
	r.UsedHosts, r.BlockedHosts = len(hosts), len(blocked)
}

// newlyBlocked reports whether a profile gets a host under the old version and
// not under the new one, and by which category.
func newlyBlocked(p *policy.Policy, profile string, q policy.Request, before, after policy.Classifier) (policy.Category, bool) {
	old, _, ok := (&policy.Snapshot{Policy: p, Lists: before}).DecideFor(profile, q)
	if !ok || old.Verdict == policy.Block {
		return policy.Uncategorised, false
	}
	next, _, ok := (&policy.Snapshot{Policy: p, Lists: after}).DecideFor(profile, q)
	if !ok || next.Verdict != policy.Block || next.Reason == policy.ReasonMandatory {
		return policy.Uncategorised, false
	}
	return next.Category, true
}

// firstLists reports whether what is in force holds no real lists yet.
func firstLists(before policy.Classifier) bool {
	store, ok := before.(*categories.Store)
	return !ok || StarterOnly(store.Info())
}

// unlisted is the store of a box that has none: it knows no host.
type unlisted struct{}

func (unlisted) Classify(policy.Host, string) policy.Facts { return policy.Facts{} }

// usage is what the school used: how often each profile got a host, and when last.
type usage struct {
	hosts   map[usageKey]usageCount
	partial bool
}

type usageKey struct{ host, profile string }

type usageCount struct {
	count int64
	last  time.Time
}

// Bounds of reading the last week from the journal. Past them the newest part
// is judged, and the report says so.
const (
	usageDays  = 7
	usageHosts = 200_000
	usageTime  = 30 * time.Second
)

// usedLastWeek reads what was allowed in the last seven days, the newest first.
func usedLastWeek(ctx context.Context, journal audit.Dir, now time.Time) (usage, error) {
	u := usage{hosts: map[usageKey]usageCount{}}
	bounded, cancel := context.WithTimeout(ctx, usageTime)
	defer cancel()
	q := audit.Query{
		From: now.AddDate(0, 0, -usageDays), To: now.Add(24 * time.Hour), Newest: true,
		Verdicts: []policy.Verdict{policy.Allow, policy.Warn},
	}
	for ev, err := range journal.Search(bounded, q) {
		var gap *audit.GapError
		switch {
		case errors.As(err, &gap):
			u.partial = true
			continue
		case err != nil && bounded.Err() != nil && ctx.Err() == nil:
			u.partial = true
			return u, nil
		case err != nil:
			return u, err
		case ev.Host == "":
			continue
		}
		if !u.add(&ev) {
			u.partial = true
			return u, nil
		}
	}
	return u, nil
}

// add counts an event; false is the bound of hosts.
func (u *usage) add(ev *policy.Event) bool {
	key := usageKey{ev.Host, ev.Profile}
	have, ok := u.hosts[key]
	if !ok {
		if len(u.hosts) >= usageHosts {
			return false
		}
		key = usageKey{strings.Clone(ev.Host), strings.Clone(ev.Profile)} // an event's texts share its frame's memory
	}
	have.count++
	if ev.Time.After(have.last) {
		have.last = ev.Time
	}
	u.hosts[key] = have
	return true
}
