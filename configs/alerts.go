package configs

import (
	"slices"
	"time"

	"schoolgate/policy"
)

// readAlerts reads which decisions a person must hear of, and who that is.
func (r *schoolReader) readAlerts(v value) {
	v.fields(map[string]func(value){
		"quiet": one(&r.alerts.Quiet, duration(0, 24*time.Hour)),
		"recipients": func(v value) {
			v.named("role", func(role string, v value) {
				r.alerts.Recipients[role] = nil
				for _, item := range listed(v) {
					if to, ok := read(item, mailAddress); ok {
						r.alerts.Recipients[role] = append(r.alerts.Recipients[role], to)
					}
				}
			})
		},
		"rules": func(v value) {
			v.each(func(v value) {
				v = v.as("alert")
				v.path = "alerts.rules.*"
				r.readAlertRule(v)
			})
		},
	})
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
		"for": func(v value) {
			for _, item := range listed(v) {
				if set, ok := read(item, audience); ok {
					for b, on := range set {
						a.Bands[b] = a.Bands[b] || on
					}
				}
			}
		},
		"severity": one(&severity, number(1, 5)),
		"to": func(v value) {
			v.each(func(v value) {
				a.To = append(a.To, r.refer(v, "role", func() []string { return keys(r.alerts.Recipients) }))
			})
		},
	})
	switch {
	case a.Categories.Empty() && blank(v, "categories"):
		v.problem("it names no categories")
	case !v.has("for"):
		v.problem("it does not say whose requests are meant (write for: pupils, for: staff or both)")
	case !v.has("severity"):
		v.problem("it has no severity (1, can wait, to 5, at once)")
	case blank(v, "to"):
		v.problem("nobody hears of it (write to: [dsl])")
	}
	a.Severity = uint8(severity)
	r.spec.Alerts = append(r.spec.Alerts, a.AlertRule)
	r.alerts.Routes = append(r.alerts.Routes, a)
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

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
