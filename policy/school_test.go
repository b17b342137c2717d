package policy

import (
	"net/netip"
	"testing"
	"time"
)

// tuesday is a Tuesday in term, at 10:15 in London.
var tuesday = time.Date(2026, time.March, 3, 10, 15, 0, 0, time.UTC)

// lists is a classifier of a few names: what is not in it is on no list.
type lists map[string]Facts

func (l lists) Classify(h Host, path string) Facts {
	f := l[h.String()]
	if path != "" {
		f.MandatoryPaths = Uncategorised
		if page := l[h.String()+path]; page.Mandatory != Uncategorised {
			f.Mandatory = page.Mandatory
		}
	}
	return f
}

// register is an identifier of a few clients.
type register map[netip.Addr]Client

func (r register) Identify(addr netip.Addr) Client {
	c := r[addr]
	c.Addr = addr
	return c
}

var (
	year5   = netip.MustParseAddr("10.2.0.7")
	nursery = netip.MustParseAddr("10.3.0.1")
	teacher = netip.MustParseAddr("10.1.0.1")
	cutoff  = netip.MustParseAddr("10.2.0.66")
	signer  = netip.MustParseAddr("10.2.0.67")
	unknown = netip.MustParseAddr("10.9.9.9")
)

func line(n int) Pos { return Pos{File: "policy.yaml", Line: n} }

func rule(t testing.TB, n int, raw string, v Verdict) HostRule {
	u, err := ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	return HostRule{Host: u.Host, Path: u.Path, Verdict: v, Rule: line(n)}
}

// school is a small school with each step of the decision order in it.
func school(t testing.TB) Spec {
	pass := rule(t, 60, "pass.example", Allow)
	pass.Until = tuesday.Add(time.Hour)
	return Spec{
		Version: "v1",
		Timetable: Timetable{Periods: []Period{
			{Name: "club", From: 15 * 60, To: 17 * 60, Rule: line(5)},
		}},
		Profiles: []Profile{
			{
				Name: "eyfs", Band: EYFS, Rule: line(10), ApprovedOnly: true, Approved: []string{"first"},
				Categories: []CategoryRule{{Category: Pornography, Verdict: Block, Rule: line(11)}},
			},
			{
				Name: "ks2", Band: KS2, Rule: line(20), Uncategorised: Allow, UncategorisedRule: line(21), Approved: []string{"lesson"},
				Categories: []CategoryRule{
					{Category: Pornography, Verdict: Block, Rule: line(22)},
					{Category: Gaming, Verdict: Block, Rule: line(23)},
					{Category: Gaming, Verdict: Allow, During: "club", Rule: line(24)},
					{Category: News, Verdict: Warn, Rule: line(25)},
					{Category: Education, Verdict: Allow, Rule: line(26)},
				},
				Excepts: []Except{
					{Category: SexEducation, Over: SetOf(Pornography), Rule: line(27)},
					{Category: EducationalGames, Over: SetOf(Gaming), Rule: line(28)},
				},
			},
			{
				Name: "staff", Band: Staff, Rule: line(30), Uncategorised: Warn, UncategorisedRule: line(31),
				Unsettled: Allow, SafeSearch: Off, YouTube: Moderate,
				Categories: []CategoryRule{{Category: Pornography, Verdict: Block, Rule: line(32)}},
			},
		},
		Groups: []Group{
			{Name: "year 5", Profile: "ks2"}, {Name: "nursery", Profile: "eyfs"}, {Name: "teachers", Profile: "staff"},
		},
		Lists: map[string][]HostRule{"first": {rule(t, 40, "www.first.example", Allow)}, "lesson": {rule(t, 41, "lesson.example", Allow)}},
		Exceptions: []Exception{
			{HostRule: rule(t, 50, "opened.example", Allow)},
			{HostRule: rule(t, 51, "shut.example", Block)},
			{HostRule: rule(t, 52, "school.example", Block)},
			{HostRule: rule(t, 53, "school.example", Allow), Profile: "ks2"},
			{HostRule: rule(t, 54, "school.example/games", Block), Group: "year 5"},
			{HostRule: rule(t, 55, "tablet.example", Allow), Device: "tablet 7"},
			{HostRule: rule(t, 56, "tablet.example", Block), Address: year5},
			{HostRule: rule(t, 57, "near.tablet.example", Allow), Device: "tablet 7"},
		},
		Passes: []Exception{{HostRule: pass, Group: "year 5"}},
		NeverBlock: []NeverBlock{
			{HostRule: rule(t, 70, "help.example", Allow), HelpLine: true},
			{HostRule: rule(t, 71, "updates.example", Allow)},
			{HostRule: rule(t, 72, "www.search.example/gen_204", Allow)},
		},
		SafeHosts: []SafeHost{
			{Host: host(t, "www.search.example"), Strict: host(t, "safe.search.example"), Moderate: host(t, "mild.search.example")},
			{Host: host(t, "video.example"), Strict: host(t, "strict.video.example"), Moderate: host(t, "mild.video.example"), YouTube: true},
		},
		Alerts: []AlertRule{
			{Categories: SetOf(Pornography), Bands: [5]bool{EYFS: true, KS1: true, KS2: true}, Severity: 4, Rule: line(80)},
			{Categories: SetOf(Gaming, ChildAbuse), Bands: [5]bool{KS2: true}, Severity: 2, Rule: line(81)},
		},
	}
}

