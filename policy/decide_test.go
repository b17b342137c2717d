package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Each step beats the ones below it (DESIGN.md, decision order).
func TestDecide(t *testing.T) {
	s := snapshot(t)
	later := tuesday.Add(2 * time.Hour)
	club := time.Date(2026, time.March, 3, 15, 30, 0, 0, time.UTC)
	for _, test := range []struct {
		promise string
		client  netip.Addr
		door    Door
		ask     string
		at      time.Time
		want    string // verdict reason category rule severity
	}{
		{"a mandatory list", year5, DoorDNS, "illegal.example", tuesday, "block mandatory child_abuse  5"},
		{"a mandatory list, for staff, whom no alert rule names", teacher, DoorDNS, "illegal.example", tuesday, "block mandatory child_abuse  5"},
		{"a mandatory list beats quarantine", cutoff, DoorDNS, "illegal.example", tuesday, "block mandatory child_abuse  5"},
		{"a listed page", teacher, DoorHTTP, "hosting.example/bad", tuesday, "block mandatory child_abuse  5"},
		{"the page beside it", year5, DoorHTTP, "hosting.example/good", tuesday, "allow uncategorised  policy.yaml:21 0"},
		{"a page nobody can see: over-block declared (I3)", year5, DoorTLS, "hosting.example", tuesday, "block mandatory child_abuse policy.yaml:20 1"},
		{"a page nobody can see: gap declared (I3)", teacher, DoorTLS, "hosting.example", tuesday, "warn uncategorised  policy.yaml:31 0"},

		{"a help-line beats quarantine", cutoff, DoorDNS, "help.example", tuesday, "allow never_block helpline policy.yaml:70 0"},
		{"a help-line beats a missing signature", signer, DoorTLS, "www.help.example", tuesday, "allow never_block helpline policy.yaml:70 0"},
		{"a help-line beats approved-only", nursery, DoorTLS, "help.example", tuesday, "allow never_block helpline policy.yaml:70 0"},
		{"an update host beats its category", year5, DoorDNS, "cdn.updates.example", tuesday, "allow never_block infrastructure policy.yaml:71 0"},
		{"a captive check that is a page opens no name", nursery, DoorDNS, "www.search.example", tuesday, "block not_approved  policy.yaml:10 0"},
		{"a captive check opens its page", nursery, DoorHTTP, "www.search.example/gen_204", tuesday, "allow never_block infrastructure policy.yaml:72 0"},
		{"a captive check opens no other page", nursery, DoorHTTP, "www.search.example/search?q=x", tuesday, "block not_approved  policy.yaml:10 0"},
		{"a captive check opens no tunnel", nursery, DoorCONNECT, "www.search.example", tuesday, "block not_approved  policy.yaml:10 0"},
		{"a captive check opens no other name", nursery, DoorDNS, "below.www.search.example", tuesday, "block not_approved  policy.yaml:10 0"},
		{"a captive check on www opens no bare name", nursery, DoorDNS, "search.example", tuesday, "block not_approved  policy.yaml:10 0"},

		{"quarantine beats an exception", cutoff, DoorDNS, "opened.example", tuesday, "block quarantine  policy.yaml:0 4"},
		{"a missing signature beats a pass", signer, DoorDNS, "pass.example", tuesday, "block unsigned  policy.yaml:0 4"},

		{"a pass beats its category", year5, DoorDNS, "pass.example", tuesday, "allow pass  policy.yaml:60 0"},
		{"a pass is for its class", nursery, DoorDNS, "pass.example", tuesday, "block not_approved pornography policy.yaml:10 4"},
		{"a pass ends", year5, DoorDNS, "pass.example", later, "block category pornography policy.yaml:22 4"},

		{"an exception beats a category", year5, DoorDNS, "opened.example", tuesday, "allow exception  policy.yaml:50 0"},
		{"an exception beats approved-only", nursery, DoorDNS, "opened.example", tuesday, "allow exception  policy.yaml:50 0"},
		{"an exception blocks", year5, DoorDNS, "shut.example", tuesday, "block exception education policy.yaml:51 0"},
		{"an exception for a profile beats one for everyone", year5, DoorDNS, "school.example", tuesday, "block exception  policy.yaml:54 0"},
		{"an exception for a group speaks of its pages", year5, DoorHTTP, "school.example/games/1", tuesday, "block exception  policy.yaml:54 0"},
		{"an exception for a group is silent on other pages", year5, DoorHTTP, "school.example/", tuesday, "allow exception  policy.yaml:53 0"},
		{"an exception for everyone", teacher, DoorDNS, "school.example", tuesday, "block exception  policy.yaml:52 0"},
		{"address and device are one client: deny at a tie", year5, DoorDNS, "tablet.example", tuesday, "block exception  policy.yaml:56 0"},
		{"address and device are one client: the nearer host", year5, DoorDNS, "near.tablet.example", tuesday, "allow exception  policy.yaml:57 0"},

		{"approved beats a category", nursery, DoorDNS, "www.first.example", tuesday, "allow approved  policy.yaml:40 0"},
		{"an approved list of a profile that is not held to it (R12)", year5, DoorDNS, "lesson.example", tuesday, "allow approved  policy.yaml:41 0"},
		{"an approved list is of its profile", teacher, DoorDNS, "lesson.example", tuesday, "warn uncategorised  policy.yaml:31 0"},
		{"approved with www is approved without", nursery, DoorDNS, "first.example", tuesday, "allow approved  policy.yaml:40 0"},
		{"approved with www approves no neighbour", nursery, DoorDNS, "other.first.example", tuesday, "block not_approved  policy.yaml:10 0"},
		{"approved-only beats an allowed category", nursery, DoorDNS, "learn.example", tuesday, "block not_approved  policy.yaml:10 0"},
		{"approved-only says what it was", nursery, DoorDNS, "porn.example", tuesday, "block not_approved pornography policy.yaml:10 4"},
		{"an unknown client is the strictest pupil", unknown, DoorDNS, "learn.example", tuesday, "block not_approved  policy.yaml:10 0"},

		{"a category", year5, DoorDNS, "porn.example", tuesday, "block category pornography policy.yaml:22 4"},
		{"a category, for staff, whom no alert rule names", teacher, DoorDNS, "porn.example", tuesday, "block category pornography policy.yaml:32 0"},
		{"a category in lessons", year5, DoorDNS, "games.example", tuesday, "block category gaming policy.yaml:23 2"},
		{"a category in the club", year5, DoorDNS, "games.example", club, "allow category gaming policy.yaml:24 0"},
		{"warn beats allow", year5, DoorDNS, "news.example", tuesday, "warn category news policy.yaml:25 0"},
		{"an except", year5, DoorDNS, "bodies.example", tuesday, "allow except sex_education policy.yaml:27 0"},
		{"an except outranks only what it names", year5, DoorDNS, "bodies-and-games.example", tuesday, "block category pornography policy.yaml:22 4"},
		{"an except is of its profile", teacher, DoorDNS, "bodies.example", tuesday, "block category pornography policy.yaml:32 0"},
		{"an allowed category", year5, DoorDNS, "learn.example", tuesday, "allow category education policy.yaml:26 0"},
		{"a category with no rule", year5, DoorDNS, "sport.example", tuesday, "allow default sport policy.yaml:20 0"},
		{"on no list", year5, DoorDNS, "nowhere.example", tuesday, "allow uncategorised  policy.yaml:21 0"},
		{"on no list, for staff", teacher, DoorDNS, "nowhere.example", tuesday, "warn uncategorised  policy.yaml:31 0"},
	} {
		r, trace := ask(t, s, test.client, test.door, test.ask, test.at)
		got := fmt.Sprintf("%s %s %s %s %d", r.Verdict, r.Reason, r.Category, r.Rule, r.Severity)
		want := strings.Replace(test.want, "policy.yaml:0", "", 1)
		if got != want {
			t.Errorf("%s: Decide(%s) = %q, want %q", test.promise, test.ask, got, want)
		}
		if last := trace[len(trace)-1]; last.Reason != r.Reason || last.Rule != r.Rule || !strings.HasPrefix(last.Said, r.Verdict.String()) {
			t.Errorf("%s: Explain(%s) ends with %+v, want the step of %q", test.promise, test.ask, last, got)
		}
	}
}

