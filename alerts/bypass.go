package alerts

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"schoolgate/policy"
)

// Bypass says how many tries to get round the filter make an alert (S2). A page
// that is asked for again and again, as programs do by themselves, is one try.
type Bypass struct {
	Tries  int
	Within time.Duration
}

// ThemeBypass is the theme of alerts on tries to get round the filter.
const ThemeBypass = "bypass"

// bypassFindings are the doors' words for what somebody does who wants to get
// round the filter, and devices in order hardly do.
var bypassFindings = []string{
	"sni_mismatch", "host_mismatch", "two_names", "ech", "doh", "nested", "elsewhere", "not_tls", "dns_tunnel", "dns_texts",
	"dns_over_tls", "dns_over_quic", "doh_address", "tunnel", "vpn", // dropped by the firewall (firewall.TryKinds)
}

// bypassKind is what an event is as a try to get round the filter: a finding, or a
// category of refused sites; "" for no try.
func bypassKind(ev *policy.Event) string {
	switch {
	case ev.Verdict == policy.Allow:
		return ""
	case slices.Contains(bypassFindings, ev.Finding):
		return ev.Finding
	case ev.Category == policy.VPNProxy || ev.Category == policy.DoH:
		return ev.Category.String()
	}
	return ""
}

// try is one of them, on disk while they are too few for an alert.
type try struct {
	ID   policy.EventID `json:"id"`
	At   time.Time      `json:"at"`
	Kind string         `json:"kind"`
	Host string         `json:"host,omitempty"`
}

const (
	maxTriers = 5000 // clients watched; of more, those who tried least lately are passed over
	maxTries  = 200  // of one client
)

// bypassRule is the strictest rule on tries that is for whoever the event is of.
func (p *Plan) bypassRule(ev *policy.Event) (rule *Rule) {
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.Bypass != nil && r.Bands[p.band(ev)] && (rule == nil || r.Bypass.Tries < rule.Bypass.Tries) {
			rule = r
		}
	}
	return rule
}

// tried counts a try to get round the filter. Enough of them within the time are
// one alert, which then counts on; so is a single one that is flagged by itself.
// It reports whether the event has been dealt with.
func (t *tx) tried(ev *policy.Event) (done bool, err error) {
	kind, rule := bypassKind(ev), t.cfg.Plan.bypassRule(ev)
	if kind == "" || rule == nil {
		return false, nil
	}
	o := &opening{
		event: ev, theme: ThemeBypass, kind: kind, roles: rule.To,
		severity: max(rule.Severity, min(ev.Severity, 5), 1), owners: t.cfg.Plan.owners(ev),
	}
	key := []byte(o.key())
	open, err := t.openAlert(o.key(), ev.Time)
	if err != nil {
		return false, err
	}
	if open == nil {
		list, err := t.noteTry(key, ev, kind, rule.Bypass)
		if err != nil || len(list) < rule.Bypass.Tries && !ev.Flagged() {
			return true, err
		}
		if err := t.Bucket(bucketTries).Delete(key); err != nil {
			return false, err
		}
		o.tries = list
	}
	return true, t.take(o)
}

// noteTry adds a try to those of its client and gives them back, the old ones
// dropped; nil for one that was counted before.
func (t *tx) noteTry(key []byte, ev *policy.Event, kind string, b *Bypass) (list []try, err error) {
	ok, err := t.get(bucketTries, key, &list)
	if err != nil {
		return nil, err
	}
	if !ok && count(t.Bucket(bucketTries)) >= maxTriers {
		if err := t.forgetTries(); err != nil || count(t.Bucket(bucketTries)) >= maxTriers {
			return nil, err
		}
	}
	list = slices.DeleteFunc(list, func(y try) bool { return over(y.At.Add(b.Within), ev.Time, b.Within) })
	again := slices.ContainsFunc(list, func(y try) bool { return y.Kind == kind && y.Host == ev.Host })
	if again || len(list) >= maxTries {
		return nil, nil
	}
	list = append(list, try{ev.ID, ev.Time, kind, ev.Host})
	return list, t.put(bucketTries, key, list)
}

// forgetTries drops clients whose last try is too old to count.
func (t *tx) forgetTries() error {
	var within time.Duration
	for i := range t.cfg.Plan.Rules {
		if b := t.cfg.Plan.Rules[i].Bypass; b != nil {
			within = max(within, b.Within)
		}
	}
	var old [][]byte
	err := t.Bucket(bucketTries).ForEach(func(k, v []byte) error {
		var list []try
		if err := decode(v, &list); err != nil {
			return fmt.Errorf("tries: %w", err)
		}
		if n := len(list); n == 0 || over(list[n-1].At.Add(within), t.now, within) {
			old = append(old, slices.Clone(k))
		}
		return nil
	})
	for _, k := range old {
		err = errors.Join(err, t.Bucket(bucketTries).Delete(k))
	}
	return err
}