func compiled(t testing.TB, spec Spec) *Policy {
	t.Helper()
	p, problems := Compile(spec)
	for _, problem := range problems {
		t.Error(problem)
	}
	if p == nil {
		t.FailNow()
	}
	return p
}

// snapshot is the small school with every kind of listed host.
func snapshot(t testing.TB) *Snapshot {
	t.Helper()
	return &Snapshot{
		Policy: compiled(t, school(t)), StoreVersion: 7,
		Lists: lists{
			"illegal.example":            {Mandatory: ChildAbuse},
			"hosting.example":            {MandatoryPaths: ChildAbuse, Paths: true},
			"hosting.example/bad":        {Mandatory: ChildAbuse},
			"updates.example":            {Categories: SetOf(Pornography)},
			"help.example":               {Categories: SetOf(Pornography, Gaming), Paths: true},
			"pass.example":               {Categories: SetOf(Pornography)},
			"opened.example":             {Categories: SetOf(Pornography)},
			"shut.example":               {Categories: SetOf(Education)},
			"porn.example":               {Categories: SetOf(Pornography, News)},
			"games.example":              {Categories: SetOf(Gaming)},
			"news.example":               {Categories: SetOf(News, Education)},
			"learn.example":              {Categories: SetOf(Education, Sport), Paths: true},
			"sport.example":              {Categories: SetOf(Sport)},
			"bodies.example":             {Categories: SetOf(SexEducation, Pornography)},
			"bodies-and-games.example":   {Categories: SetOf(SexEducation, Pornography, Gaming)},
			"www.first.example":          {Categories: SetOf(Pornography)},
			"www.search.example":         {Categories: SetOf(SearchEngines)},
			"below.www.search.example":   {Categories: SetOf(Gaming)},
			"illegal-and-opened.example": {Mandatory: Terrorism, Categories: SetOf(Pornography)},
		},
		Clients: register{
			year5:   {Device: "tablet 7", Group: "year 5"},
			nursery: {Device: "tablet 1", Group: "nursery"},
			teacher: {Group: "teachers"},
			cutoff:  {Device: "tablet 66", Group: "year 5", Quarantined: true},
			signer:  {Device: "tablet 67", Group: "year 5", Unsigned: true},
		},
	}
}

// ask asks the way a door would: a host alone or a URL.
func ask(t testing.TB, s *Snapshot, client netip.Addr, door Door, raw string, at time.Time) (Ruling, Trace) {
	t.Helper()
	u, err := ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s.Explain(Request{Door: door, Client: client, Host: u.Host, Path: u.Path, Time: at})
}