func TestTraceTellsTheWholeWay(t *testing.T) {
	_, trace := ask(t, snapshot(t), teacher, DoorTLS, "hosting.example", tuesday)
	var way []string
	for _, step := range trace {
		way = append(way, step.Reason.String())
		if step.Said == "" {
			t.Errorf("step %s says nothing", step.Reason)
		}
	}
	const want = "mandatory never_block quarantine pass exception approved category uncategorised"
	if got := strings.Join(way, " "); got != want {
		t.Errorf("trace = %s, want %s", got, want)
	}
	if !strings.Contains(trace[0].Said, "gap") {
		t.Errorf("trace begins with %q, want the declared gap (I3)", trace[0].Said)
	}
}

func TestSafeHost(t *testing.T) {
	s := snapshot(t)
	for _, test := range []struct {
		promise string
		client  netip.Addr
		ask     string
		want    string
	}{
		{"search is strict where the profile says nothing", year5, "www.search.example", "safe.search.example"},
		{"search as it is, for staff", teacher, "www.search.example", ""},
		{"video in Restricted Mode", year5, "video.example", "strict.video.example"},
		{"video in the milder mode, for staff who are warned", teacher, "video.example", "mild.video.example"},
		{"what is refused is not rewritten", nursery, "video.example", ""},
		{"what is below is not rewritten", year5, "cdn.video.example", ""},
	} {
		if r, _ := ask(t, s, test.client, DoorDNS, test.ask, tuesday); r.Safe.String() != test.want {
			t.Errorf("%s: Safe(%s) = %q, want %q", test.promise, test.ask, r.Safe, test.want)
		}
	}
}

