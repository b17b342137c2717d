package alerts

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"schoolgate/policy"
)

const chair = "chair@governors.example"

var (
	all     = roles{DSL: []string{dsl}, Deputy: []string{deputy}, Head: []string{head}, Chair: []string{chair}, IT: []string{it}}
	tuesday = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
)

// school is a plan in which the Head, the DSL and IT have a laptop each.
func school(r roles, away ...Away) Plan {
	p := Plan{People: r.people(), Away: away, Escalate: []string{RoleDeputy, RoleHead, RoleChair}}
	for i := range p.People {
		p.People[i].Devices = []string{p.People[i].Roles[0] + "-laptop"}
	}
	return p
}

func away(who string) Away { return Away{Who: who, First: 20261124, Last: 20261124} }

// R32, R36, F8: who hears of what.
func TestRoutes(t *testing.T) {
	pupil, adult := func(sev uint8, roles ...string) Alert { return Alert{Severity: sev, Roles: roles} }, Alert{Severity: 5, Adult: true}
	of := func(device string) Alert { return Alert{Severity: 5, Adult: true, Device: device} }
	tests := []struct {
		name  string
		plan  Plan
		alert Alert
		want  []string
	}{
		{"a pupil's goes to the DSL", school(all), pupil(3), []string{dsl}},
		{"a grave one to the deputy as well", school(all), pupil(4), []string{dsl, deputy}},
		{"a rule names others", school(all), pupil(4, "head"), []string{head}},
		{"a rule cannot name IT", school(all), pupil(3, "it"), []string{dsl}},
		{"no DSL: the deputy", school(roles{Deputy: []string{deputy}, Head: []string{head}}), pupil(1), []string{deputy}},
		{"neither: the Headteacher", school(roles{Head: []string{head}}), pupil(1), []string{head}},
		{"the DSL is away: the deputy", school(all, away("dsl")), pupil(3), []string{deputy}},
		{"by address, too", school(all, away(dsl)), pupil(3), []string{deputy}},
		{"away another day", school(all, Away{"dsl", 20261125, 20261126}), pupil(3), []string{dsl}},
		{"DSL and deputy are away: the Headteacher", school(all, away("dsl"), away("deputy")), pupil(5), []string{head}},
		{"all are away: the DSL all the same", school(all, away("dsl"), away("deputy"), away("head"), away("chair")), pupil(3), []string{dsl}},
		{"staff: the Headteacher and nobody else", school(all), adult, []string{head}},
		{"staff and the Headteacher is away: the chair", school(all, away("head")), adult, []string{chair}},
		{"IT's own: the Headteacher", school(all), of("it-laptop"), []string{head}},
		{"the DSL's own: the chair", school(all), of("dsl-laptop"), []string{chair}},
		{"the Headteacher's own: the chair", school(all), of("head-laptop"), []string{chair}},
		{"the chair's own: the Headteacher", school(all), of("chair-laptop"), []string{head}},
		{"the DSL's own and no chair: the Headteacher", school(everybody), of("dsl-laptop"), []string{head}},
		{"the Headteacher's own and no chair: nobody", school(everybody), of("head-laptop"), nil},
		{"a pupils' device that is the DSL's: the chair", school(all), Alert{Severity: 3, Device: "dsl-laptop"}, []string{chair}},
		{"staff and no Headteacher: nobody, since anybody may be the subject", school(roles{DSL: []string{dsl}, Deputy: []string{deputy}}), adult, nil},
		{"one person in two roles is told once", school(roles{DSL: []string{dsl}, Deputy: []string{"DSL@school.example"}}), pupil(5), []string{dsl}},
		{"the DSL is the Headteacher too, and the subject", school(roles{DSL: []string{head}, Head: []string{head}, Chair: []string{chair}}), of("dsl-laptop"), []string{chair}},
	}
	for _, tt := range tests {
		if got := tt.plan.To(&tt.alert, tuesday); !cmp.Equal(got, tt.want) {
			t.Errorf("%s: To = %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The chain is told in its order, nobody twice, those away last.
func TestEscalationChain(t *testing.T) {
	tests := []struct {
		name  string
		plan  Plan
		alert Alert
		want  []string
	}{
		{"deputy, head, chair", school(all), Alert{Severity: 3}, []string{deputy, head, chair}},
		{"who was told is passed over", school(all), Alert{Severity: 5}, []string{head, chair}},
		{"who is away is told last", school(all, away("deputy")), Alert{Severity: 3}, []string{head, chair, deputy}},
		{"staff: the chair", school(all), Alert{Severity: 3, Adult: true}, []string{chair}},
		{"the DSL's own: nobody but the chair", school(all), Alert{Severity: 3, Adult: true, Device: "dsl-laptop"}, nil},
		{"nobody is named", school(roles{DSL: []string{dsl}}), Alert{Severity: 3}, nil},
	}
	for _, tt := range tests {
		a := tt.alert
		a.ToldTo = tt.plan.To(&a, tuesday)
		var got []string
		for range 9 {
			_, to := tt.plan.next(&a, tuesday)
			got = append(got, to...)
			a.ToldTo = append(a.ToldTo, to...)
		}
		if !cmp.Equal(got, tt.want) {
			t.Errorf("%s: told next %q, want %q", tt.name, got, tt.want)
		}
	}
}

// randomSchool is people with any roles, things of their own, absences and shared
// addresses.
func randomSchool(rng *rand.Rand) Plan {
	names := []string{RoleDSL, RoleDeputy, RoleHead, RoleChair, RoleIT, RoleLeadership, "office"}
	some := func() (list []string) {
		for range 1 + rng.IntN(3) {
			list = append(list, names[rng.IntN(len(names))])
		}
		return unique(list)
	}
	p := Plan{Escalate: some(), Night: some(), AtOnce: uint8(rng.IntN(6))}
	if rng.IntN(2) == 0 {
		p.Hours = Hours{Days: [7]bool{1: true, 2: true, 3: true, 4: true, 5: true}, From: 8 * 60, To: 16 * 60}
	}
	for i := range rng.IntN(7) {
		person := Person{Roles: some()}
		if rng.IntN(4) > 0 {
			person.Mail = fmt.Sprintf("p%d@school.example", rng.IntN(6))
		}
		if person.Mail == "" || rng.IntN(4) == 0 {
			person.Webhook = fmt.Sprintf("https://hooks.example/%d", rng.IntN(3))
		}
		if rng.IntN(2) == 0 {
			person.Devices = []string{fmt.Sprint("device-", i)}
		}
		if rng.IntN(3) == 0 {
			person.Logins = []string{fmt.Sprint("login-", i)}
		}
		if rng.IntN(3) == 0 {
			person.Addresses = []string{fmt.Sprint("10.0.0.", i)}
		}
		p.People = append(p.People, person)
		if rng.IntN(3) == 0 {
			p.Away = append(p.Away, away(person.Roles[0]))
		}
	}
	return p
}

// subjects is, worked out anew, the ways to everybody an alert is about.
func subjects(p *Plan, a *Alert) (ways []string) {
	for _, person := range p.People {
		if slices.Contains(person.Devices, a.Device) || slices.Contains(person.Logins, a.Person) || slices.Contains(person.Addresses, a.Client) || a.Person != "" && a.Person == person.Mail {
			ways = append(ways, person.Mail, person.Webhook)
		}
	}
	return slices.DeleteFunc(ways, func(w string) bool { return w == "" })
}

// For random schools, roles, overlaps and absences: nobody is told of an alert on
// themself, now or later in the chain, nor IT of any; and somebody is told wherever
// a person is named who may be.
func TestNobodyIsToldOfThemselves(t *testing.T) { // R36, F8
	rng := rand.New(rand.NewPCG(36, 8))
	nobody, conflicts := 0, 0
	for round := range 20000 {
		p := randomSchool(rng)
		a := Alert{Severity: uint8(1 + rng.IntN(5)), Adult: rng.IntN(2) == 0, Client: fmt.Sprint("10.0.0.", rng.IntN(9))}
		if rng.IntN(2) == 0 {
			a.Device = fmt.Sprint("device-", rng.IntN(7))
		}
		if rng.IntN(3) == 0 {
			a.Person = []string{"p1@school.example", "login-2", "login-3"}[rng.IntN(3)]
		}
		if rng.IntN(2) == 0 {
			a.Roles = []string{RoleDSL, RoleIT, "office", RoleChair}[:1+rng.IntN(4)]
		}
		at := tuesday.Add(time.Duration(rng.IntN(48)) * time.Hour)
		barred := subjects(&p, &a)
		if len(barred) > 0 {
			conflicts++
		}
		first := p.To(&a, at)
		a.ToldTo = first
		told := slices.Clone(first)
		for range 9 {
			_, to := p.next(&a, at)
			told = append(told, to...)
			a.ToldTo = append(a.ToldTo, to...)
		}
		told = append(told, p.last(&a, at)...)
		for _, way := range told {
			if slices.Contains(barred, way) {
				t.Fatalf("round %d: %s is told of an alert on themself\nplan %+v\nalert %+v", round, way, p, a)
			}
			if !p.may(way, &a, at) {
				t.Fatalf("round %d: %s is told and may not be\nplan %+v\nalert %+v", round, way, p, a)
			}
			if onlyKeeper(&p, way) || (a.Adult || len(barred) > 0) && !leads(&p, way) {
				t.Fatalf("round %d: %s is told and has no role for it\nplan %+v\nalert %+v", round, way, p, a)
			}
		}
		if len(first) == 0 {
			nobody++
			if who := couldBeTold(&p, &a, barred); who != "" {
				t.Fatalf("round %d: nobody is told, and %s could be\nplan %+v\nalert %+v", round, who, p, a)
			}
		}
	}
	if nobody < 100 || conflicts < 1000 {
		t.Errorf("only %d schools without anybody and %d with a conflict: the test proves little", nobody, conflicts)
	}
}

func rolesOf(p *Plan, way string) (list []string) {
	for _, person := range p.People {
		if person.Mail == way || person.Webhook == way {
			list = append(list, person.Roles...)
		}
	}
	return list
}

func onlyKeeper(p *Plan, way string) bool {
	return !slices.ContainsFunc(rolesOf(p, way), func(r string) bool { return r != RoleIT && r != RoleLeadership })
}

func leads(p *Plan, way string) bool {
	return slices.ContainsFunc(rolesOf(p, way), func(r string) bool { return r == RoleHead || r == RoleChair })
}

// couldBeTold is somebody who may hear of the alert by the rules, if there is one:
// for pupils any of the four roles, else Headteacher and chair.
func couldBeTold(p *Plan, a *Alert, barred []string) string {
	fit := []string{RoleDSL, RoleDeputy, RoleHead, RoleChair}
	if a.Adult || len(barred) > 0 || len(p.about(a)) > 0 {
		fit = fit[2:]
	}
	for _, person := range p.People {
		for _, way := range []string{person.Mail, person.Webhook} {
			if way != "" && !slices.Contains(barred, way) && slices.ContainsFunc(person.Roles, func(r string) bool { return slices.Contains(fit, r) }) {
				return way
			}
		}
	}
	return ""
}

// R35, R36, F8: who sees what on the box.
func TestReaders(t *testing.T) {
	p := school(all)
	p.People[0].Logins = []string{"d.lead"}
	pupil, staff := &Alert{Severity: 3, Device: "tablet"}, &Alert{Severity: 3, Adult: true, Device: "office-pc"}
	dslOwn, headOwn := &Alert{Adult: true, Device: "dsl-laptop"}, &Alert{Adult: true, Device: "head-laptop"}
	escalated := &Alert{Severity: 3, ToldTo: []string{dsl, chair}}
	for _, tt := range []struct {
		as, by string
		sees   []*Alert
		not    []*Alert
	}{
		{"dsl", "", []*Alert{pupil, escalated}, []*Alert{staff, dslOwn, headOwn}},
		{"deputy", "", []*Alert{pupil}, []*Alert{staff, dslOwn, headOwn}},
		{"head", "", []*Alert{pupil, staff}, []*Alert{headOwn, dslOwn}},
		{"chair", "", []*Alert{staff, dslOwn, headOwn, escalated}, []*Alert{pupil}},
		{"it", "", nil, []*Alert{pupil, staff, dslOwn, headOwn}},
		{dsl, "", []*Alert{pupil}, []*Alert{dslOwn, staff}},
		{"d.lead", "", []*Alert{pupil}, []*Alert{dslOwn}},
		{"chair", "D.Lead", []*Alert{headOwn}, []*Alert{dslOwn}},
		{"", "", nil, []*Alert{pupil, staff}},
	} {
		for want, list := range map[bool][]*Alert{true: tt.sees, false: tt.not} {
			for _, a := range list {
				if got := p.Sees(Reader{As: tt.as, By: tt.by}, a); got != want {
					t.Errorf("as %q by %q: sees %+v = %t, want %t", tt.as, tt.by, a, got, want)
				}
			}
		}
	}
	for as, want := range map[string]string{"dsl": "", "deputy": "", "chair": "", dsl: "", "it": "no alerts", it: "no alerts", "dls": "unknown reader", "": "unknown reader"} {
		if err := p.CheckReader(as); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckReader(%q) = %v, want %q", as, err, want)
		}
	}
}

// Rules speak by category and by theme; a theme's rule may set the severity, and
// nothing makes a mandatory hit less grave.
func TestRules(t *testing.T) {
	pupils := [5]bool{policy.EYFS: true, policy.KS1: true, policy.KS2: true}
	p := Plan{
		Bands: map[string]policy.AgeBand{"juniors": policy.KS2, "infants": policy.KS1},
		Rules: []Rule{
			{Categories: policy.CategorySet{}.With(policy.Pornography), Bands: pupils, Severity: 3, To: []string{"dsl"}},
			{Themes: []string{"self_harm"}, Bands: [5]bool{policy.KS2: true}, Severity: 5, To: []string{"dsl", "deputy"}},
			{Themes: []string{"drugs"}, Bands: pupils, To: []string{"office"}},
			{Categories: policy.CategorySet{}.With(policy.ChildAbuse), Bands: pupils, Severity: 5, To: []string{"dsl"}},
		},
	}
	for _, tt := range []struct {
		name     string
		ev       policy.Event
		roles    []string
		severity uint8
	}{
		{"a category", policy.Event{Pupil: true, Category: policy.Pornography, Severity: 3}, []string{"dsl"}, 3},
		{"a theme, on a page that was allowed (M11)", policy.Event{Pupil: true, Profile: "juniors", Verdict: policy.Allow, Theme: "self_harm", Severity: 4}, []string{"dsl", "deputy"}, 5},
		{"a theme for others", policy.Event{Pupil: true, Profile: "infants", Theme: "self_harm", Severity: 4}, nil, 4},
		{"a theme keeps its term's severity", policy.Event{Pupil: true, Theme: "drugs", Severity: 2}, []string{"office"}, 2},
		{"staff", policy.Event{Category: policy.Pornography, Severity: 3}, nil, 3},
		{"a mandatory hit stays at once", policy.Event{Pupil: true, Category: policy.ChildAbuse, Theme: "drugs", Severity: 5}, []string{"office", "dsl"}, 5},
	} {
		roles, severity := p.route(&tt.ev)
		if !cmp.Equal(roles, tt.roles) || severity != tt.severity {
			t.Errorf("%s: route = %q, %d, want %q, %d", tt.name, roles, severity, tt.roles, tt.severity)
		}
	}
}

// Whose traffic an event is decides who hears of an incident about it.
func TestWhose(t *testing.T) { // R36, F8
	p := &Plan{People: []Person{
		{Roles: []string{RoleHead}, Mail: "head@school.example", Addresses: []string{"10.1.0.10"}, Devices: []string{"head-laptop"}},
		{Roles: []string{RoleIT}, Mail: "it@school.example", Logins: []string{"it"}},
	}}
	for _, c := range []struct {
		ev           policy.Event
		named, leads bool
	}{
		{policy.Event{Client: "10.1.0.10"}, true, true},
		{policy.Event{Client: "10.1.0.11", Device: "Head-Laptop"}, true, true},
		{policy.Event{Client: "10.1.0.11", Person: "it"}, true, false},
		{policy.Event{Client: "10.1.0.11", Device: "year5-tablet"}, false, false},
	} {
		if named, leads := p.Whose(&c.ev); named != c.named || leads != c.leads {
			t.Errorf("Whose(%s %s %s) = %v, %v", c.ev.Client, c.ev.Device, c.ev.Person, named, leads)
		}
	}
}
