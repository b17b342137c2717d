package configs

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"time"

	"schoolgate/policy"
)

// schoolReader walks policy.yaml. References between its parts are checked once
// all of it has been read, so the parts may come in any order.
type schoolReader struct {
	*loader
	folder folder
	d      *document
	digest hash.Hash // of everything the policy is read from
	zone   *time.Location

	spec      policy.Spec
	members   []Member
	alerts    Alerts
	retention Retention
	terms     Terms
	roles     []string // that recipients names
	name      string
	ask       string
	seal      Seal

	periods map[string]bool
	devices map[string]policy.Pos
	groups  map[string]policy.Pos
	claims  map[string]policy.Pos // address range or hardware address to who has it
}

func (l *loader) readSchool(f folder, d *document, root value) School {
	r := &schoolReader{
		loader: l, folder: f, d: d, digest: sha256.New(), zone: time.UTC,
		alerts:    defaultAlerts(),
		retention: Retention{Requests: 30, Flagged: 180, Guest: 7, Staff: 365, Path: 14},
		periods:   map[string]bool{}, devices: map[string]policy.Pos{},
		groups: map[string]policy.Pos{}, claims: map[string]policy.Pos{},
	}
	r.spec.Lists = map[string][]policy.HostRule{}
	r.digest.Write(d.text)
	r.walk(root)
	l.close(d)
	r.spec.NeverBlock, r.spec.SafeHosts = l.essentials()
	s := School{File: d.file, Spec: r.spec, Members: r.members, Alerts: r.alerts, Terms: r.terms, Retention: r.retention, Seal: r.seal, Name: r.name, Ask: r.ask}
	if s.Spec.Version == "" {
		s.Spec.Version = hex.EncodeToString(r.digest.Sum(nil))[:12]
	}
	if len(l.problems) > 0 {
		return s // what could not be read would only be missed again
	}
	compiled, problems := policy.Compile(s.Spec)
	for _, p := range problems {
		if p.Pos.IsZero() {
			p.Pos = policy.Pos{File: d.file, Line: 1}
		}
		l.problems = append(l.problems, p)
	}
	s.Policy = compiled
	return s
}

func (r *schoolReader) walk(root value) {
	if zone, ok := root.child("timezone"); ok {
		r.readZone(zone)
	}
	root.fields(map[string]func(value){
		"version": one(&r.spec.Version, ident),
		"school": func(v value) {
			v.fields(map[string]func(value){"name": one(&r.name, words), "ask": one(&r.ask, words)})
		},
		"timezone":   func(value) {}, // read above: times elsewhere depend on it
		"profiles":   r.readProfiles,
		"groups":     r.readGroups,
		"devices":    r.readDevices,
		"timetable":  r.readTimetable,
		"lists":      r.readLists,
		"exceptions": r.readExceptions,
		"passes":     r.readPasses,
		"alerts":     r.readAlerts,
		"retention":  r.readRetention,
		"incidents":  r.readIncidents,
		"terms":      r.readTerms,
	})
	if len(r.spec.Profiles) == 0 && len(root.d.problems) == 0 {
		root.problem("there is no profile (write profiles: with at least one for pupils)")
	}
	r.spec.Timetable.Location = r.zone
}

func (r *schoolReader) readRetention(v value) {
	days := func(dst *int) func(value) { return one(dst, number(1, 3650)) }
	v.fields(map[string]func(value){
		"requests": days(&r.retention.Requests), "flagged": days(&r.retention.Flagged), "guest": days(&r.retention.Guest),
		"staff": days(&r.retention.Staff), "path": days(&r.retention.Path),
	})
}

func (r *schoolReader) readZone(v value) {
	name, ok := v.text()
	if !ok {
		return
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		v.problem("unknown time zone %q (want one such as Europe/London)", clip(name))
		return
	}
	r.zone = zone
}

// profileNames and the like are for suggestions.
func (r *schoolReader) profileNames() (names []string) {
	for _, p := range r.spec.Profiles {
		names = append(names, p.Name)
	}
	return names
}

// refer reads a name of something else in the file, and checks at the end that
// there is such a thing.
func (r *schoolReader) refer(v value, what string, known func() []string) string {
	name, ok := v.text()
	if !ok {
		return ""
	}
	v.later(func() {
		all := known()
		for _, k := range all {
			if k == name {
				return
			}
		}
		v.problem("%v", unknown(what, clip(name), all))
	})
	return name
}

func (r *schoolReader) profileRef(v value) string { return r.refer(v, "profile", r.profileNames) }

func (r *schoolReader) groupRef(v value) string {
	return r.refer(v, "group", func() []string { return keys(r.groups) })
}

func (r *schoolReader) deviceRef(v value) string {
	return r.refer(v, "device", func() []string { return keys(r.devices) })
}