// Inspect asks a door to look at the URL: only where that can change anything.
func TestInspect(t *testing.T) {
	s := snapshot(t)
	for _, test := range []struct {
		promise string
		ask     string
		want    bool
	}{
		{"pages on a mandatory list", "hosting.example", true},
		{"pages on any list", "learn.example", true},
		{"the page is known", "learn.example/a", false},
		{"a help-line is never looked into", "help.example", false},
		{"the school's own rule for pages, taken for the host", "school.example", true},
		{"the same, with the page known", "school.example/games/1", false},
		{"the school's own rule for a whole host", "shut.example", false},
		{"no pages on lists", "news.example", false},
		{"the whole host is on a mandatory list", "illegal.example", false},
	} {
		if r, _ := ask(t, s, year5, DoorTLS, test.ask, tuesday); r.Inspect != test.want {
			t.Errorf("%s: Inspect(%s) = %v, want %v", test.promise, test.ask, r.Inspect, test.want)
		}
	}
}

// The filter fails closed.
func TestNothingToDecideBy(t *testing.T) {
	full := snapshot(t)
	q := Request{Door: DoorDNS, Client: teacher, Host: host(t, "learn.example"), Time: tuesday}
	for promise, s := range map[string]*Snapshot{
		"nil snapshot": nil, "zero snapshot": {},
		"no policy":   {Lists: full.Lists, Clients: full.Clients},
		"no store":    {Policy: full.Policy, Clients: full.Clients},
		"no clients":  {Policy: full.Policy, Lists: full.Lists},
		"zero policy": {Policy: &Policy{}, Lists: full.Lists, Clients: full.Clients},
	} {
		r, trace := s.Explain(q)
		if r.Verdict != Block || r.Reason != ReasonNotReady || s.Decide(q).Verdict != Block || len(trace) != 1 {
			t.Errorf("%s: Decide = %s by %s, trace %v; want block by not_ready", promise, r.Verdict, r.Reason, trace)
		}
	}
	broken := &Snapshot{Policy: full.Policy, Lists: fixed{Unreadable: true}, Clients: full.Clients}
	help := Request{Door: DoorDNS, Client: teacher, Host: host(t, "help.example"), Time: tuesday}
	if r, trace := broken.Explain(help); r.Verdict != Block || r.Reason != ReasonNotReady || !strings.Contains(trace[0].Said, "cannot be read") {
		t.Errorf("broken store: Decide = %s by %s, want block by not_ready (F5, F6)", r.Verdict, r.Reason)
	}
	var e *Engine
	if r := e.Decide(q); r.Verdict != Block {
		t.Errorf("nil engine: Decide = %s, want block", r.Verdict)
	}
	e = new(Engine)
	if r := e.Decide(q); r.Verdict != Block {
		t.Errorf("zero engine: Decide = %s, want block", r.Verdict)
	}
	e.Swap(full)
	if r := e.Decide(q); r.Verdict != Allow || r.PolicyVersion != "v1" || r.StoreVersion != 7 {
		t.Errorf("engine: Decide = %s under %s and %d, want allow under v1 and 7", r.Verdict, r.PolicyVersion, r.StoreVersion)
	}
	if r := e.Decide(Request{Client: teacher, Time: tuesday}); r.Verdict != Block || r.Reason != ReasonBadHost {
		t.Errorf("no host: Decide = %s by %s, want block by bad_host", r.Verdict, r.Reason)
	}
}

