package desk

import (
	"time"

	"schoolgate/alerts"
	"schoolgate/configs"
	"schoolgate/policy"
)

// Plan is who hears of what and when, as the school has it in its policy.
func Plan(cfg *configs.Config) alerts.Plan {
	c := &cfg.School.Alerts
	p := alerts.Plan{
		Bands: map[string]policy.AgeBand{}, Escalate: c.Escalate, Night: c.Night, AtOnce: uint8(c.AtOnce),
		Hours: alerts.Hours{
			Days: c.Hours.Days, From: c.Hours.From, To: c.Hours.To, Closed: c.Hours.NotDuring,
			Timetable: cfg.School.Policy.Timetable,
		},
		Digest: alertDigest(c.Digest),
		Alive:  map[string]alerts.Every{"daily": alerts.Daily, "weekly": alerts.Weekly}[c.StillAlive],
	}
	for _, profile := range cfg.School.Policy.Profiles() {
		p.Bands[profile.Name] = profile.Band
	}
	for _, r := range c.People {
		p.People = append(p.People, alerts.Person{
			Roles: r.Roles, Mail: r.Mail, Webhook: r.Webhook, Devices: r.Devices, Logins: r.Logins, Addresses: r.Addresses,
		})
	}
	for _, a := range c.Away {
		p.Away = append(p.Away, alerts.Away(a))
	}
	for i, a := range c.Acknowledge {
		p.Clocks[i] = alerts.Clock(a)
	}
	for _, r := range c.Routes {
		rule := alerts.Rule{Categories: r.Categories, Themes: r.Themes, Bands: r.Bands, Severity: r.Severity, To: r.To}
		if r.Tries > 0 {
			rule.Bypass = &alerts.Bypass{Tries: r.Tries, Within: r.Within}
		}
		p.Rules = append(p.Rules, rule)
	}
	return p
}

// lowSeverity is the gravest that the digest gathers.
const lowSeverity = 2

func alertDigest(d configs.Digest) alerts.Digest {
	every := map[string]alerts.Every{"daily": alerts.Daily, "weekly": alerts.Weekly}[d.Every]
	return alerts.Digest{Every: every, Upto: lowSeverity, Weekday: time.Weekday(d.Weekday), At: d.At}
}
