package configs

import (
	"slices"
	"time"

	"schoolgate/policy"
)

// Alerts is who hears of what, when, and who hears next. Which decisions raise an
// alert, and how grave, is in the policy itself ([policy.AlertRule]).
type Alerts struct {
	Quiet  time.Duration // one mail for each client and theme in this time; the rest is counted
	People []Recipient
	Away   []Away
	Routes []Route // in the order written

	Hours       Hours
	Acknowledge [6]Answer // by severity
	Escalate    []string  // roles
	AtOnce      int       // out of hours only this severity and graver are told; 0 for all
	Night       []string  // roles told besides, out of hours
	Digest      Digest
	StillAlive  string // never, daily or weekly

	Hooks Hooks
}

// Route sends alerts to roles. It is written in the same entry as the
// [policy.AlertRule] that has the same Rule.
type Route struct {
	policy.AlertRule
	Themes []string // of watched searches and of what was read in pages
	Tries  int      // to get round the filter, within Within; 0 for a rule of another kind
	Within time.Duration
	To     []string // roles
}

const helpSeeking = "help_seeking"

// keeperRoles hear how the box fares and of no alert (R35).
var keeperRoles = []string{"it", "leadership"}

func defaultAlerts() Alerts {
	return Alerts{
		Quiet: 10 * time.Minute, Hours: Hours{Days: [7]bool{1: true, 2: true, 3: true, 4: true, 5: true}, From: 8 * 60, To: 16 * 60},
		Acknowledge: [6]Answer{5: {Within: 10 * time.Minute}, 4: {Within: time.Hour, InHours: true}, 3: {NextDay: true}},
		Escalate:    []string{"deputy", "head", "chair"},
		Digest:      Digest{Every: "daily", At: 15*60 + 30}, StillAlive: "weekly",
	}
}

// readAlerts reads which decisions a person must hear of, who that is, and what
// happens when nobody answers.
func (r *schoolReader) readAlerts(v value) {
	v.fields(map[string]func(value){
		"quiet":            one(&r.alerts.Quiet, duration(0, 24*time.Hour)),
		"recipients":       r.readRecipients,
		"webhook_networks": many(&r.alerts.Hooks.Networks, network),
		"webhook_ca_file":  r.file(&r.alerts.Hooks.CAFile),
		"away":             r.readAway,
		"rules": func(v value) {
			v.each(func(v value) {
				v = v.as("alert")
				v.path = "alerts.rules.*"
				r.readAlertRule(v)
			})
		},
		"hours":              r.readHours,
		"acknowledge_within": r.readAcknowledge,
		"escalate_to":        func(v value) { r.alerts.Escalate = r.roleRefs(v) },
		"out_of_hours": func(v value) {
			v.fields(map[string]func(value){
				"at_once": one(&r.alerts.AtOnce, number(1, 5)),
				"to":      func(v value) { r.alerts.Night = r.roleRefs(v) },
			})
		},
		"digest":      one(&r.alerts.Digest, digest),
		"still_alive": one(&r.alerts.StillAlive, choice("frequency", "never", "daily", "weekly")),
	})
	v.later(func() { r.checkSubjects(v) })
}

func (r *schoolReader) readAlertRule(v value) {
	a := Route{AlertRule: policy.AlertRule{Rule: v.pos()}}
	severity := 0
	v.fields(map[string]func(value){
		"categories": func(v value) {
			v.each(func(v value) {
				if c, ok := read(v.as("alert"), category); ok {
					a.Categories = a.Categories.With(c)
				}
			})
		},
		"themes": func(v value) {
			v.each(func(v value) {
				if name, ok := read(v.as("alert"), theme); ok {
					a.Themes = append(a.Themes, name)
				}
			})
		},
		"bypass": func(v value) {
			a.Tries, a.Within = 5, 10*time.Minute
			v.fields(map[string]func(value){
				"tries":  one(&a.Tries, number(1, 100)),
				"within": one(&a.Within, duration(time.Minute, 24*time.Hour)),
			})
		},
		"for": func(v value) {
			for _, item := range listed(v) {
				if set, ok := read(item, audience); ok {
					for b, on := range set {
						a.Bands[b] = a.Bands[b] || on
					}
				}
			}
		},
		"allowed":  one(&a.Allowed, yesNo),
		"severity": one(&severity, number(1, 5)),
		"to":       func(v value) { a.To = r.roleRefs(v) },
	})
	empty := a.Categories.Empty() && blank(v, "categories") && blank(v, "themes") && a.Tries == 0
	switch {
	case empty:
		v.problem("it names no categories (or themes, or bypass)")
	case !v.has("for"):
		v.problem("it does not say whose requests are meant (write for: pupils, for: staff or both)")
	case !v.has("severity") && !v.has("themes"):
		v.problem("it has no severity (1, can wait, to 5, at once)")
	case blank(v, "to"):
		v.problem("nobody hears of it (write to: [dsl])")
	}
	if a.Categories.Has(policy.HelpLine) {
		v.problem("nobody hears of a help-line: nothing is kept of who used it (take helpline out of categories)")
	}
	a.Severity = uint8(severity)
	if !a.Categories.Empty() {
		r.spec.Alerts = append(r.spec.Alerts, a.AlertRule)
	}
	r.alerts.Routes = append(r.alerts.Routes, a)
	r.checkRoute(v, &a)
}

// checkRoute refuses to promise what is not done: IT hears of no alert, and of
// staff the Headteacher hears, whoever is named (R35, R36).
func (r *schoolReader) checkRoute(v value, a *Route) {
	pupils := a.Bands[policy.EYFS] || a.Bands[policy.KS1] || a.Bands[policy.KS2]
	for _, role := range a.To {
		switch {
		case slices.Contains(keeperRoles, role):
			v.problem("role %q hears how the box fares and of no alert (write to: [dsl], for one)", role)
		case !pupils && role != "head" && role != "chair":
			r.warn(v.pos(), "alert: what staff and visitors do goes to the head, not to %s", role)
		}
	}
}

// roleRefs reads roles that recipients names.
func (r *schoolReader) roleRefs(v value) (roles []string) {
	for _, item := range listed(v) {
		roles = append(roles, r.refer(item, "role", r.roleNames))
	}
	return roles
}

// blank reports whether a list is missing or holds nothing.
func blank(v value, name string) bool {
	list, ok := v.child(name)
	return !ok || list.empty() || (list.isList() && len(list.node.Content) == 0)
}

// audience reads an age band, or pupils for all of theirs.
func audience(s string) (set [5]bool, err error) {
	for _, b := range bands {
		if s == b.String() || (s == "pupils" && b.Pupil()) || s == "everyone" {
			set[b] = true
		}
	}
	if set == [5]bool{} {
		return set, unknown("audience", clip(s), []string{"pupils", "everyone", "eyfs", "ks1", "ks2", "staff", "guest"})
	}
	return set, nil
}

// theme reads what a search or page can be about (M1). A cry for help is no theme
// of an alert: nothing is kept of whoever sought it (F10).
func theme(s string) (string, error) {
	all := slices.DeleteFunc(policy.Themes(), func(t string) bool { return t == helpSeeking })
	if !slices.Contains(all, s) {
		return "", unknown("theme", clip(s), all)
	}
	return s, nil
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