func TestDecideFor(t *testing.T) {
	s := snapshot(t)
	q := Request{Door: DoorCheck, Client: teacher, Host: host(t, "porn.example"), Time: tuesday}
	r, trace, ok := s.DecideFor("ks2", q)
	if !ok || r.Verdict != Block || r.Band() != KS2 || r.Client.Group != "" || len(trace) == 0 {
		t.Errorf("DecideFor(ks2) = %s for %s of group %q, %v", r.Verdict, r.Band(), r.Client.Group, ok)
	}
	if _, _, ok := s.DecideFor("ks3", q); ok {
		t.Error("DecideFor(ks3) answers, want no such profile")
	}
	if _, _, ok := (*Snapshot)(nil).DecideFor("ks2", q); ok {
		t.Error("DecideFor on nothing answers")
	}
}

func TestDecideAllocates(t *testing.T) {
	s := snapshot(t)
	for raw := range benchmarkAsks {
		u, _ := ParseURL(raw)
		q := Request{Door: DoorDNS, Client: year5, Host: u.Host, Path: u.Path, Time: tuesday}
		if raw == "first.example" {
			q.Client = nursery
		}
		s.Lists = fixed(s.Lists.Classify(q.Host, q.Path))
		if got := testing.AllocsPerRun(100, func() { s.Decide(q) }); got != 0 {
			t.Errorf("Decide(%s) allocates %v times, want 0", raw, got)
		}
		s.Lists = snapshot(t).Lists
	}
}

// fixed is a classifier that says the same of every host, and costs nothing.
type fixed Facts

func (f fixed) Classify(Host, string) Facts { return Facts(f) }

var benchmarkAsks = map[string]string{
	"illegal.example": "mandatory", "help.example": "never-block", "pass.example": "pass", "opened.example": "exception",
	"first.example": "approved", "porn.example": "category", "bodies.example": "except",
	"www.some.unlisted.site.example": "uncategorised",
}

func BenchmarkDecide(b *testing.B) {
	for raw, step := range benchmarkAsks {
		b.Run(step, func(b *testing.B) {
			s := snapshot(b)
			q := Request{Door: DoorDNS, Client: year5, Host: host(b, raw), Time: tuesday}
			if step == "approved" {
				q.Client = nursery
			}
			s.Lists = fixed(s.Lists.Classify(q.Host, ""))
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(q)
			}
		})
	}
}
