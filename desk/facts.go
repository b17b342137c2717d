package desk

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"schoolgate/alerts"
	"schoolgate/audit"
	"schoolgate/configs"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/supply"
)

// FactsOf is what the log says of one event.
func FactsOf(ctx context.Context, cfg *configs.Config, id policy.EventID) (incidents.Facts, incidents.Subject, error) {
	e, err := audit.In(cfg.Box.Data).Event(ctx, id)
	if err != nil {
		return incidents.Facts{}, "", err
	}
	if e.Door == policy.DoorStaff {
		return incidents.Facts{}, "", fmt.Errorf("%s is what a member of staff did with the box, and no request", id)
	}
	supply.Veil(cfg)(&e)
	return Facts(&e), subject(cfg, &e), nil
}

// maxBlob bounds a sealed address that an incident keeps, so that it outlives the
// log's retention.
const maxBlob = 4000

// Facts is what an event itself says, for the register.
func Facts(e *policy.Event) incidents.Facts {
	f := incidents.Facts{
		Event: e.ID, Time: e.Time, Client: e.Client, Device: e.Device, Group: e.Group, Profile: e.Profile, Person: e.Person,
		Category: e.Category.Class().Title, Theme: e.Theme, Words: e.Words, Verdict: e.Verdict.String(), Severity: e.Severity,
	}
	if e.Reason == policy.ReasonMandatory {
		if f.Sealed = true; len(e.Sealed) <= maxBlob {
			f.Blob = []byte(e.Sealed)
		}
	} else if e.Host != "" {
		f.URL = address(e)
	}
	return f
}

// address is what an event says of where it went.
func address(e *policy.Event) string {
	switch e.Door {
	case policy.DoorHTTP:
		return "http://" + e.Host + e.Path
	case policy.DoorDNS:
		return e.Host
	}
	return "https://" + e.Host + e.Path
}

// subject is whom an incident of an event is about: the Headteacher, the DSL or a
// deputy, where it is theirs by the policy; a member of staff, by the profile the
// request was decided under; or else pupils. It is for those who hear of the alert.
func subject(cfg *configs.Config, e *policy.Event) incidents.Subject {
	plan := Plan(cfg)
	named, leads := plan.Whose(e)
	if leads {
		return incidents.Head
	}
	if p := cfg.School.Policy.Profile(e.Profile); named || p != nil && p.Band == policy.Staff {
		return incidents.Staff
	}
	return incidents.Pupils
}

// FactsOfAlert is what the log says of an alert's events: of the gravest, with the
// numbers of the others.
func FactsOfAlert(ctx context.Context, cfg *configs.Config, reference string, role incidents.Role) (incidents.Facts, incidents.Subject, error) {
	desk, err := Open(cfg, alerts.Reader{As: string(role)})
	if err != nil {
		return incidents.Facts{}, "", err
	}
	a, err := desk.Find(reference)
	if err != nil {
		return incidents.Facts{}, "", err
	}
	if told, err := desk.Told(ctx, a); err != nil || len(told) > 0 {
		return incidents.Facts{}, "", errors.Join(fmt.Errorf("%s: a pupil opened %s by the button on a page: say what it is about (incidents triage)", a.Reference(), strings.Join(told, ", ")), err)
	}
	events, err := desk.Events(ctx, a)
	if len(events) == 0 {
		return incidents.Facts{}, "", errors.Join(fmt.Errorf("%s: none of its entries is in the log any more", a.Reference()), err)
	}
	gravest := &events[0] // of several, the first
	for n := range events {
		if events[n].Severity > gravest.Severity {
			gravest = &events[n]
		}
	}
	f := Facts(gravest)
	f.Alert = a.Reference()
	for n := range events {
		if id := events[n].ID; id != gravest.ID && len(f.More) < maxMore {
			f.More = append(f.More, id)
		}
	}
	return f, subject(cfg, gravest), nil
}

// around is how far from the time that somebody remembers the log is looked
// through, and maxMore how many further entries are named.
const (
	around  = 10 * time.Minute
	maxMore = 50
)

// FactsAround is what the log says of a device at about a time, for somebody who
// saw something and did not note the address: the gravest entry, or else the
// blocked one nearest to the time.
func FactsAround(ctx context.Context, cfg *configs.Config, device string, at time.Time) (incidents.Facts, incidents.Subject, error) {
	q := audit.Query{From: at.Add(-around), To: at.Add(around), Device: device}
	if addr, err := netip.ParseAddr(device); err == nil {
		q.Device, q.Client = "", addr.String()
	}
	if _, err := os.Stat(audit.In(cfg.Box.Data).Path); errors.Is(err, os.ErrNotExist) {
		return incidents.Facts{Time: at, Device: q.Device, Client: q.Client}, incidents.Pupils, nil
	}
	var best policy.Event
	type other struct {
		id     policy.EventID
		person string
	}
	var more []other
	for e, err := range audit.In(cfg.Box.Data).Search(ctx, q) {
		if gap := (*audit.GapError)(nil); errors.As(err, &gap) {
			continue // what can be read is better than nothing
		}
		if err != nil {
			return incidents.Facts{}, "", err
		}
		if e.Door == policy.DoorStaff || e.Verdict == policy.Allow && !e.Flagged() && e.Use != policy.UsePerson {
			continue
		}
		if len(more) < maxMore {
			more = append(more, other{e.ID, strings.Clone(e.Person)})
		}
		if best.ID == 0 || graver(&e, &best, at) {
			best = e
		}
	}
	if best.ID == 0 {
		return incidents.Facts{Time: at, Device: q.Device, Client: q.Client}, incidents.Pupils, nil
	}
	supply.Veil(cfg)(&best)
	f := Facts(&best)
	for _, o := range more {
		if o.id != best.ID && (o.person == "" || o.person == best.Person) { // who else had signed in on it has no part in this
			f.More = append(f.More, o.id)
		}
	}
	return f, subject(cfg, &best), nil
}

func graver(e, than *policy.Event, at time.Time) bool {
	if e.Severity != than.Severity {
		return e.Severity > than.Severity
	}
	if (e.Verdict == policy.Allow) != (than.Verdict == policy.Allow) {
		return e.Verdict != policy.Allow
	}
	return e.Time.Sub(at).Abs() < than.Time.Sub(at).Abs()
}

// SealedAddress is the sealed address of a mandatory hit: of an incident, by its
// reference, or of a log entry.
func SealedAddress(ctx context.Context, cfg *configs.Config, ref string, role incidents.Role) ([]byte, error) {
	none := errors.New("no sealed address is kept of it: it is of no mandatory list, or incidents.seal_to had no keys when it happened")
	if id, err := policy.ParseEventID(ref); err == nil {
		e, err := audit.In(cfg.Box.Data).Event(ctx, id)
		if err == nil && !role.Sees(subject(cfg, &e)) {
			return nil, fmt.Errorf("%s: %w", id, incidents.ErrUnknown)
		}
		if err == nil && e.Sealed == "" {
			err = fmt.Errorf("%s: %w", id, none)
		}
		return []byte(e.Sealed), err
	}
	r, err := incidents.ReadRegister(ctx, cfg.Box.Data)
	if err != nil {
		return nil, err
	}
	i, err := r.Get(ref, role)
	if err == nil && len(i.Facts.Blob) == 0 {
		err = fmt.Errorf("%s: %w", i.Ref(), none)
	}
	return i.Facts.Blob, err
}
